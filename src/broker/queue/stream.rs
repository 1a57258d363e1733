//! A stream of a consumer in MODE_QUEUE: pulled by its client, without a task of its own.

use std::{sync::Arc, time::Duration};

use tokio::{
    select,
    task::JoinHandle,
    time::{Instant, sleep_until, timeout_at},
};
use tracing::warn;
use uuid::Uuid;

use super::{
    delivery::Parcel,
    dispatcher::Dispatcher,
    member::{End, Member},
};
use crate::{
    broker::{
        Broker, ClosingReason, Frame, Position,
        life::Life,
        streams::StreamRoom,
        subscribe::{StopAt, Subscribe, SubscribeError},
        subscription::Phase,
        topic_cache::TopicHandle,
    },
    domain::{Bounds, Consumer, LeaseId, Offset, Principal, Settlement, SubscriptionId, Verdict, limits},
    store::{Claim, Picked, StoreError},
};

/// Pause before a stream looks again after the store failed.
const STORE_PAUSE: Duration = Duration::from_millis(250);
/// A stream that stops by itself asks so often whether everything up to there is settled.
const STOP_CHECK: Duration = Duration::from_millis(500);

/// An open stream; [`next`](Self::next) is its only door. Dropping it gives its leases back.
#[derive(Debug)]
pub struct QueueSubscription {
    broker: Broker,
    dispatcher: Arc<Dispatcher>,
    member: Arc<Member>,
    consumer: Box<Consumer>,
    request: Subscribe,
    handle: TopicHandle,
    life: Life,
    phase: Phase,
    /// The lease that is being sent.
    parcel: Option<Parcel>,
    /// Events of it that are being read.
    reading: Option<Reading>,
    bounds: Bounds,
    position: Offset,
    stop: Option<Offset>,
    stop_check_at: Instant,
    told_paused: bool,
    told_caught_up: bool,
    left: bool,
    _room: StreamRoom,
}

/// A read under way, which goes on without its caller.
#[derive(Debug)]
struct Reading {
    wanted: Vec<Offset>,
    task: JoinHandle<Result<Option<Picked>, StoreError>>,
}

impl QueueSubscription {
    /// Opens a stream, which is listed as a connection of its consumer from then on.
    pub(in crate::broker) async fn open(
        broker: &Broker,
        principal: Arc<Principal>,
        request: Subscribe,
        consumer: Consumer,
        handle: TopicHandle,
        room: StreamRoom,
    ) -> Result<Self, SubscribeError> {
        if request.take_over || request.wait {
            return Err(SubscribeError::WrongMode { consumer: consumer.settings.name });
        }
        broker.wait_until_present().await?;
        let id = SubscriptionId(Uuid::now_v7());
        let claim = Claim {
            server: broker.server_id(),
            server_name: broker.server_name().to_owned(),
            subscription: id,
            peer: request.peer.clone(),
            take_over: false,
            lease: limits::HOLD_LEASE,
        };
        let max = request.max_in_flight.unwrap_or(limits::STREAM_IN_FLIGHT_DEFAULT);
        let (revision, stored, paused) = (consumer.revision, consumer.stored, consumer.paused);
        let member = Member::new(id, Some(claim.clone()), max, revision, stored, paused);
        let known = broker.queues().know(&consumer, handle.clone());
        let dispatcher = broker.queues().dispatcher(broker, &known, &consumer.settings.name);
        let bounds = handle.topic.bounds;
        let stop = match request.stop {
            StopAt::Never => None,
            StopAt::Head => Some(bounds.head),
            StopAt::Offset(offset) => Some(offset),
        };
        let subscription = Self {
            broker: broker.clone(),
            life: Life::new(broker.clone(), principal, request.heartbeat_interval),
            phase: Phase::Starting,
            parcel: None,
            reading: None,
            position: stored,
            stop_check_at: Instant::now(),
            told_paused: false,
            told_caught_up: false,
            left: false,
            _room: room,
            dispatcher,
            member,
            request,
            handle,
            bounds,
            stop,
            consumer: Box::new(consumer),
        };
        let listed = [(subscription.consumer.id, claim)];
        let attended = broker.change(move |store| async move { store.attend(&listed, limits::HOLD_LEASE).await }).await;
        attended.map_err(crate::broker::Stopped::store)??;
        subscription.dispatcher.add(subscription.member.clone());
        Ok(subscription)
    }

