//! Removing what is not kept any more, in the background: events that their topic's retention does not keep,
//! and those of topics that were deleted.
//!
//! One server does it for all that share the store, for as long as it renews its lease on the duty; one
//! that was killed is followed by another when the lease has run out. Should two work at once, because one
//! stood still for longer than its lease, they do nothing wrong: each step is a short transaction of its own
//! that removes what must go, if it is still there.

use std::time::Duration;

use metrics::{Counter, counter};
use tokio::{
    select,
    time::{Instant, sleep},
};
use tracing::{debug, error, info, warn};

use super::Broker;
use crate::{
    domain::{Offset, TopicId, limits},
    store::{Removed, StoreError},
    telemetry::metric,
};

/// The name of the duty.
const DUTY: &str = "removal";
/// Topics looked at by one statement.
const TOPICS: usize = 100;
/// Steps of one topic before the others have their turn: a few seconds.
const STEPS: usize = 128;

/// Why events of a topic go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Its retention does not keep them.
    Retention,
    /// It was deleted.
    Deleted,
}

/// What one round over all topics found to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Round {
    /// All that was due is gone, or this server is not the one to do it.
    Done,
    /// Some topic has more than its turn took.
    More,
}

impl Broker {
    /// Removes what is due, until the process drains.
    pub(super) async fn remove_in_background(self) {
        let counters = Counters::new();
        let (mut pause, mut failing) = (self.retention_interval(), false);
        loop {
            select! {
                () = self.shutdown().draining() => return,
                () = sleep(pause) => {}
            }
            let round = Work { broker: &self, counters: &counters, renewed: None }.round().await;
            pause = if matches!(round, Ok(Round::More)) { Duration::ZERO } else { self.retention_interval() };
            if let (Err(error), false) = (&round, failing) {
                warn!(%error, "events that are due cannot be removed; trying again from time to time");
            }
            failing = round.is_err();
        }
    }
}

/// The work of one round.
struct Work<'a> {
    broker: &'a Broker,
    counters: &'a Counters,
    /// When the duty was last taken or renewed; `None`: not yet.
    renewed: Option<Instant>,
}

impl Work<'_> {
    async fn round(mut self) -> Result<Round, StoreError> {
        let mut round = Round::Done;
        if !self.goes_on().await? {
            return Ok(round);
        }
        let store = self.broker.store();
        let mut last = Some(TopicId(i32::MIN));
        while let Some(after) = last {
            let topics = store.retained_topics(after, TOPICS).await?;
            last = topics.last().copied();
            for topic in topics {
                round = round.max(self.work_off(topic, Why::Retention).await?);
            }
        }
        let deleted = store.deleted_topics(TOPICS).await?;
        if deleted.len() == TOPICS {
            round = Round::More;
        }
        for topic in deleted {
            round = round.max(self.work_off(topic, Why::Deleted).await?);
        }
        Ok(round)
    }

    /// Removes what is due of a topic. If the store does not let it, the other topics have their turn.
    async fn work_off(&mut self, topic: TopicId, why: Why) -> Result<Round, StoreError> {
        match self.step_by_step(topic, why).await {
            Err(error) if !error.is_retryable() => {
                error!(%topic, error = %error, "events of topic {topic} that are due cannot be removed");
                Ok(Round::Done)
            }
            other => other,
        }
    }

    async fn step_by_step(&mut self, topic: TopicId, why: Why) -> Result<Round, StoreError> {
        let (store, mut after, mut events) = (self.broker.store(), Offset::ZERO, 0);
        for _ in 0..STEPS {
            if !self.goes_on().await? {
                return Ok(Round::Done);
            }
            let (removed, counters) = match why {
                Why::Retention => (store.retain(topic, after).await?, &self.counters.retention),
                Why::Deleted => (store.remove_deleted(topic, after).await?, &self.counters.deleted),
            };
            counters.count(removed);
            events += removed.events;
            if let Some(last) = removed.more {
                after = last;
                continue;
            }
            match why {
                Why::Deleted => info!(%topic, "nothing is left of deleted topic {topic}"),
                Why::Retention if events > 0 => debug!(%topic, events, "retention removed {events} events"),
                Why::Retention => {}
            }
            return Ok(Round::Done);
        }
        Ok(Round::More)
    }

    /// Whether this server has the duty and does not drain.
    async fn goes_on(&mut self) -> Result<bool, StoreError> {
        if self.broker.shutdown().is_draining() {
            return Ok(false);
        }
        if self.renewed.is_some_and(|at| at.elapsed() < limits::HOLD_RENEWAL) {
            return Ok(true);
        }
        let now = Instant::now();
        let has = self.broker.store().take_duty(DUTY, self.broker.server_id(), limits::HOLD_LEASE).await?;
        self.renewed = has.then_some(now);
        Ok(has)
    }
}

/// What was removed, by cause.
struct Counters {
    retention: Cause,
    deleted: Cause,
}

struct Cause {
    events: Counter,
    segments: Counter,
}

impl Counters {
    fn new() -> Self {
        Self { retention: Cause::new("retention"), deleted: Cause::new("deleted") }
    }
}

impl Cause {
    fn new(cause: &'static str) -> Self {
        Self {
            events: counter!(metric::REMOVED_EVENTS, "cause" => cause),
            segments: counter!(metric::REMOVED_SEGMENTS, "cause" => cause),
        }
    }

    fn count(&self, removed: Removed) {
        self.events.increment(removed.events);
        self.segments.increment(removed.segments);
    }
}
