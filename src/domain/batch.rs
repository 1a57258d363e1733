//! What is appended at once, and what is read at once.

use uuid::Uuid;

use super::{ContentHash, Event, EventBody, IdKey, Identity, Offset, Timestamp};

/// Names one attempt to append, so that repeating it after a lost connection stores nothing twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BatchId(pub Uuid);

impl BatchId {
    /// A new one.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

/// Which incarnation of the store's server something was read from.
///
/// It is raised whenever the server may not be the one that it was: it was started again, another one
/// took its place, or it became a replica. What was known before must then be looked at anew, since a
/// server that took over may lack the newest events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Incarnation(pub u64);

/// A head, and which incarnation of the store's server said so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SeenHead {
    /// The head.
    pub head: Offset,
    /// Where it was read.
    pub incarnation: Incarnation,
}

/// An event ready to be appended.
#[derive(Debug, Clone)]
pub struct PendingEvent {
    /// What will be kept.
    pub body: EventBody,
    /// Set if the producer gave an id.
    pub identity: Option<Identity>,
}

/// Events that are appended together: all or none, at consecutive offsets.
///
/// The keys of its identities are distinct.
#[derive(Debug)]
pub struct AppendBatch {
    /// Names the attempt.
    pub id: BatchId,
    /// The head that the caller last saw, before it made the id: the batch is nowhere before it.
    pub seen: SeenHead,
    /// Refuse with [`HeadMoved`](crate::store::AppendError::HeadMoved) unless the head is this one.
    pub expected_head: Option<Offset>,
    /// The events; at least one.
    pub events: Vec<PendingEvent>,
}

/// An id that the topic has already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownId {
    /// The key that was looked for.
    pub key: IdKey,
    /// Where its event is.
    pub offset: Offset,
    /// What its event was when it was sent.
    pub content: ContentHash,
    /// When its event was recorded.
    pub recorded_time: Timestamp,
}

/// A run of events at consecutive offsets, shared by everyone who reads it.
#[derive(Debug)]
pub struct Segment {
    events: Vec<Event>,
    bytes: usize,
}

impl Segment {
    /// A segment of events at consecutive offsets; `None` if there are none.
    pub fn new(events: Vec<Event>) -> Option<Self> {
        if events.is_empty() {
            return None;
        }
        debug_assert!(events.windows(2).all(|pair| pair[0].offset.next() == pair[1].offset), "a segment has a hole");
        let bytes = events.iter().map(|event| event.body.size()).sum();
        Some(Self { events, bytes })
    }

    /// What a batch became when it was recorded at `first`.
    pub fn recorded(first: Offset, time: Timestamp, events: Vec<PendingEvent>) -> Option<Self> {
        let at = |(index, event): (usize, PendingEvent)| Event::new(first.plus(index), time, event.body);
        Self::new(events.into_iter().enumerate().map(at).collect())
    }

    /// Its first offset.
    pub fn first(&self) -> Offset {
        self.events.first().map_or(Offset::ZERO, |event| event.offset)
    }

    /// Its last offset.
    pub fn last(&self) -> Offset {
        self.events.last().map_or(Offset::ZERO, |event| event.offset)
    }

    /// All its events, in offset order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// All its events, in offset order, for one who reads it alone.
    pub fn into_events(self) -> Vec<Event> {
        self.events
    }

    /// Its events after an offset.
    pub fn after(&self, offset: Offset) -> &[Event] {
        let skip = usize::try_from(offset.next().since(self.first())).unwrap_or(usize::MAX);
        self.events.get(skip..).unwrap_or_default()
    }

    /// About how many bytes it takes in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// How much to read at once. A read returns whole stored runs: it stops at the first one that
/// reaches a cap, so it may exceed a cap by one run, and returns at least one run if there is any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadCap {
    /// Events.
    pub events: usize,
    /// Bytes of events as stored.
    pub bytes: usize,
}
