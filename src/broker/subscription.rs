//! A stream: pulled by its client, without a task of its own.

use std::{sync::Arc, time::Duration};

use tokio::{
    select,
    time::{Instant, sleep_until, timeout_at},
};
use tracing::warn;

use super::{
    Broker, Frame, Position,
    ahead::Ahead,
    frame::{Run, RunCap},
    holds::Hold,
    life::Life,
    log::{Found, Mark, Rest},
    streams::StreamRoom,
    subscribe::{Source, StopAt, Subscribe, SubscribeError, check_kept},
    topic_cache::TopicHandle,
};
use crate::{
    domain::{Bounds, Consumer, ConsumerName, Filter, Offset, Principal, Segment, SubscriptionId, limits},
    notify::Registration,
};

/// Pause before a stream looks again after the store failed.
const STORE_PAUSE: Duration = Duration::from_millis(250);

/// An open stream; [`next`](Self::next) is its only door. Dropping it gives its consumer back.
#[derive(Debug)]
pub struct LogSubscription {
    pub(super) broker: Broker,
    pub(super) id: SubscriptionId,
    pub(super) request: Subscribe,
    pub(super) reader: Reader,
    pub(super) handle: TopicHandle,
    registration: Registration,
    /// How often the log had lost its tail when it began.
    pub(super) losses: u64,
    /// The hub's clock when it began: what was acknowledged before must be seen.
    began: u64,
    pub(super) phase: Phase,
    pub(super) position: Offset,
    /// The last position that the client was told.
    told: Offset,
    bounds: Bounds,
    filter: Filter,
    stop: Option<Offset>,
    /// A segment of which not everything was sent.
    rest: Option<Rest>,
    /// What comes after it.
    ahead: Option<Arc<Ahead>>,
    caught_up: bool,
    /// The client was told that delivery is stopped.
    paused: bool,
    pub(super) life: Life,
    _room: StreamRoom,
}

/// Who reads.
#[derive(Debug)]
pub(super) enum Reader {
    Topic,
    Consumer { consumer: Box<Consumer>, hold: Option<Hold> },
}

#[derive(Debug)]
pub(super) enum Phase {
    /// For the consumer to be free.
    Waiting,
    Starting,
    Running,
    /// Closing was sent.
    Closing(SubscribeError),
    Ended,
}

impl Reader {
    pub(super) fn consumer(consumer: Consumer) -> Self {
        Self::Consumer { consumer: Box::new(consumer), hold: None }
    }

    pub(super) fn hold(&self) -> Option<&Hold> {
        match self {
            Self::Topic => None,
            Self::Consumer { hold, .. } => hold.as_ref(),
        }
    }

    pub(super) fn consumer_name(&self) -> Option<&ConsumerName> {
        match self {
            Self::Topic => None,
            Self::Consumer { consumer, .. } => Some(&consumer.settings.name),
        }
    }
}

impl LogSubscription {
    /// A stream that has registered for wake-ups and has not looked yet.
    pub(super) fn new(
        broker: Broker,
        id: SubscriptionId,
        principal: Arc<Principal>,
        request: Subscribe,
        reader: Reader,
        handle: TopicHandle,
        room: StreamRoom,
    ) -> Self {
        let hub = broker.hub();
        let registration = hub.register(handle.topic.id);
        let began = hub.tick();
        let life = Life::new(broker.clone(), principal.clone(), request.heartbeat_interval);
        let filter = match (&request.from, &reader) {
            (Source::Topic { filter, .. }, _) => filter.clone(),
            (Source::Consumer(_), Reader::Consumer { consumer, .. }) => consumer.settings.filter.clone(),
            (Source::Consumer(_), Reader::Topic) => Filter::default(),
        };
        Self {
            life,
            bounds: handle.topic.bounds,
            losses: handle.log.losses().count,
            phase: Phase::Starting,
            position: Offset::ZERO,
            told: Offset::ZERO,
            stop: None,
            rest: None,
            ahead: None,
            caught_up: false,
            paused: false,
            _room: room,
            broker,
            id,
            request,
            reader,
            handle,
            registration,
            began,
            filter,
        }
    }

    /// Resolves where the stream begins and ends, and takes the consumer or begins to wait for it.
    pub(super) async fn begin(&mut self) -> Result<(), SubscribeError> {
        self.stop = match self.request.stop {
            StopAt::Never => None,
            StopAt::Head => Some(self.bounds.head),
            StopAt::Offset(offset) => Some(offset),
        };
        match &self.request.from {
            Source::Topic { start, .. } => {
                let position = self.broker.resolve_start(&self.handle, *start).await?;
                self.start_at(position)?;
            }
            Source::Consumer(_) => match self.take_consumer().await {
                Ok(stored) => self.start_at(stored)?,
                Err(SubscribeError::ConsumerBusy { .. }) if self.request.wait => self.phase = Phase::Waiting,
                Err(error) => return Err(error),
            },
        }
        Ok(())
    }

