//! The wake-ups of this process: one `watch` for each topic with readers, and a clock.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use metrics::{Counter, counter};
use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};

use super::Control;
use crate::{domain::TopicId, telemetry::metric};

/// Wakes the readers of this process. Clones of its `Arc` share one state.
///
/// It has a clock that only goes forward: every wake-up and every [`tick`](Self::tick) takes a new
/// reading. Two readings tell which of two things came first in this process.
#[derive(Debug)]
pub struct Hub {
    clock: AtomicU64,
    topics: Mutex<HashMap<TopicId, Entry>>,
    controls: broadcast::Sender<Control>,
    counts: Counts,
}

/// Why the readers of a topic are woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// This process appended.
    Append,
    /// Redis said that another one did.
    Redis,
    /// A look at the heads found it.
    Poll,
}

/// Wake-ups by cause; the last is for all topics at once.
#[derive(Debug)]
struct Counts {
    append: Counter,
    redis: Counter,
    poll: Counter,
    everything: Counter,
}

#[derive(Debug)]
struct Entry {
    woken: watch::Sender<u64>,
    readers: usize,
}

/// Control messages waiting for a receiver; one that lags further is told so and looks at everything.
const CONTROLS: usize = 256;

/// A reader of a topic. Dropping it unregisters.
#[derive(Debug)]
pub struct Registration {
    hub: Arc<Hub>,
    topic: TopicId,
    woken: watch::Receiver<u64>,
}

impl Hub {
    /// A hub without readers.
    pub fn new() -> Arc<Self> {
        let (controls, _) = broadcast::channel(CONTROLS);
        Arc::new(Self { clock: AtomicU64::new(0), topics: Mutex::default(), controls, counts: Counts::new() })
    }

    /// The clock's reading.
    pub fn clock(&self) -> u64 {
        self.clock.load(Ordering::SeqCst)
    }

    /// Moves the clock and returns its new reading.
    pub fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Registers a reader; it is woken by everything that comes after.
    pub fn register(self: &Arc<Self>, topic: TopicId) -> Registration {
        let mut topics = self.topics.lock();
        let now = self.tick();
        let entry = topics.entry(topic).or_insert_with(|| Entry { woken: watch::channel(now).0, readers: 0 });
        entry.readers += 1;
        Registration { hub: self.clone(), topic, woken: entry.woken.subscribe() }
    }

    /// Wakes a topic's readers. Returns the clock's reading of this wake-up if the readers' last one
    /// was not after `since`: then no other came between.
    pub fn wake(&self, topic: TopicId, since: u64, cause: Cause) -> Option<u64> {
        let topics = self.topics.lock();
        let entry = topics.get(&topic)?;
        let now = self.tick();
        let before = entry.woken.send_replace(now);
        self.counts.of(cause).increment(1);
        (before <= since).then_some(now)
    }

    /// Wakes the readers of all topics.
    pub fn wake_all(&self) {
        let topics = self.topics.lock();
        let now = self.tick();
        for entry in topics.values() {
            entry.woken.send_replace(now);
        }
        self.counts.everything.increment(topics.len() as u64);
    }

    /// The topics that have readers.
    pub fn topics(&self) -> Vec<TopicId> {
        self.topics.lock().keys().copied().collect()
    }

    /// Hands a control message to everyone who listens in this process.
    pub fn control(&self, message: Control) {
        // An error means that nobody listens.
        let _ = self.controls.send(message);
    }

    /// Control messages from now on. A receiver that lags must look at everything.
    pub fn controls(&self) -> broadcast::Receiver<Control> {
        self.controls.subscribe()
    }
}

impl Counts {
    fn new() -> Self {
        let of = |cause| counter!(metric::WAKE_UPS, "cause" => cause);
        Self { append: of("append"), redis: of("redis"), poll: of("poll"), everything: of("everything") }
    }

    fn of(&self, cause: Cause) -> &Counter {
        match cause {
            Cause::Append => &self.append,
            Cause::Redis => &self.redis,
            Cause::Poll => &self.poll,
        }
    }
}

impl Registration {
    /// The reading of the clock at the newest wake-up, which is seen by that.
    pub fn seen(&mut self) -> u64 {
        *self.woken.borrow_and_update()
    }

    /// Completes at the next wake-up that was not [`seen`](Self::seen).
    pub async fn woken(&mut self) {
        if self.woken.changed().await.is_err() {
            // The entry lives as long as its registrations; should it not, polling goes on elsewhere.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut topics = self.hub.topics.lock();
        if let Some(entry) = topics.get_mut(&self.topic) {
            entry.readers -= 1;
            if entry.readers == 0 {
                topics.remove(&self.topic);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cause::Append, Hub};
    use crate::domain::TopicId;

    #[tokio::test]
    async fn a_wake_up_reaches_the_readers_of_its_topic_only() {
        let hub = Hub::new();
        let (mut first, mut second) = (hub.register(TopicId(1)), hub.register(TopicId(2)));
        let (before, other) = (first.seen(), second.seen());
        assert!(hub.wake(TopicId(1), before, Append).is_some());
        first.woken().await;
        assert!(first.seen() > before);
        assert_eq!(second.seen(), other);
    }

    #[test]
    fn a_wake_up_knows_whether_another_came_between() {
        let hub = Hub::new();
        let _reader = hub.register(TopicId(1));
        let sent = hub.clock();
        assert!(hub.wake(TopicId(1), sent, Append).is_some());
        assert!(hub.wake(TopicId(1), sent, Append).is_none(), "the first one came after");
    }

    #[test]
    fn topics_without_readers_are_forgotten() {
        let hub = Hub::new();
        let (first, second) = (hub.register(TopicId(1)), hub.register(TopicId(1)));
        drop(first);
        assert_eq!(hub.topics(), [TopicId(1)]);
        drop(second);
        assert!(hub.topics().is_empty());
        assert!(hub.wake(TopicId(1), 0, Append).is_none());
    }
}
