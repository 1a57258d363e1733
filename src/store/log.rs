//! The contract of a topic's log.

use std::fmt;

use async_trait::async_trait;

use super::{Removed, StoreError};
use crate::domain::{AppendBatch, Bounds, Event, IdKey, KnownId, LogId, Offset, ReadCap, Segment, Timestamp, TopicId};

/// Appending to logs and reading them.
#[async_trait]
pub trait LogStore {
    /// Appends a batch: all its events at consecutive offsets after the head, or nothing.
    ///
    /// When it returns [`Appended::Stored`], the events are on disk and every later read on every
    /// server sees them. Appends to one topic happen one after the other; their order is the order of
    /// offsets and the order in which they become visible. Offsets have no gaps and are never reused,
    /// not even when everything was trimmed. Recorded time never decreases along a topic.
    ///
    /// If the store's server is of another incarnation than `batch.seen` was read from, nothing is sent:
    /// [`AppendError::ServerChanged`]. Otherwise this is looked at, in this order:
    /// 1. the topic: [`AppendError::TopicNotFound`] if it does not exist (any more);
    /// 2. the batch's id: if a batch with it was appended after `batch.seen.head`, that one's place is
    ///    returned and nothing is stored. So a call whose outcome is unknown is repeated unchanged, also
    ///    while the first one may still be on its way;
    /// 3. its identities: if any of their keys is in the topic, [`Appended::Known`] lists all that are,
    ///    and nothing is stored;
    /// 4. whether all of that is certain: if something after `batch.seen.head` was packed, and not every event
    ///    has an identity, the batch may be among it: [`AppendError::Forgotten`];
    /// 5. the seal: [`AppendError::TopicSealed`];
    /// 6. the expected head: [`AppendError::HeadMoved`].
    ///
    /// An identity is found for as long as its event is kept.
    async fn append(&self, topic: TopicId, batch: &AppendBatch) -> Result<Appended, AppendError>;

    /// Which of these ids the topic has, in any order.
    async fn find_ids(&self, topic: TopicId, keys: &[IdKey]) -> Result<Vec<KnownId>, StoreError>;

    /// Reads a run of events: contiguous, the first one at `after.next()`, unless events there were
    /// trimmed, when it is the oldest one still kept; empty if there is none.
    ///
    /// `trimmed_to` belongs to the same instant as the events. A topic that does not exist is `None`.
    async fn read(&self, topic: TopicId, after: Offset, cap: ReadCap) -> Result<Option<LogRead>, StoreError> {
        self.fetch(topic, after, cap).await?.map(Fetched::decode).transpose()
    }

    /// As [`read`](Self::read), with the events still as the store sent them: whoever reads on can ask for what
    /// follows before it makes events of these.
    async fn fetch(&self, topic: TopicId, after: Offset, cap: ReadCap) -> Result<Option<Fetched>, StoreError>;

    /// Reads a run of events backwards: contiguous, the last one at `up_to`, or at the head if that is
    /// lower; empty if nothing is kept there. The cap is counted from the new end, in whole stored runs, of
    /// which what lies after `up_to` is left out. The events come in the order of their offsets; `more` says
    /// whether older ones are kept.
    ///
    /// `trimmed_to` belongs to the same instant as the events. A topic that does not exist is `None`.
    async fn read_back(&self, topic: TopicId, up_to: Offset, cap: ReadCap) -> Result<Option<LogRead>, StoreError>;

    /// The events at some offsets, which ascend, as far as they are kept: of the first ones, until their stored
    /// runs have `bytes`, but at least of one run. A topic that does not exist is `None`.
    async fn pick(&self, topic: TopicId, offsets: &[Offset], bytes: usize) -> Result<Option<Picked>, StoreError>;

    /// What these topics hold; those that do not exist are left out. One statement.
    async fn heads(&self, topics: &[TopicId]) -> Result<Vec<TopicHead>, StoreError>;

    /// The offset before the first event that was recorded at or after `time`; the head if there is
    /// none, and never below `trimmed_to`. A topic that does not exist is `None`.
    async fn before_time(&self, topic: TopicId, time: Timestamp) -> Result<Option<Offset>, StoreError>;

