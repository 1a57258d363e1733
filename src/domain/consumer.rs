//! Consumers: named readers whose place the server keeps.

use std::{fmt, time::Duration};

use uuid::Uuid;

use super::{Filter, Offset, Timestamp, TopicId, TopicName, name::name_type};

name_type! {
    /// The name of a consumer; unique among the consumers that exist.
    ConsumerName
}

/// Names a consumer in the store; never used again after the consumer is deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConsumerId(pub i32);

/// Names one process of EventFlow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServerId(pub Uuid);

/// Names one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SubscriptionId(pub Uuid);

impl fmt::Display for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// New with each stream that takes a consumer and each seek; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub i64);

/// How a consumer takes its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One stream at a time, in offset order, committing offsets.
    Ordered,
    /// Any number of streams share the events and settle each by itself.
    Queue,
}

/// Where a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartFrom {
    /// Before the oldest event still kept.
    Earliest,
    /// After the newest event.
    Head,
    /// After this offset.
    After(Offset),
    /// At the first event recorded at or after this time.
    Time(Timestamp),
}

/// How a MODE_QUEUE consumer's deliveries are leased and retried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuePolicy {
    /// How long a delivery stays leased.
    pub lease: Duration,
    /// Pauses before the 2nd, 3rd, … attempt; the last one repeats.
    pub backoff: Vec<Duration>,
    /// Deliveries before an event becomes a dead letter.
    pub max_attempts: u32,
    /// Deliveries leased at once, over all streams.
    pub max_in_flight: u32,
}

impl Default for QueuePolicy {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            backoff: [1, 5, 30, 120, 600].map(Duration::from_secs).to_vec(),
            max_attempts: 5,
            max_in_flight: 1000,
        }
    }
}

/// A consumer to be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewConsumer {
    /// Its name.
    pub name: ConsumerName,
    /// The topic that it reads.
    pub topic: TopicName,
    /// How it takes its events.
    pub mode: Mode,
    /// Which events it wants.
    pub filter: Filter,
    /// Where it begins, as asked for; kept so that an equal registration can be recognized.
    pub start: StartFrom,
    /// Meaningful in MODE_QUEUE only.
    pub queue: QueuePolicy,
}

/// What is to change about a consumer; `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsumerChange {
    /// Which events it wants.
    pub filter: Option<Filter>,
    /// How long a delivery stays leased. This and what follows is for MODE_QUEUE.
    pub lease: Option<Duration>,
    /// Pauses before the 2nd, 3rd, … attempt; the last one repeats.
    pub backoff: Option<Vec<Duration>>,
    /// Deliveries before an event becomes a dead letter.
    pub max_attempts: Option<u32>,
    /// Deliveries leased at once, over all streams.
    pub max_in_flight: Option<u32>,
}

/// A hold that was renewed, and what was done to its consumer meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenewedHold {
    /// The consumer.
    pub consumer: ConsumerId,
    /// The stream's epoch.
    pub epoch: Epoch,
    /// That of the consumer now.
    pub revision: u64,
    /// Delivery is stopped.
    pub paused: bool,
}

/// A consumer as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    /// Its key in the store.
    pub id: ConsumerId,
    /// The topic's key in the store.
    pub topic_id: TopicId,
    /// What its creator chose.
    pub settings: NewConsumer,
    /// When it was registered.
    pub create_time: Timestamp,
    /// Everything up to here is done.
    pub stored: Offset,
    /// Of the stream that took it last.
    pub epoch: Epoch,
    /// Delivery is stopped.
    pub paused: bool,
    /// Events that retention removed before they were delivered.
    pub trimmed_events: u64,
    /// Raised whenever the consumer is changed or moved.
    pub revision: u64,
}

/// A stream that serves a consumer now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The stream.
    pub subscription: SubscriptionId,
    /// The client's address.
    pub peer: String,
    /// The server that holds the stream, in words for people.
    pub server: String,
    /// When the stream was opened.
    pub connect_time: Timestamp,
}
