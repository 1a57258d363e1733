//! `ConsumerService`.

use std::pin::Pin;

use futures::{Stream, stream};
use tonic::{Request, Response, Status};

use super::{
    SubscribeFrame,
    authenticate::caller,
    call::Call,
    convert::{self, Checks},
    reason::Reason,
    status::Problem,
};
use crate::{
    broker::{Broker, Subscription},
    domain::Epoch,
    proto::{server::consumer_service_server::ConsumerService, v1},
};

/// `ConsumerService` over a broker.
#[derive(Debug, Clone)]
pub(super) struct Consumers(pub(super) Broker);

#[tonic::async_trait]
impl ConsumerService for Consumers {
    async fn register_consumer(
        &self,
        request: Request<v1::RegisterConsumerRequest>,
    ) -> Result<Response<v1::RegisterConsumerResponse>, Status> {
        let v1::RegisterConsumerRequest { consumer, if_not_exists } = request.into_inner();
        let new = convert::new_consumer(consumer)?;
        let consumer =
            self.0.register_consumer(new, if_not_exists).await.map_err(|error| Problem::from(error).of_change())?;
        Ok(Response::new(v1::RegisterConsumerResponse { consumer: Some(convert::consumer(consumer)) }))
    }

    async fn get_consumer(
        &self,
        request: Request<v1::GetConsumerRequest>,
    ) -> Result<Response<v1::GetConsumerResponse>, Status> {
        let principal = caller(&request)?;
        let v1::GetConsumerRequest { name } = request.into_inner();
        let mut checks = Checks::default();
        let name = checks.consumer("name", &name);
        let name = checks.finish(name)?;
        let consumer = self.0.get_consumer(&principal, &name).await.map_err(Problem::from)?;
        Ok(Response::new(v1::GetConsumerResponse { consumer: Some(convert::consumer(consumer)) }))
    }

    async fn list_consumers(
        &self,
        request: Request<v1::ListConsumersRequest>,
    ) -> Result<Response<v1::ListConsumersResponse>, Status> {
        let v1::ListConsumersRequest { topic, page_size, page_token } = request.into_inner();
        let mut checks = Checks::default();
        let name = if topic.is_empty() { None } else { checks.topic("topic", &topic) };
        let page = convert::page(&mut checks, &["consumers", &topic], page_size, &page_token);
        let page = checks.finish(page)?;
        let found = self.0.list_consumers(name.as_ref(), &page.after, page.limit()).await;
        let mut consumers = found.map_err(Problem::from)?;
        let next_page_token = page.cut(&mut consumers, |view| view.consumer.settings.name.as_str());
        let consumers = consumers.into_iter().map(convert::consumer).collect();
        Ok(Response::new(v1::ListConsumersResponse { consumers, next_page_token }))
    }

    async fn update_consumer(
        &self,
        request: Request<v1::UpdateConsumerRequest>,
    ) -> Result<Response<v1::UpdateConsumerResponse>, Status> {
        let (name, change, for_queue) = convert::consumer_update(request.into_inner())?;
        let updated = self.0.update_consumer(&name, change, for_queue).await;
        let consumer = updated.map_err(|error| Problem::from(error).of_change())?;
        Ok(Response::new(v1::UpdateConsumerResponse { consumer: Some(convert::consumer(consumer)) }))
    }

    async fn delete_consumer(
        &self,
        request: Request<v1::DeleteConsumerRequest>,
    ) -> Result<Response<v1::DeleteConsumerResponse>, Status> {
        let v1::DeleteConsumerRequest { name } = request.into_inner();
        let mut checks = Checks::default();
        let name = checks.consumer("name", &name);
        let name = checks.finish(name)?;
        self.0.delete_consumer(&name).await.map_err(|error| Problem::from(error).of_change())?;
        Ok(Response::new(v1::DeleteConsumerResponse {}))
    }

    async fn seek_consumer(
        &self,
        request: Request<v1::SeekConsumerRequest>,
    ) -> Result<Response<v1::SeekConsumerResponse>, Status> {
        let (name, start) = convert::seek(request.into_inner())?;
        let moved = self.0.seek_consumer(&name, start).await;
        let consumer = moved.map_err(|error| Problem::from(error).of_change())?;
        Ok(Response::new(v1::SeekConsumerResponse { consumer: Some(convert::consumer(consumer)) }))
    }