    /// Removes the oldest events for good, in whole stored runs, with their ids: none after `up_to`.
    /// Returns what the topic holds then; `None` if it does not exist. `up_to` beyond the head means
    /// the head. Repeating it is harmless.
    async fn trim(&self, topic: TopicId, up_to: Offset) -> Result<Option<Bounds>, StoreError>;

    /// What [`trim`](Self::trim) would leave now; it changes nothing.
    async fn trim_preview(&self, topic: TopicId, up_to: Offset) -> Result<Option<Bounds>, StoreError>;

    /// Removes some of what a topic's retention does not keep, or what an interrupted trim left, in whole
    /// stored runs with their ids, by short transactions; `after` is where the step before ended.
    ///
    /// By age a run goes when its newest event was recorded longer ago than the retention, by the clock that
    /// it was recorded by. By size it goes when the runs behind it have at least as many bytes as are to be
    /// kept. Nothing goes by a retention that was changed before. The cost of finding them does not grow with
    /// what is kept. Of a topic that does not exist, or keeps all, nothing goes; repeating it is harmless.
    async fn retain(&self, topic: TopicId, after: Offset) -> Result<Removed, StoreError>;
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// It is on disk.
    Stored {
        /// The offset of its first event.
        first: Offset,
        /// When its events were recorded.
        recorded_time: Timestamp,
    },
    /// Nothing was stored, since the topic has these ids already.
    Known(Vec<KnownId>),
}

/// Why a batch was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// There is no such topic (any more).
    #[error("the topic does not exist")]
    TopicNotFound,
    /// The topic takes no more events.
    #[error("the topic is sealed")]
    TopicSealed,
    /// The head is not the expected one.
    #[error("the head moved to {head}")]
    HeadMoved {
        /// What it is.
        head: Offset,
    },
    /// The store's server is not the one that the head was read from; nothing happened.
    #[error("the store's server changed")]
    ServerChanged,
    /// The head was seen so long ago that what came after it was packed: whether the batch is among it cannot
    /// be told any more. This call stored nothing.
    #[error("whether the batch was appended before is forgotten")]
    Forgotten,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a read found.
#[derive(Debug)]
pub struct LogRead {
    /// The events, or `None` if there is none.
    pub segment: Option<Segment>,
    /// The last offset that was trimmed, at the same instant.
    pub trimmed_to: Offset,
    /// A cap ended the read: there may be more. If not, the events end at the head of that instant; those
    /// of [`LogStore::read_back`] begin with the oldest one kept.
    pub more: bool,
}

/// What a read found, its events not decoded yet.
pub struct Fetched {
    /// The offset of the last event, or `None` if there is none.
    pub last: Option<Offset>,
    /// See [`LogRead::trimmed_to`].
    pub trimmed_to: Offset,
    /// See [`LogRead::more`].
    pub more: bool,
    /// Makes the events.
    pub events: Box<dyn FnOnce() -> Result<Option<Segment>, StoreError> + Send>,
}

impl Fetched {
    /// Decodes the events.
    pub fn decode(self) -> Result<LogRead, StoreError> {
        let Self { last: _, trimmed_to, more, events } = self;
        Ok(LogRead { segment: events()?, trimmed_to, more })
    }
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { last, trimmed_to, more, events: _ } = self;
        f.debug_struct("Fetched")
            .field("last", last)
            .field("trimmed_to", trimmed_to)
            .field("more", more)
            .finish_non_exhaustive()
    }
}

/// Events that were picked.
#[derive(Debug)]
pub struct Picked {
    /// Those that are kept, in order.
    pub events: Vec<Event>,
    /// All of the offsets up to this one were looked for; the others are to be asked for again.
    pub up_to: Offset,
    /// The last offset that was trimmed, at the same instant.
    pub trimmed_to: Offset,
}

/// What a topic holds, among others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicHead {
    /// The topic.
    pub topic: TopicId,
    /// The incarnation of its log.
    pub log_id: LogId,
    /// What it holds.
    pub bounds: Bounds,
}