    fn start_at(&mut self, position: Offset) -> Result<(), SubscribeError> {
        let topic = &self.handle.topic.settings.name;
        check_kept(topic, position, self.bounds, self.request.skip_trimmed)?;
        (self.position, self.told) = (position, position);
        Ok(())
    }

    pub(super) fn set_hold(&mut self, taken: Hold, now: Consumer) {
        self.filter = now.settings.filter.clone();
        if let Reader::Consumer { consumer, hold } = &mut self.reader {
            **consumer = now;
            *hold = Some(taken);
        }
    }

    /// The next frame; `None` after the stream ended well; nothing after an error. Cancelling it loses
    /// nothing.
    pub async fn next(&mut self) -> Option<Result<Frame, SubscribeError>> {
        if let Some(hold) = self.reader.hold() {
            hold.polled();
        }
        let step = self.step().await;
        match &step {
            Some(Ok(_)) => {
                self.life.spoke();
                if let Some(hold) = self.reader.hold() {
                    hold.handed_out();
                }
            }
            Some(Err(_)) | None => self.end(),
        }
        step
    }

    async fn step(&mut self) -> Option<Result<Frame, SubscribeError>> {
        loop {
            match &self.phase {
                Phase::Ended => return None,
                Phase::Closing(error) => return Some(Err(error.clone())),
                Phase::Running | Phase::Waiting => {
                    if let Some(error) = self.lost_tail() {
                        return Some(Err(error));
                    }
                    if let Some((reason, error)) = self.closing().await {
                        return Some(Ok(self.close(reason, error)));
                    }
                }
                Phase::Starting => {}
            }
            let step = match &self.phase {
                Phase::Starting => Some(Ok(self.started())),
                Phase::Waiting => self.wait_for_consumer().await,
                Phase::Running => self.advance().await,
                Phase::Closing(_) | Phase::Ended => None,
            };
            if step.is_some() {
                return step;
            }
        }
    }

    fn started(&mut self) -> Frame {
        self.phase = Phase::Running;
        Frame::Started {
            subscription: self.id,
            epoch: self.reader.hold().map(Hold::epoch),
            position: self.position(),
            heartbeat_interval: self.request.heartbeat_interval,
            log_id: self.handle.topic.log_id,
        }
    }

    /// Waits, with heartbeats, until the consumer is free.
    async fn wait_for_consumer(&mut self) -> Option<Result<Frame, SubscribeError>> {
        match self.free_consumer().await {
            Err(error) => Some(Err(error)),
            Ok(None) if self.life.is_silent() => {
                let position = self.position();
                Some(Ok(Frame::Heartbeat { position, paused: false, waiting: true }))
            }
            Ok(None) => None,
            Ok(Some(stored)) => {
                // The head may have moved while the stream waited; the first read finds out.
                if let Err(error) = self.start_at(stored) {
                    return Some(Err(error));
                }
                self.began = self.broker.hub().tick();
                self.phase = Phase::Starting;
                None
            }
        }
    }