    /// The next frame; `None` after the stream ended well; nothing after an error. Cancelling it loses
    /// nothing.
    pub async fn next(&mut self) -> Option<Result<Frame, SubscribeError>> {
        self.member.polled();
        let step = self.step().await;
        match &step {
            Some(Ok(_)) => {
                self.life.spoke();
                self.member.handed_out();
            }
            Some(Err(_)) | None => {
                self.phase = Phase::Ended;
                self.leave(true);
            }
        }
        step
    }

    async fn step(&mut self) -> Option<Result<Frame, SubscribeError>> {
        loop {
            match &self.phase {
                Phase::Ended | Phase::Waiting => return None,
                Phase::Closing(error) => return Some(Err(error.clone())),
                Phase::Starting => {
                    self.phase = Phase::Running;
                    return Some(Ok(self.started()));
                }
                Phase::Running => {}
            }
            match self.over().await {
                Ok(None) => {}
                Ok(Some((reason, error))) => return Some(Ok(self.close(reason, error))),
                Err(error) => return Some(Err(error)),
            }
            if let Some(step) = self.advance().await {
                return Some(step);
            }
            if matches!(self.phase, Phase::Running) && self.life.is_silent() {
                return Some(Ok(self.heartbeat()));
            }
        }
    }

    fn started(&mut self) -> Frame {
        Frame::Started {
            subscription: self.member.id,
            epoch: None,
            position: self.position(),
            heartbeat_interval: self.request.heartbeat_interval,
            log_id: self.handle.topic.log_id,
        }
    }

    /// Why the stream must end now, if it must: after saying so, or with an error alone.
    async fn over(&mut self) -> Result<Option<(ClosingReason, SubscribeError)>, SubscribeError> {
        if self.broker.shutdown().is_draining() {
            return Ok(Some((ClosingReason::Draining, SubscribeError::Draining)));
        }
        let rotated = |reason| Ok(Some((reason, SubscribeError::Rotated(reason))));
        match self.member.outlook().end {
            None => Ok(self.life.over().await),
            Some(End::Changed) => rotated(ClosingReason::ConsumerChanged),
            Some(End::Stalled) => rotated(ClosingReason::MaxAge),
            Some(End::Deleted) => {
                let consumer = self.consumer.settings.name.clone();
                Ok(Some((ClosingReason::Deleted, SubscribeError::ConsumerNotFound { consumer })))
            }
            Some(End::Shortened(head)) => {
                let topic = self.handle.topic.settings.name.clone();
                Err(SubscribeError::LogShortened { topic, after: self.position, head })
            }
            Some(End::Failed(error)) => Err(error),
        }
    }

    /// One frame, or one wait for something to send.
    async fn advance(&mut self) -> Option<Result<Frame, SubscribeError>> {
        let outlook = self.member.outlook();
        self.position = self.position.max(outlook.dispatched);
        if outlook.paused != self.told_paused {
            self.told_paused = outlook.paused;
            return Some(Ok(self.heartbeat()));
        }
        // Also while there is more behind it: what the stream has of that is left to run.
        if let Some(stop) = self.stop.filter(|stop| outlook.dispatched >= *stop)
            && self.is_settled(stop).await
        {
            self.phase = Phase::Ended;
            return None;
        }
        self.parcel = self.parcel.take().filter(|parcel| !parcel.is_empty()).or_else(|| self.member.next_parcel());
        if self.parcel.is_some() {
            return self.send().await;
        }
        if !self.told_caught_up && outlook.caught_up.is_some() {
            self.told_caught_up = true;
            return Some(Ok(Frame::CaughtUp { position: self.position() }));
        }
        let deadline = self.life.deadline();
        let deadline = if self.stop.is_some() { deadline.min(self.stop_check_at) } else { deadline };
        self.wait(deadline).await;
        None
    }

    async fn wait(&self, deadline: Instant) {
        let shutdown = self.broker.shutdown();
        select! {
            () = shutdown.draining() => {}
            () = self.member.news.notified() => {}
            () = sleep_until(deadline) => {}
        }
    }

    /// The next frame of the lease at hand; `None` if it was over, or has to be read first.
    async fn send(&mut self) -> Option<Result<Frame, SubscribeError>> {
        let parcel = self.parcel.as_mut()?;
        if parcel.until <= Instant::now() {
            // By now its events are others'.
            (self.parcel, self.reading) = (None, None);
            return None;
        }
        if !self.broker.is_present() {
            let again = Instant::now() + STORE_PAUSE;
            self.wait(self.life.deadline().min(again)).await;
            return None;
        }
        let topic = &self.handle.topic.settings.name;
        if let Some(deliveries) = parcel.next(topic, self.request.max_batch_events, limits::FRAME_BYTES) {
            self.handle.log.counters.delivered(deliveries.events.len());
            if self.reading.is_none()
                && let Some(rest) = self.parcel.take().filter(|rest| !rest.is_empty())
            {
                // Should nobody read on, it counts as unsent.
                self.member.put_back(rest);
            }
            return Some(Ok(Frame::Deliveries(deliveries)));
        }
        self.read().await.err().map(Err)
    }