    async fn pause_consumer(
        &self,
        request: Request<v1::PauseConsumerRequest>,
    ) -> Result<Response<v1::PauseConsumerResponse>, Status> {
        let v1::PauseConsumerRequest { name, paused } = request.into_inner();
        let mut checks = Checks::default();
        let name = checks.consumer("name", &name);
        let name = checks.finish(name)?;
        let changed = self.0.pause_consumer(&name, paused).await;
        let consumer = changed.map_err(|error| Problem::from(error).of_change())?;
        Ok(Response::new(v1::PauseConsumerResponse { consumer: Some(convert::consumer(consumer)) }))
    }

    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<SubscribeFrame, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let principal = caller(&request)?;
        let call = Call::of(&request);
        let subscribe = convert::subscribe(request.into_inner(), &call)?;
        let subscription = self.0.subscribe(principal, subscribe).await.map_err(Problem::from)?;
        Ok(Response::new(Box::pin(frames(subscription))))
    }

    async fn poll(&self, request: Request<v1::PollRequest>) -> Result<Response<v1::PollResponse>, Status> {
        let principal = caller(&request)?;
        let poll = convert::poll(request.into_inner())?;
        let polled = self.0.poll_consumer(&principal, poll).await.map_err(Problem::from)?;
        Ok(Response::new(convert::polled(polled)))
    }

    async fn commit_offset(
        &self,
        request: Request<v1::CommitOffsetRequest>,
    ) -> Result<Response<v1::CommitOffsetResponse>, Status> {
        let principal = caller(&request)?;
        let v1::CommitOffsetRequest { consumer, offset, epoch } = request.into_inner();
        let mut checks = Checks::default();
        let name = checks.consumer("consumer", &consumer);
        let offset = checks.offset(Reason::RequestInvalid, "offset", offset);
        if epoch <= 0 {
            let text = format!("{epoch} is no epoch; pass the one of Started or PollResponse");
            checks.add(Reason::RequestInvalid, "epoch", text);
        }
        let (name, offset) = checks.finish(name.zip(offset))?;
        let position = self
            .0
            .commit_offset(&principal, &name, Epoch(epoch), offset)
            .await
            .map_err(|error| Problem::from(error).of_change())?;
        Ok(Response::new(v1::CommitOffsetResponse { position: Some(convert::position(position)) }))
    }

    async fn settle(&self, request: Request<v1::SettleRequest>) -> Result<Response<v1::SettleResponse>, Status> {
        let principal = caller(&request)?;
        let settle = convert::settle(request.into_inner())?;
        let settled = self.0.settle(&principal, settle).await.map_err(|error| Problem::from(error).of_change())?;
        Ok(Response::new(convert::settled(settled)))
    }

    async fn list_dead_letters(
        &self,
        request: Request<v1::ListDeadLettersRequest>,
    ) -> Result<Response<v1::ListDeadLettersResponse>, Status> {
        let principal = caller(&request)?;
        let page = convert::list_dead_letters(request.into_inner())?;
        let found = self.0.list_dead_letters(&principal, &page.consumer, page.after, page.size).await;
        let (letters, more) = found.map_err(Problem::from)?;
        Ok(Response::new(convert::dead_letters(&page.consumer, letters, more)))
    }

    async fn redrive_dead_letters(
        &self,
        request: Request<v1::RedriveDeadLettersRequest>,
    ) -> Result<Response<v1::RedriveDeadLettersResponse>, Status> {
        let v1::RedriveDeadLettersRequest { consumer, offsets, all, validate_only } = request.into_inner();
        let (name, which) = convert::which_dead_letters(&consumer, offsets, all)?;
        let moved = self.0.redrive_dead_letters(&name, which, validate_only).await;
        let moved = moved.map_err(|error| Problem::from(error).of_change())?;
        let (redriven, remaining) = (Some(count(moved.changed)), count(moved.remaining));
        Ok(Response::new(v1::RedriveDeadLettersResponse { redriven, remaining }))
    }

    async fn discard_dead_letters(
        &self,
        request: Request<v1::DiscardDeadLettersRequest>,
    ) -> Result<Response<v1::DiscardDeadLettersResponse>, Status> {
        let v1::DiscardDeadLettersRequest { consumer, offsets, all, validate_only } = request.into_inner();
        let (name, which) = convert::which_dead_letters(&consumer, offsets, all)?;
        let moved = self.0.discard_dead_letters(&name, which, validate_only).await;
        let moved = moved.map_err(|error| Problem::from(error).of_change())?;
        let (discarded, remaining) = (Some(count(moved.changed)), count(moved.remaining));
        Ok(Response::new(v1::DiscardDeadLettersResponse { discarded, remaining }))
    }
}

fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The frames of a subscription, pulled by the client's own demand.
fn frames(subscription: Subscription) -> impl Stream<Item = Result<SubscribeFrame, Status>> + Send {
    stream::unfold(subscription, |mut subscription| async move {
        let frame = subscription.next().await?;
        let frame = frame.map(convert::frame).map_err(|error| Problem::from(error).into());
        Some((frame, subscription))
    })
}
