//! `EventService`.

use std::pin::Pin;

use tonic::{Request, Response, Status, Streaming};

use super::{authenticate::caller, call::Call, convert, publish_stream, status::Problem};
use crate::{
    broker::{Broker, EventPage},
    domain::Event,
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
        let publish = convert::publish(request.into_inner(), &call, &mut None)?;
        let published = self.0.publish(&principal, publish).await.map_err(Problem::from)?;
        Ok(Response::new(convert::published(published)))
    }

    type PublishStreamStream = Pin<Box<dyn futures::Stream<Item = Result<v1::PublishStreamResponse, Status>> + Send>>;

    async fn publish_stream(
        &self,
        request: Request<Streaming<v1::PublishStreamRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        let principal = caller(&request)?;
        let call = Call::of(&request);
        let opened = self.0.publish_stream(principal).map_err(Problem::from)?;
        let responses = publish_stream::responses(self.0.shutdown(), opened, request.into_inner(), call);
        Ok(Response::new(Box::pin(responses)))
    }

    async fn get_event(&self, request: Request<v1::GetEventRequest>) -> Result<Response<v1::GetEventResponse>, Status> {
        let principal = caller(&request)?;
        let (topic, name) = convert::get_event(request.into_inner())?;
        let event = self.0.get_event(&principal, &topic, name).await.map_err(Problem::from)?;
        Ok(Response::new(v1::GetEventResponse { event: Some(convert::event(&event, &topic)) }))
    }

    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        let principal = caller(&request)?;
        let query = convert::list_events(request.into_inner())?;
        let copy = |event: &Event| convert::event(event, &query.topic);
        let EventPage { events, next } = self.0.list_events(&principal, &query, copy).await.map_err(Problem::from)?;
        Ok(Response::new(v1::ListEventsResponse { events, next_page_token: convert::next_page_token(&query, next) }))
    }
}