    /// Reads what is to be sent next and is not in memory.
    async fn read(&mut self) -> Result<(), SubscribeError> {
        let Some(parcel) = &mut self.parcel else { return Ok(()) };
        let reading = self.reading.get_or_insert_with(|| {
            let wanted = parcel.missing(self.request.max_batch_events);
            let (store, topic, offsets) = (self.broker.store().clone(), self.handle.topic.id, wanted.clone());
            let read = async move { store.pick(topic, &offsets, limits::FRAME_BYTES).await };
            Reading { wanted, task: self.broker.shutdown().spawn(read) }
        });
        let shutdown = self.broker.shutdown();
        let read = select! {
            read = &mut reading.task => read,
            () = shutdown.draining() => return Ok(()),
            () = sleep_until(self.life.deadline()) => return Ok(()),
        };
        let wanted = std::mem::take(&mut reading.wanted);
        self.reading = None;
        match read.unwrap_or_else(|error| Err(StoreError::Unavailable(error.into()))) {
            Ok(Some(picked)) => {
                let gone = parcel.read(&wanted, picked.events, picked.up_to);
                report_trimmed(&self.dispatcher, parcel.lease, gone);
                Ok(())
            }
            Ok(None) => Err(SubscribeError::TopicNotFound { topic: self.handle.topic.settings.name.clone() }),
            Err(error) if error.is_retryable() => {
                warn!(consumer = %self.consumer.settings.name, %error, "a stream cannot read; it tries again");
                let _ = timeout_at(Instant::now() + STORE_PAUSE, shutdown.draining()).await;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether everything up to an offset is settled, as it was a moment ago.
    async fn is_settled(&mut self, stop: Offset) -> bool {
        if Instant::now() < self.stop_check_at {
            return false;
        }
        let asked = [self.consumer.id];
        let status = timeout_at(self.life.soon(), self.broker.store().queue_status(&asked)).await;
        self.stop_check_at = Instant::now() + STOP_CHECK;
        match status {
            Ok(Ok(status)) => status.first().is_some_and(|status| status.position >= stop),
            // It is asked again.
            Ok(Err(_)) | Err(_) => false,
        }
    }

    fn heartbeat(&mut self) -> Frame {
        Frame::Heartbeat { position: self.position(), paused: self.told_paused, waiting: false }
    }

    fn position(&mut self) -> Position {
        let head = self.handle.log.tail().unwrap_or(self.bounds.head).max(self.bounds.head).max(self.position);
        self.bounds.head = head;
        Position { offset: self.position, bounds: self.bounds }
    }

    /// Says that the stream ends. Its leases run on, to be settled on the next one.
    fn close(&mut self, reason: ClosingReason, error: SubscribeError) -> Frame {
        self.phase = Phase::Closing(error);
        self.leave(true);
        Frame::Closing { reason, remaining: Duration::ZERO }
    }

    fn leave(&mut self, keep: bool) {
        if std::mem::replace(&mut self.left, true) {
            return;
        }
        self.dispatcher.remove(self.member.id);
        let unsent = self.parcel.take();
        let unsent = unsent.iter().flat_map(|parcel| parcel.unsent().map(|offset| (parcel.lease, offset))).collect();
        self.broker.give_back(self.consumer.id, &self.member, unsent, keep);
    }
}

impl Drop for QueueSubscription {
    fn drop(&mut self) {
        let ended = matches!(self.phase, Phase::Ended | Phase::Closing(_));
        self.leave(ended || self.broker.shutdown().is_draining());
    }
}

/// Gives up on events that retention removed before they could be sent.
pub(super) fn report_trimmed(dispatcher: &Arc<Dispatcher>, lease: LeaseId, gone: Vec<Offset>) {
    if gone.is_empty() {
        return;
    }
    let settlements = gone.into_iter().map(|offset| Settlement { lease, offset, verdict: Verdict::Trimmed }).collect();
    let dispatcher = dispatcher.clone();
    let shutdown = dispatcher.broker.shutdown().clone();
    shutdown.spawn(async move { dispatcher.settle_own(settlements).await });
}
