//! What the cases of packing begin with.

pub(super) mod chaining;
pub(super) mod histories;
pub(super) mod merging;

use std::time::Duration;

use eventflow::{
    domain::{
        AppendBatch, ChainHash, Event, EventBody, Link, Offset, PendingEvent, SeenHead, Timestamp, TopicId, limits,
    },
    store::{Chain, PackRule, PackRun, Packing, SharedStore},
};

use super::fixtures::{ALL, anonymous, batch, batch_of, bounds, read};

/// Everything may be packed that cannot grow any more.
const NOW: PackRule = PackRule { age: Duration::ZERO, span: Duration::from_secs(3600) };

/// An event that comes alone, so that what is before it cannot grow any more.
fn large() -> PendingEvent {
    anonymous(&"x".repeat(limits::SEGMENT_BYTES / 4))
}

/// Appends a batch, whose caller has seen the head, and returns the first offset.
async fn append(store: &SharedStore, topic: TopicId, batch: AppendBatch) -> Offset {
    let head = bounds(store, topic).await.head;
    let seen = SeenHead { head, ..SeenHead::default() };
    super::fixtures::append(store, topic, &AppendBatch { seen, ..batch }).await.0
}

/// Appends events, each by itself, and a large one behind them.
async fn append_alone(store: &SharedStore, topic: TopicId, count: usize) {
    for _ in 0..count {
        append(store, topic, batch_of(1)).await;
    }
    append(store, topic, batch(vec![large()])).await;
}

/// The next run, which there must be, and its link.
async fn run(store: &SharedStore, topic: TopicId) -> (PackRun, Link) {
    let run = store.find_run(topic, NOW).await.unwrap().expect("there is something to pack");
    let link = Link::of(run.log_id, run.chain.hash, run.segment.events()).unwrap();
    (run, link)
}

/// Packs all that can be packed, and returns the links of that, and how many runs became one in each.
async fn pack_all(store: &SharedStore, topic: TopicId, rule: PackRule) -> Vec<(Link, usize)> {
    let mut links = Vec::new();
    while let Some(run) = store.find_run(topic, rule).await.unwrap() {
        let link = Link::of(run.log_id, run.chain.hash, run.segment.events()).unwrap();
        assert_eq!(store.pack(topic, &run, &link).await.unwrap(), Packing::Packed);
        links.push((link, run.runs));
    }
    links
}

/// The first and last offsets of links.
fn ranges<'a>(links: impl IntoIterator<Item = &'a Link>) -> Vec<(i64, i64)> {
    links.into_iter().map(|link| (link.first.get(), link.last.get())).collect()
}

/// What readers see of an event.
type Seen = (Offset, Timestamp, Timestamp, EventBody);

/// What readers see of events.
fn seen(events: &[Event]) -> Vec<Seen> {
    events.iter().map(|event| (event.offset, event.recorded_time, event.time(), event.body.clone())).collect()
}

/// What readers see of a topic.
async fn all(store: &SharedStore, topic: TopicId) -> Vec<Seen> {
    seen(&read(store, topic, 0, ALL).await)
}

/// The links of a topic.
async fn chain(store: &SharedStore, topic: TopicId) -> Chain {
    store.links(topic, Offset::ZERO, 1_000_000).await.unwrap().unwrap()
}

/// Checks that a topic's links are one chain over all that it keeps up to `linked_to`, and right.
async fn check_chain(store: &SharedStore, topic: TopicId) -> Chain {
    let chain = chain(store, topic).await;
    let events = read(store, topic, 0, ALL).await;
    let mut previous = chain.anchor.map_or(ChainHash::NONE, |anchor| anchor.hash);
    let mut position = chain.trimmed_to;
    for link in &chain.links {
        assert_eq!(link.first, position.next(), "{:?}", ranges(&chain.links));
        let covered: Vec<_> =
            events.iter().filter(|event| link.first <= event.offset && event.offset <= link.last).cloned().collect();
        assert!(link.is_of(previous, &covered), "the link of {} to {} is wrong", link.first, link.last);
        (previous, position) = (link.hash, link.last);
    }
    let anchored = chain.anchor.map_or(Offset::ZERO, |anchor| anchor.last);
    assert_eq!(chain.linked_to, chain.links.last().map_or(anchored, |link| link.last));
    assert!(anchored <= chain.trimmed_to);
    chain
}
