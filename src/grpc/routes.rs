//! All services together.

use std::task::{Context, Poll};

use http::Request;
use tonic::{
    body::Body,
    server::NamedService,
    service::{Routes, RoutesBuilder},
};
use tonic_health::{pb::health_server::HealthServer, server::HealthService};
use tower::Service;

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
        .add_service(EventRoutes::new(broker.clone()))
        .add_service(ProducerServiceServer::new(Producers(broker.clone())).max_decoding_message_size(max))
        .add_service(TopicServiceServer::new(Topics(broker)).max_decoding_message_size(max));
    Ok(routes.routes())
}

/// `EventService`, of which one method takes larger messages: a request of a stream is wrapped in another.
#[derive(Debug, Clone)]
struct EventRoutes {
    calls: EventServiceServer<Events>,
    streams: EventServiceServer<Events>,
}

impl EventRoutes {
    fn new(broker: Broker) -> Self {
        let taking = |max| EventServiceServer::new(Events(broker.clone())).max_decoding_message_size(max);
        Self { calls: taking(limits::REQUEST_BYTES), streams: taking(limits::MESSAGE_BYTES) }
    }
}

impl NamedService for EventRoutes {
    const NAME: &'static str = <EventServiceServer<Events> as NamedService>::NAME;
}

impl Service<Request<Body>> for EventRoutes {
    type Response = <EventServiceServer<Events> as Service<Request<Body>>>::Response;
    type Error = <EventServiceServer<Events> as Service<Request<Body>>>::Error;
    type Future = <EventServiceServer<Events> as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // Both are always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let wrapped = request.uri().path().ends_with("/PublishStream");
        if wrapped { self.streams.call(request) } else { self.calls.call(request) }
    }
}
