//! The contract of packing, and of the chains that it makes.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::domain::{ChainEnd, Link, LogId, Offset, Segment, TopicId};

/// Packing small stored runs into full ones, and linking what was packed.
#[async_trait]
pub trait ChainStore {
    /// Topics with events that have no link and are older than `age`, after `after`, in the order of ids, at
    /// most `limit`. One statement, of two looks at an index for each topic.
    async fn unpacked_topics(&self, after: TopicId, age: Duration, limit: usize) -> Result<Vec<TopicId>, StoreError>;

    /// The next events of a topic to be packed: from the first one without a link, in whole stored runs.
    ///
    /// All are older than `rule.age`. Together they have at most 4,096 events and 1 MiB, and from the first to
    /// the last at most `rule.span` has passed, nor a tenth of the topic's retention by age; one stored run may
    /// have more by itself. One that has a quarter of so many comes alone. `None` if there is none, if another
    /// one may still be added to them, or if the topic does not exist.
    async fn find_run(&self, topic: TopicId, rule: PackRule) -> Result<Option<PackRun>, StoreError>;

    /// Makes one stored run of a range and links it, by one transaction, if everything is as it was found:
    /// else nothing happens. Readers see the same events at the same offsets before and after, and appends do
    /// not wait for it.
    ///
    /// `link` is made of the events of `run`, behind its chain. Whoever is packing or trimming the topic excludes
    /// others; [`Packing::Busy`] says so.
    async fn pack(&self, topic: TopicId, run: &PackRun, link: &Link) -> Result<Packing, StoreError>;

    /// The links of a topic after the offset `after`, and before them the one behind which they are chained: the
    /// last one that ends at or before `after` or what was trimmed. At most `limit` together, which is at least 2.
    ///
    /// Trimming removes the links of what it removes, but for that one. A topic that does not exist is `None`.
    async fn links(&self, topic: TopicId, after: Offset, limit: usize) -> Result<Option<Chain>, StoreError>;
}

/// What may be packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackRule {
    /// Younger events are left alone: their appends may still be asked about.
    pub age: Duration,
    /// The most that may lie between the first and the last event of a run.
    pub span: Duration,
}

/// Events to be packed.
#[derive(Debug)]
pub struct PackRun {
    /// The topic's log.
    pub log_id: LogId,
    /// What their link is chained to.
    pub chain: ChainEnd,
    /// The events.
    pub segment: Segment,
    /// How many stored runs they are.
    pub runs: usize,
    /// Their bytes, as the store counts them.
    pub bytes: usize,
}

/// What became of a range to be packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// It is one stored run with a link.
    Packed,
    /// Something changed since it was found; look again.
    Moved,
    /// Somebody else changes stored runs of the topic.
    Busy,
}

/// Links of a topic, and what it held at the same instant.
#[derive(Debug, Clone)]
pub struct Chain {
    /// The topic's log.
    pub log_id: LogId,
    /// The last offset that was trimmed.
    pub trimmed_to: Offset,
    /// The newest offset.
    pub head: Offset,
    /// The last offset that is linked; 0 if there is no link.
    pub linked_to: Offset,
    /// The link behind which the others are chained.
    pub anchor: Option<Link>,
    /// The others, in order.
    pub links: Vec<Link>,
}

impl Chain {
    /// Of links in order, of which the first one is the anchor if it ends at or before `after` or what was
    /// trimmed.
    pub(super) fn new(log_id: LogId, ends: [Offset; 3], after: Offset, mut links: Vec<Link>) -> Self {
        let [trimmed_to, head, linked_to] = ends;
        let anchored = links.first().is_some_and(|link| link.last <= after.max(trimmed_to));
        let anchor = anchored.then(|| links.remove(0));
        Self { log_id, trimmed_to, head, linked_to, anchor, links }
    }
}
