//! Fetching the next events of a consumer by one call, and waiting for some.

use std::{sync::Arc, time::Duration};

use tokio::{
    select,
    sync::broadcast::error::RecvError,
    time::{Instant, sleep_until},
};

use super::{
    Broker, Position,
    ending::CREDENTIAL_CHECK,
    frame::{Run, RunCap},
    log::{Found, Mark},
    queue::PolledQueue,
    subscribe::{SubscribeError, check_kept},
    topic_cache::TopicHandle,
};
use crate::{
    domain::{Bounds, Consumer, ConsumerName, Epoch, Mode, Offset, Principal, limits},
    notify::{Control, Registration},
};

/// Events that a call looks at, at most, so that a filter that selects nothing does not read a whole topic.
const LOOKED_AT: u64 = 50_000;
/// No more is added to an answer that has less than this left to its limit: an event may be so large.
const LARGEST: usize = limits::PAYLOAD_BYTES + (256 << 10);
/// However many changes are told of, the consumer is looked up again only after a moment.
const REST: Duration = Duration::from_millis(50);

/// A request for events.
#[derive(Debug, Clone)]
pub struct Poll {
    /// The consumer.
    pub consumer: ConsumerName,
    /// Events at most.
    pub max_events: usize,
    /// How long to wait for the first one.
    pub wait: Duration,
    /// Go on after this offset instead of after the stored one.
    pub after: Option<Offset>,
}

/// What a call got, by the consumer's mode.
#[derive(Debug, Clone)]
pub enum PolledConsumer {
    /// In MODE_ORDERED.
    Ordered(Polled),
    /// In MODE_QUEUE.
    Queue(PolledQueue),
}

/// What was there, or came in time.
#[derive(Debug, Clone)]
pub struct Polled {
    /// Events in order; none came, or the consumer is paused, if it is empty.
    pub runs: Vec<Run>,
    /// Everything up to here is among them or left out by the filter.
    pub position: Position,
    /// To be sent with a commit.
    pub epoch: Epoch,
}

/// A call under way.
struct Polling<'a> {
    broker: &'a Broker,
    principal: &'a Principal,
    request: &'a Poll,
    consumer: Consumer,
    handle: TopicHandle,
    registration: Registration,
    /// The hub's clock when it began.
    began: u64,
    position: Offset,
    runs: Vec<Run>,
    looked_at: u64,
}

impl Broker {
    /// The next events of a consumer. In MODE_ORDERED, which no stream may have, nothing is moved and nothing is
    /// held, and cancelling it changes nothing; in MODE_QUEUE they are leased, and cancelling it gives them back.
    pub async fn poll_consumer(
        &self,
        principal: &Arc<Principal>,
        request: Poll,
    ) -> Result<PolledConsumer, SubscribeError> {
        if self.shutdown().is_draining() {
            return Err(SubscribeError::Draining);
        }
        // A call that waits lives as a stream does.
        let _room = if request.wait.is_zero() { None } else { Some(self.room_for_stream(principal)?) };
        let (consumer, handle) = self.consumer_for(principal, &request.consumer).await?;
        if consumer.settings.mode == Mode::Queue {
            return self.poll_queue(principal, &request, consumer, handle).await.map(PolledConsumer::Queue);
        }
        if let Some(remaining) = self.store().held_for(consumer.id).await? {
            return Err(SubscribeError::ConsumerBusy { consumer: request.consumer, remaining });
        }
        let position = request.after.unwrap_or(consumer.stored);
        let (topic, bounds) = (&handle.topic.settings.name, handle.topic.bounds);
        if request.after.is_some() && position > bounds.head {
            return Err(SubscribeError::OffsetBeyondHead { topic: topic.clone(), after: position, head: bounds.head });
        }
        check_kept(topic, position, bounds, false)?;
        let registration = self.hub().register(handle.topic.id);
        let began = self.hub().tick();
        let polling = Polling {
            broker: self,
            principal,
            request: &request,
            consumer,
            handle,
            registration,
            began,
            position,
            runs: Vec::new(),
            looked_at: 0,
        };
        polling.run().await.map(PolledConsumer::Ordered)
    }
}