    /// One look for events, or one wait for them.
    async fn advance(&mut self) -> Option<Result<Frame, SubscribeError>> {
        if self.stop.is_some_and(|stop| self.position >= stop) {
            if self.position > self.told {
                return Some(Ok(self.heartbeat()));
            }
            self.phase = Phase::Ended;
            return None;
        }
        if self.position < self.bounds.trimmed_to {
            return Some(self.trimmed(self.bounds.trimmed_to));
        }
        if !self.reader.hold().is_none_or(Hold::stands) {
            return self.wait(false).await;
        }
        let paused = self.reader.hold().is_some_and(Hold::is_paused);
        if paused != self.paused {
            self.paused = paused;
            return Some(Ok(self.heartbeat()));
        }
        if paused {
            return self.wait(true).await;
        }
        if let Some(rest) = self.rest.take() {
            return self.batch(rest.segment).map(Ok);
        }
        let mark = Mark { began: self.began, woken: self.registration.seen() };
        let (log, stop) = (self.handle.log.clone(), self.stop);
        let wants = |after| stop.is_none_or(|stop| stop > after);
        let on = wants(self.position.plus(limits::SEGMENT_EVENTS));
        // A read goes on without its caller, so that a heartbeat may come before its result.
        let found = select! {
            found = log.read_on(self.position, mark, on, &mut self.ahead) => found,
            () = self.broker.shutdown().draining() => return None,
            () = changed(&self.reader, true, self.paused) => return None,
            () = sleep_until(self.life.deadline()) => return self.life.is_silent().then(|| Ok(self.heartbeat())),
        };
        match found {
            Ok(Found::Events { segment, behind }) => {
                self.caught_up &= !behind;
                // It may be what took the place of events that this stream has sent.
                if let Some(error) = self.lost_tail() {
                    return Some(Err(error));
                }
                // The hold may have run out during the read, if this process was stopped meanwhile.
                if !self.reader.hold().is_none_or(Hold::stands) {
                    return self.wait(false).await;
                }
                if behind && self.ahead.is_none() && wants(segment.last()) {
                    self.ahead = log.read_ahead(segment.last());
                }
                self.batch(segment).map(Ok)
            }
            Ok(Found::Nothing) if !self.caught_up => {
                self.caught_up = true;
                self.told = self.position;
                Some(Ok(Frame::CaughtUp { position: self.position() }))
            }
            Ok(Found::Nothing) => self.wait(true).await,
            Ok(Found::Trimmed { to }) => Some(self.trimmed(to)),
            Ok(Found::Deleted) => Some(Ok(self.deleted())),
            // By now, others may have published in the place of what was lost.
            Ok(Found::Shortened { head }) => Some(Err(self.lost_tail().unwrap_or_else(|| self.shortened(head)))),
            Err(error) if error.is_retryable() => {
                warn!(topic = %self.handle.topic.settings.name, %error, "a stream cannot read; it tries again");
                let _ = timeout_at(Instant::now() + STORE_PAUSE, self.broker.shutdown().draining()).await;
                None
            }
            Err(error) => Some(Err(SubscribeError::Store(error))),
        }
    }

    /// A frame of what a segment has after the position; `None` if nothing of it passes the filter.
    fn batch(&mut self, segment: Arc<Segment>) -> Option<Frame> {
        let last = self.stop.unwrap_or(Offset::MAX);
        let cap = RunCap { events: self.request.max_batch_events, bytes: limits::FRAME_BYTES, last };
        let topic = &self.handle.topic.settings.name;
        let (run, position) = Run::pick(topic, &segment, self.position, &self.filter, cap);
        self.position = position;
        if let Some(hold) = self.reader.hold() {
            hold.advanced(run.as_ref().map(Run::last), position);
        }
        if position < segment.last() {
            self.rest = self.handle.log.keep_rest(segment);
        }
        let Some(run) = run else {
            let due = self.life.is_silent();
            return due.then(|| self.heartbeat());
        };
        self.told = position;
        self.handle.log.counters.delivered(run.len());
        Some(Frame::Batch { run, position: self.position() })
    }

    fn trimmed(&mut self, to: Offset) -> Result<Frame, SubscribeError> {
        self.bounds.trimmed_to = self.bounds.trimmed_to.max(to);
        let topic = &self.handle.topic.settings.name;
        check_kept(topic, self.position, self.bounds, self.request.skip_trimmed)?;
        let from = self.position.next();
        (self.position, self.told) = (to, to);
        if let Some(hold) = self.reader.hold() {
            hold.skipped(from, to);
        }
        Ok(Frame::Skipped { from, to })
    }

    /// Waits for anything that may have changed; a frame if a heartbeat is due. `stood` is whether the
    /// stream may send events, as far as the caller knows.
    async fn wait(&mut self, stood: bool) -> Option<Result<Frame, SubscribeError>> {
        let deadline = self.life.deadline();
        let shutdown = self.broker.shutdown().clone();
        select! {
            () = shutdown.draining() => {}
            () = self.registration.woken() => {}
            () = changed(&self.reader, stood, self.paused) => {}
            () = sleep_until(deadline) => {}
        }
        (self.life.is_silent()).then(|| Ok(self.heartbeat()))
    }

    fn heartbeat(&mut self) -> Frame {
        self.told = self.position;
        Frame::Heartbeat { position: self.position(), paused: self.paused, waiting: false }
    }

    fn position(&mut self) -> Position {
        let head = self.handle.log.tail().unwrap_or(self.bounds.head).max(self.bounds.head).max(self.position);
        self.bounds.head = head;
        Position { offset: self.position, bounds: self.bounds }
    }
}

/// Completes when the hold of the reader's consumer is not what the caller knows any more.
async fn changed(reader: &Reader, stood: bool, paused: bool) {
    match reader.hold() {
        Some(hold) => hold.changed(stood, paused).await,
        None => std::future::pending().await,
    }
}
