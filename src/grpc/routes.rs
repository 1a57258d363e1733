//! All services together.

use tonic::service::{Routes, RoutesBuilder};
use tonic_health::{pb::health_server::HealthServer, server::HealthService};

use super::{
    auth_service::AuthRpcs, consumer_service::Consumers, event_service::Events, producer_service::Producers,
    reflection, topic_service::Topics,
};
use crate::{
    auth::Auth,
    broker::Broker,
    domain::limits,
    proto::server::{
        auth_service_server::AuthServiceServer, consumer_service_server::ConsumerServiceServer,
        event_service_server::EventServiceServer, producer_service_server::ProducerServiceServer,
        topic_service_server::TopicServiceServer,
    },
};

/// What is served.
#[derive(Debug, Clone, Copy)]
pub struct GrpcOptions {
    /// Reflection, so that grpcurl needs no proto files.
    pub reflection: bool,
}

/// All services. The error means that the descriptors of this build do not fit together.
pub fn routes(
    broker: Broker,
    auth: Auth,
    health: HealthServer<HealthService>,
    options: GrpcOptions,
) -> Result<Routes, tonic_reflection::server::Error> {
    let mut routes = RoutesBuilder::default();
    routes.add_service(health);
    if options.reflection {
        let (v1, v1alpha) = reflection::services()?;
        routes.add_service(v1).add_service(v1alpha);
    }
    let max = limits::REQUEST_BYTES;
    let auth_rpcs = AuthRpcs { broker: broker.clone(), auth };
    routes
        .add_service(AuthServiceServer::new(auth_rpcs).max_decoding_message_size(max))
        .add_service(ConsumerServiceServer::new(Consumers(broker.clone())).max_decoding_message_size(max))
        .add_service(EventServiceServer::new(Events(broker.clone())).max_decoding_message_size(max))
        .add_service(ProducerServiceServer::new(Producers(broker.clone())).max_decoding_message_size(max))
        .add_service(TopicServiceServer::new(Topics(broker)).max_decoding_message_size(max));
    Ok(routes.routes())
}