impl Polling<'_> {
    async fn run(mut self) -> Result<Polled, SubscribeError> {
        let deadline = Instant::now() + self.request.wait;
        loop {
            let mut controls = self.broker.hub().controls();
            if !self.consumer.paused {
                self.fetch().await?;
            }
            let over = Instant::now() >= deadline || self.broker.shutdown().is_draining();
            if over || !self.runs.is_empty() {
                return Ok(self.answer());
            }
            if self.looked_at >= LOOKED_AT {
                // There may be more behind what was left out.
                self.looked_at = 0;
                continue;
            }
            let (shutdown, rested) = (self.broker.shutdown().clone(), Instant::now() + REST);
            let look_again = Instant::now() + CREDENTIAL_CHECK;
            select! {
                () = shutdown.draining() => {}
                () = sleep_until(deadline) => {}
                () = self.registration.woken() => {}
                () = changed(&mut controls, &self.consumer) => {
                    sleep_until(rested.min(deadline)).await;
                    self.look_again().await?;
                }
                () = sleep_until(look_again) => self.look_again().await?,
            }
        }
    }

    /// What may have changed while the call waited.
    async fn look_again(&mut self) -> Result<(), SubscribeError> {
        if let Some(end) = self.broker.credential_end(self.principal).await {
            return Err(SubscribeError::CredentialEnded(end));
        }
        let (now, _) = self.broker.consumer_for(self.principal, &self.request.consumer).await?;
        if now.id != self.consumer.id {
            return Err(SubscribeError::ConsumerNotFound { consumer: self.request.consumer.clone() });
        }
        if let Some(remaining) = self.broker.store().held_for(now.id).await? {
            return Err(SubscribeError::ConsumerBusy { consumer: self.request.consumer.clone(), remaining });
        }
        if self.request.after.is_none() && now.epoch != self.consumer.epoch {
            // It was moved: its events are those after the new place.
            self.position = now.stored;
        }
        self.consumer = now;
        Ok(())
    }

    /// Takes what there is, up to what was asked for.
    async fn fetch(&mut self) -> Result<(), SubscribeError> {
        let topic = self.handle.topic.settings.name.clone();
        let (mut events, mut bytes) = (self.request.max_events, limits::FRAME_BYTES);
        while events > 0 && (bytes >= LARGEST || self.runs.is_empty()) && self.looked_at < LOOKED_AT {
            let mark = Mark { began: self.began, woken: self.registration.seen() };
            let segment = match self.handle.log.read(self.position, mark).await {
                Ok(Found::Events { segment, .. }) => segment,
                Ok(Found::Nothing) => return Ok(()),
                Ok(Found::Trimmed { .. }) if !self.runs.is_empty() => return Ok(()),
                Ok(Found::Trimmed { to }) => {
                    let bounds = Bounds { head: to.max(self.handle.topic.bounds.head), trimmed_to: to };
                    return check_kept(&topic, self.position, bounds, false);
                }
                Ok(Found::Deleted) => return Err(SubscribeError::TopicNotFound { topic }),
                Ok(Found::Shortened { head }) => {
                    return Err(SubscribeError::LogShortened { topic, after: self.position, head });
                }
                Err(error) => return Err(SubscribeError::Store(error)),
            };
            let cap = RunCap { events, bytes, last: Offset::MAX };
            let (run, position) = Run::pick(&topic, &segment, self.position, &self.consumer.settings.filter, cap);
            self.looked_at += position.since(self.position);
            self.position = position;
            if let Some(run) = run {
                events -= run.len();
                bytes = bytes.saturating_sub(run.bytes());
                self.runs.push(run);
            }
        }
        Ok(())
    }

    fn answer(self) -> Polled {
        let known = self.handle.topic.bounds;
        let head = self.handle.log.tail().unwrap_or(known.head).max(known.head).max(self.position);
        let position = Position { offset: self.position, bounds: Bounds { head, ..known } };
        Polled { runs: self.runs, position, epoch: self.consumer.epoch }
    }
}

/// Completes when the consumer may have changed.
async fn changed(controls: &mut tokio::sync::broadcast::Receiver<Control>, consumer: &Consumer) {
    loop {
        match controls.recv().await {
            Ok(Control::ConsumerChanged(changed)) if changed != consumer.id => {}
            Ok(Control::TopicsChanged | Control::IdentitiesChanged) => {}
            Ok(Control::ConsumerChanged(_) | Control::Everything) => return,
            Err(RecvError::Lagged(_) | RecvError::Closed) => return,
        }
    }
}
