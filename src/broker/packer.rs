//! Packing in the background: runs of small neighbouring segments become full ones, and all are linked.
//!
//! One server does it for all that share the store, for as long as it renews its lease on the duty. Should two
//! work at once, they do nothing wrong: each step is one transaction that packs what was found, if it is still
//! there.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use metrics::{counter, histogram};
use tokio::{select, time::sleep};
use tracing::{debug, error, info, warn};

use super::Broker;
use crate::{
    domain::{Link, TopicId, limits},
    store::{PackRule, PackRun, Packing, StoreError},
    telemetry::metric,
};

/// The name of the duty.
const DUTY: &str = "packing";
/// Topics looked at by one statement.
const TOPICS: usize = 100;
/// Steps of one topic before the others have their turn.
const STEPS: usize = 16;
/// Between two looks at all topics, at most.
const INTERVAL_MAX: Duration = Duration::from_secs(30);
/// Between two looks at all topics, at least.
const INTERVAL_MIN: Duration = Duration::from_millis(50);
/// From the first to the last event of a segment, at most, however late packing begins: retention by age
/// removes whole segments.
const SPAN_MAX: Duration = Duration::from_secs(3600);

/// What a server packs, and how quickly.
#[derive(Debug, Clone, Copy)]
pub struct PackOptions {
    /// Younger events are left alone.
    pub after: Duration,
    /// Bytes of events in a second, at most.
    pub rate: usize,
}

impl PackOptions {
    fn rule(self) -> PackRule {
        PackRule { age: self.after, span: self.after.saturating_mul(6).min(SPAN_MAX) }
    }

    fn interval(self) -> Duration {
        (self.after / 20).clamp(INTERVAL_MIN, INTERVAL_MAX)
    }
}

impl Broker {
    /// Packs what is due, until the process drains.
    pub(super) async fn pack_in_background(self, options: PackOptions) {
        let mut packer = Packer { broker: self, options, renewed: None, resting: HashMap::new() };
        let mut failing = false;
        let mut pause = options.interval();
        loop {
            select! {
                () = packer.broker.shutdown().draining() => return,
                () = sleep(pause) => {}
            }
            let round = packer.round().await;
            pause = if matches!(round, Ok(true)) { INTERVAL_MIN } else { options.interval() };
            if let (Err(error), false) = (&round, failing) {
                warn!(%error, "segments cannot be packed; trying again from time to time");
            }
            failing = round.is_err();
        }
    }
}

struct Packer {
    broker: Broker,
    options: PackOptions,
    /// When the duty was last taken or renewed; `None`: it is not this server's.
    renewed: Option<Instant>,
    /// Topics of which nothing could be packed, until they are looked at again. A topic that gets few events
    /// has some that are old enough all the time, and another one may still join them.
    resting: HashMap<TopicId, Instant>,
}

impl Packer {
    /// Looks at all topics; whether some have more to pack than their turn took.
    async fn round(&mut self) -> Result<bool, StoreError> {
        let now = Instant::now();
        self.resting.retain(|_, until| *until > now);
        let (mut more, mut after) = (false, Some(TopicId(i32::MIN)));
        while let Some(last) = after {
            if !self.goes_on().await? {
                return Ok(false);
            }
            let topics = self.broker.store().unpacked_topics(last, self.options.after, TOPICS).await?;
            after = topics.last().copied().filter(|_| topics.len() == TOPICS);
            for topic in topics.into_iter().filter(|topic| !self.resting.contains_key(topic)).collect::<Vec<_>>() {
                match self.pack_topic(topic).await {
                    Ok(unfinished) => more |= unfinished,
                    // What is wrong with one topic does not keep the others from being packed.
                    Err(error) if !error.is_retryable() => {
                        error!(%topic, %error, "events of topic {topic} cannot be packed; verify it");
                        self.rest(topic);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(more)
    }

    /// Packs some of a topic; whether there may be more.
    async fn pack_topic(&mut self, topic: TopicId) -> Result<bool, StoreError> {
        for _ in 0..STEPS {
            if !self.goes_on().await? {
                return Ok(false);
            }
            let began = Instant::now();
            let Some(run) = self.broker.store().find_run(topic, self.options.rule()).await? else {
                self.rest(topic);
                return Ok(false);
            };
            match self.pack(topic, &run).await? {
                Packing::Packed => self.breathe(run.bytes, began.elapsed()).await,
                Packing::Moved => counter!(metric::PACK_CONFLICTS).increment(1),
                Packing::Busy => {
                    counter!(metric::PACK_CONFLICTS).increment(1);
                    return Ok(true);
                }
            }
        }
        Ok(true)
    }

    async fn pack(&self, topic: TopicId, run: &PackRun) -> Result<Packing, StoreError> {
        let events = run.segment.events();
        let Some(link) = Link::of(run.log_id, run.chain.hash, events) else { return Ok(Packing::Moved) };
        let began = Instant::now();
        let packing = self.broker.store().pack(topic, run, &link).await?;
        if packing == Packing::Packed {
            histogram!(metric::PACK_SECONDS).record(began.elapsed());
            counter!(metric::LINKED_SEGMENTS).increment(1);
            counter!(metric::LINKED_EVENTS).increment(events.len() as u64);
            if run.runs > 1 {
                counter!(metric::PACKED_SEGMENTS).increment(run.runs as u64);
            }
            debug!(%topic, first = %link.first, last = %link.last, segments = run.runs, "packed");
        }
        Ok(packing)
    }

    /// Leaves the store to others for as long as the step took, and longer if it was a large one.
    async fn breathe(&self, bytes: usize, took: Duration) {
        let share = Duration::from_secs_f64(bytes as f64 / self.options.rate.max(1) as f64);
        select! {
            () = self.broker.shutdown().draining() => {}
            () = sleep(took.max(share.saturating_sub(took))) => {}
        }
    }

    /// Leaves a topic alone until more of it may be due.
    fn rest(&mut self, topic: TopicId) {
        let pause = (self.options.rule().span / 10).max(self.options.interval());
        self.resting.insert(topic, Instant::now() + pause);
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
        if has && self.renewed.is_none() {
            info!("this server packs segments for all");
        }
        self.renewed = has.then_some(now);
        Ok(has)
    }
}
