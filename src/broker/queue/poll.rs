//! Fetching deliveries by one call.

use std::{sync::Arc, time::Duration};

use tokio::{
    select,
    time::{Instant, sleep_until},
};
use uuid::Uuid;

use super::{
    delivery::{Deliveries, Parcel},
    dispatcher::Dispatcher,
    member::{End, Member},
    stream::report_trimmed,
};
use crate::{
    broker::{Broker, ending::CREDENTIAL_CHECK, poll::Poll, subscribe::SubscribeError, topic_cache::TopicHandle},
    domain::{Consumer, LeaseId, Offset, Principal, Release, SubscriptionId, limits},
    store::StoreError,
};

/// A call that does not wait gets what there is within this time.
const AT_ONCE: Duration = Duration::from_secs(5);

/// What a call got.
#[derive(Debug, Clone)]
pub struct PolledQueue {
    /// Nothing came, or the consumer is paused, if there are none.
    pub deliveries: Option<Deliveries>,
}

/// A call under way. Dropped before it is answered, it gives back what it got, as if it had never been leased.
struct Polling {
    broker: Broker,
    consumer: Consumer,
    handle: TopicHandle,
    dispatcher: Arc<Dispatcher>,
    member: Arc<Member>,
    parcel: Option<Parcel>,
    /// What was made of the parcel for the answer.
    deliveries: Option<Deliveries>,
    answered: bool,
}

impl Broker {
    /// The next deliveries of a consumer in MODE_QUEUE. They are leased to no server: the lease lasts until it is
    /// settled, or over.
    pub(in crate::broker) async fn poll_queue(
        &self,
        principal: &Arc<Principal>,
        request: &Poll,
        consumer: Consumer,
        handle: TopicHandle,
    ) -> Result<PolledQueue, SubscribeError> {
        if request.after.is_some() {
            return Err(SubscribeError::WrongMode { consumer: consumer.settings.name });
        }
        self.wait_until_present().await?;
        let id = SubscriptionId(Uuid::now_v7());
        let member = Member::new(id, None, request.max_events, consumer.revision, consumer.stored, consumer.paused);
        let known = self.queues().know(&consumer, handle.clone());
        let dispatcher = self.queues().dispatcher(self, &known, &consumer.settings.name);
        let (parcel, deliveries) = (None, None);
        let mut polling =
            Polling { broker: self.clone(), consumer, handle, dispatcher, member, parcel, deliveries, answered: false };
        polling.dispatcher.add(polling.member.clone());
        polling.wait(principal, request.wait).await?;
        polling.dispatcher.remove(polling.member.id);
        polling.read().await?;
        polling.answer(request.max_events).await;
        Ok(PolledQueue { deliveries: polling.deliveries.take() })
    }
}

impl Polling {
    /// Waits for a lease, at most for so long.
    async fn wait(&mut self, principal: &Arc<Principal>, wait: Duration) -> Result<(), SubscribeError> {
        let began = Instant::now();
        let mut credential_at = began + CREDENTIAL_CHECK;
        loop {
            self.parcel = self.member.next_parcel();
            if self.parcel.is_some() {
                return Ok(());
            }
            match self.member.outlook().end {
                None | Some(End::Changed | End::Stalled) => {}
                Some(End::Deleted) => {
                    return Err(SubscribeError::ConsumerNotFound { consumer: self.consumer.settings.name.clone() });
                }
                Some(End::Shortened(head)) => {
                    let topic = self.handle.topic.settings.name.clone();
                    return Err(SubscribeError::LogShortened { topic, after: self.consumer.stored, head });
                }
                Some(End::Failed(error)) => return Err(error),
            }
            let now = Instant::now();
            if now >= credential_at {
                credential_at = now + CREDENTIAL_CHECK;
                if let Some(end) = self.broker.credential_end(principal).await {
                    return Err(SubscribeError::CredentialEnded(end));
                }
            }
            // One that does not wait was looked at once.
            let patience = if wait.is_zero() { AT_ONCE } else { wait };
            let done = wait.is_zero() && self.member.was_looked_at();
            if done || now >= began + patience || self.broker.shutdown().is_draining() {
                return Ok(());
            }
            let shutdown = self.broker.shutdown();
            select! {
                () = shutdown.draining() => {}
                () = self.member.news.notified() => {}
                () = sleep_until(credential_at.min(began + patience)) => {}
            }
        }
    }

    /// Reads what is not in memory, as far as it fits into an answer.
    async fn read(&mut self) -> Result<(), SubscribeError> {
        let Some(parcel) = &mut self.parcel else { return Ok(()) };
        let wanted = parcel.missing(limits::FRAME_EVENTS);
        if wanted.is_empty() {
            return Ok(());
        }
        let picked = self.broker.store().pick(self.handle.topic.id, &wanted, limits::FRAME_BYTES).await?;
        let missing = || SubscribeError::TopicNotFound { topic: self.handle.topic.settings.name.clone() };
        let picked = picked.ok_or_else(missing)?;
        let gone = parcel.read(&wanted, picked.events, picked.up_to);
        report_trimmed(&self.dispatcher, parcel.lease, gone);
        Ok(())
    }

    /// Makes the answer, gives back what does not fit, and lets the lease outlive this server.
    async fn answer(&mut self, max_events: usize) {
        if let Some(parcel) = &mut self.parcel {
            let topic = &self.handle.topic.settings.name;
            self.deliveries = parcel.next(topic, max_events, limits::FRAME_BYTES);
        }
        let unsent = self.unsent(false);
        self.answered = true;
        if self.deliveries.is_some() || !unsent.is_empty() {
            let (broker, consumer, stream) = (self.broker.clone(), self.consumer.id, self.member.id);
            let release = async move { broker.release(Release { consumer, stream, unsent, keep: true }).await };
            // A task of its own, so that a caller who leaves does not cut it off.
            let _ = self.broker.shutdown().spawn(release).await;
        }
    }

    /// What was leased and not sent; with `all` also what stands in the answer.
    fn unsent(&mut self, all: bool) -> Vec<(LeaseId, Offset)> {
        let mut unsent = Vec::new();
        for parcel in self.parcel.take().into_iter().chain(self.member.drain()) {
            unsent.extend(parcel.unsent().map(|offset| (parcel.lease, offset)));
        }
        if all && let Some(deliveries) = self.deliveries.take() {
            unsent.extend(deliveries.events.iter().map(|one| (deliveries.lease, one.event().offset)));
        }
        unsent
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        if !self.answered {
            self.dispatcher.remove(self.member.id);
            let unsent = self.unsent(true);
            self.broker.give_back(self.consumer.id, &self.member, unsent, false);
        }
    }
}

impl From<Arc<StoreError>> for SubscribeError {
    fn from(error: Arc<StoreError>) -> Self {
        Self::Store(error)
    }
}
