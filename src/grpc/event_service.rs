//! `EventService`.

use std::pin::Pin;

use tonic::{Request, Response, Status, Streaming};

use super::{authenticate::caller, call::Call, convert, status::Problem};
use crate::{
    broker::Broker,
    proto::{server::event_service_server::EventService, v1},
};

/// `EventService` over a broker.
#[derive(Debug, Clone)]
pub(super) struct Events(pub(super) Broker);

#[tonic::async_trait]
impl EventService for Events {
    async fn publish(&self, request: Request<v1::PublishRequest>) -> Result<Response<v1::PublishResponse>, Status> {
        let principal = caller(&request)?;
        let call = Call::of(&request);
        let publish = convert::publish(request.into_inner(), &call)?;
        let published = self.0.publish(&principal, publish).await.map_err(Problem::from)?;
        Ok(Response::new(convert::published(published)))
    }

    type PublishStreamStream = Pin<Box<dyn futures::Stream<Item = Result<v1::PublishStreamResponse, Status>> + Send>>;

    async fn publish_stream(
        &self,
        _request: Request<Streaming<v1::PublishStreamRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        Err(Problem::unavailable("PublishStream").into())
    }

    async fn get_event(
        &self,
        _request: Request<v1::GetEventRequest>,
    ) -> Result<Response<v1::GetEventResponse>, Status> {
        Err(Problem::unavailable("GetEvent").into())
    }

    async fn list_events(
        &self,
        _request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        Err(Problem::unavailable("ListEvents").into())
    }
}
