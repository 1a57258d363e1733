//! MODE_QUEUE: leases, retries and dead letters.

use std::{fmt, time::Duration};

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{ConsumerId, Offset, ServerId, SubscriptionId, Timestamp};

/// Names a lease; from one sequence for the whole store, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub i64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Stands for an event's key: 64 bits of its SHA-256. Two keys that share one wait for each other, no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub i64);

impl KeyHash {
    /// That of an event's key; `None` if it has none.
    pub fn of(key: &str) -> Option<Self> {
        let (bytes, _) = Sha256::digest(key).split_first_chunk().map(|(bytes, rest)| (*bytes, rest.len()))?;
        (!key.is_empty()).then(|| Self(i64::from_be_bytes(bytes)))
    }
}

/// An event that could be delivered for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its offset.
    pub offset: Offset,
    /// Its key.
    pub key: Option<KeyHash>,
}

/// Who asks for deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taker {
    /// Names the request, so that a repeated one is recognized.
    pub token: Uuid,
    /// The stream; `None`: a single call.
    pub stream: Option<SubscriptionId>,
    /// Deliveries that may be leased to the stream at once, those it has included.
    pub max: usize,
}

/// A request for deliveries.
#[derive(Debug, Clone)]
pub struct QueueClaim {
    /// The consumer.
    pub consumer: ConsumerId,
    /// The consumer as the server knows it.
    pub revision: u64,
    /// The server of the streams.
    pub server: ServerId,
    /// Up to here the candidates are complete.
    pub up_to: Offset,
    /// The offset before the first that could be among them.
    pub after: Offset,
    /// The events after `after` up to `up_to` that pass the consumer's filter, in order.
    pub candidates: Vec<Candidate>,
    /// What the server knows of the keys that are leased.
    pub known: Option<Known>,
    /// Who gets them; possibly nobody, to look for changes only.
    pub takers: Vec<Taker>,
    /// The claim may have been sent before: what it got then is to be found again.
    pub repeated: bool,
    /// Note how far the consumer is, also if there is nothing to deliver.
    pub note: bool,
}

/// Which events' keys are free, for all that a server knows; it stands while no other server leases anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The consumer's newest lease, as of which it is known.
    pub newest: LeaseId,
    /// Places in the events that are held, followed by the candidates: those whose key is not leased, and that are
    /// the first of their key.
    pub free: Vec<usize>,
}

/// What a claim got.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claimed {
    /// The consumer's newest lease; `None`: the store needs to be told nothing.
    pub newest: Option<LeaseId>,
    /// What was [known](QueueClaim::known) did not stand.
    pub judged: bool,
    /// The keys that were leased before, if they had to be found out.
    pub busy: Option<Vec<KeyHash>>,
    /// Events that wait for their keys, as far as they are held for the next claim, in order.
    pub held: Vec<Candidate>,
    /// Every event up to here was dispatched, or left out by the filter.
    pub dispatched: Offset,
    /// New leases, at most one for each taker.
    pub leases: Vec<Leased>,
    /// How many deliveries each taker has now, in the order of the takers.
    pub in_flight: Vec<usize>,
    /// Events that must be delivered alone wait for a stream that has nothing else.
    pub alone_waiting: usize,
    /// The consumer has as many deliveries in flight as it may have.
    pub full: bool,
    /// When an event is due, or a lease ends, by itself.
    pub next: Option<Duration>,
}

/// Deliveries that are leased together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leased {
    /// Whose they are.
    pub token: Uuid,
    /// The lease.
    pub lease: LeaseId,
    /// How long it lasts.
    pub remaining: Duration,
    /// Its stream gets nothing else until it is settled.
    pub alone: bool,
    /// Each event once, in order.
    pub deliveries: Vec<Attempt>,
}

/// One attempt at one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// The event.
    pub offset: Offset,
    /// How often it may have been sent, this time included.
    pub number: u32,
}

/// What is to become of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is done.
    Ack,
    /// It failed.
    Nack {
        /// Why.
        error: String,
        /// The pause before the next attempt; `None`: the consumer's backoff.
        delay: Option<Duration>,
    },
    /// It is given up.
    Reject {
        /// Why.
        error: String,
    },
    /// It needs another lease period.
    Extend,
    /// It was trimmed before it could be sent.
    Trimmed,
}

/// The settlement of one delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The lease.
    pub lease: LeaseId,
    /// The event.
    pub offset: Offset,
    /// What is to become of it.
    pub verdict: Verdict,
}

/// Why a delivery was not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsettled {
    /// The lease was over.
    Lost,
    /// It was settled before.
    AlreadySettled,
    /// It never belonged to this lease.
    Unknown,
}

/// The outcome of settling.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// Those that could not be settled: their places among the settlements, ascending.
    pub failures: Vec<(usize, Unsettled)>,
    /// How long a lease lasts that was extended.
    pub lease: Duration,
    /// Something can be delivered now, or at a time, that other servers do not know of.
    pub news: bool,
}

/// How a stream gives up its leases.
#[derive(Debug, Clone)]
pub struct Release {
    /// The consumer.
    pub consumer: ConsumerId,
    /// The stream.
    pub stream: SubscriptionId,
    /// Deliveries that were not sent.
    pub unsent: Vec<(LeaseId, Offset)>,
    /// Leave the others to run, to be settled on another stream; if not, they are given back.
    pub keep: bool,
}

/// Where a consumer in MODE_QUEUE is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueStatus {
    /// The consumer.
    pub consumer: ConsumerId,
    /// Everything up to here is settled.
    pub position: Offset,
    /// Deliveries leased now.
    pub in_flight: u64,
    /// Events that failed and wait for their next attempt.
    pub retrying: u64,
    /// Events given up.
    pub dead_letters: u64,
}

/// Why an event was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadCause {
    /// It was sent as often as may be.
    MaxAttempts,
    /// The worker asked for it.
    Rejected,
    /// Retention removed it while it waited.
    Trimmed,
}

/// An event that a consumer gave up on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The event.
    pub offset: Offset,
    /// Its key; empty: it has none, or was trimmed before.
    pub key: String,
    /// How often it may have been sent.
    pub attempts: u32,
    /// The last one that was given.
    pub error: String,
    /// Why it was given up.
    pub cause: DeadCause,
    /// When it was first sent.
    pub first_sent: Option<Timestamp>,
    /// When it was last sent.
    pub last_sent: Option<Timestamp>,
    /// When it was given up.
    pub dead_time: Timestamp,
}

/// Which dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadLetters {
    /// All of them.
    All,
    /// Those of these events, where they are dead letters.
    Of(Vec<Offset>),
}

/// What became of dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// How many were changed, or would be.
    pub changed: u64,
    /// How many of those asked for are left.
    pub remaining: u64,
}
