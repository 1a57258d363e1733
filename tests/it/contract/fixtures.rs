//! What the cases begin with.

use std::time::Duration;

use eventflow::{
    domain::{
        AppendBatch, Attributes, BatchId, Bounds, Consumer, ConsumerName, ContentHash, Event, EventBody, Filter, IdKey,
        Identity, Mode, NewConsumer, NewTopic, Offset, Payload, PendingEvent, QueuePolicy, ReadCap, SeenHead, ServerId,
        StartFrom, SubscriptionId, Timestamp, Topic, TopicId, TopicName,
    },
    store::{Appended, Claim, SharedStore},
};
use uuid::Uuid;

/// A topic that no store has.
pub(super) const NO_TOPIC: TopicId = TopicId(i32::MAX);
/// Reads everything that the cases store.
pub(super) const ALL: ReadCap = ReadCap { events: 1_000_000, bytes: 1 << 30 };
/// A lease that does not run out while a test runs.
pub(super) const LONG: Duration = Duration::from_secs(60);
/// A lease that runs out at once.
pub(super) const SHORT: Duration = Duration::from_millis(1);

/// A name that nothing else has.
pub(super) fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", Uuid::new_v4().simple())
}

/// An offset.
pub(super) fn at(offset: i64) -> Offset {
    Offset::new(offset).unwrap()
}

/// Lets a [`SHORT`] lease run out, or the clock go on.
pub(super) async fn moment() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// A topic to be created.
pub(super) fn new_topic(name: &str) -> NewTopic {
    NewTopic {
        name: TopicName::parse(name).unwrap(),
        description: String::new(),
        retention: None,
        retention_bytes: 0,
        sealed: false,
    }
}

/// A topic of the case's own.
pub(super) async fn topic(store: &SharedStore) -> Topic {
    store.create_topic(&new_topic(&unique("topic"))).await.unwrap()
}

/// What a topic holds.
pub(super) async fn bounds(store: &SharedStore, topic: TopicId) -> Bounds {
    store.heads(&[topic]).await.unwrap()[0].bounds
}

/// An ordinary event with text in its payload.
pub(super) fn body(text: &str) -> EventBody {
    EventBody {
        r#type: "order.placed".into(),
        key: "order-1".into(),
        id: Uuid::now_v7().to_string().into(),
        source: EventBody::default_source("producers/shop"),
        time: None,
        content_type: "text/plain".into(),
        attributes: Attributes::new(),
        correlation_id: "".into(),
        causation_id: "".into(),
        payload: Payload::Text(text.into()),
        producer: "producers/shop".into(),
    }
}

/// An event whose producer gave no id.
pub(super) fn anonymous(text: &str) -> PendingEvent {
    PendingEvent { body: body(text), identity: None }
}

/// An event whose producer gave this id, and its content's hash.
pub(super) fn identified(id: &str) -> PendingEvent {
    let body = EventBody { id: id.into(), ..body(id) };
    PendingEvent { identity: Some(identity(id)), body }
}

/// The identity of [`identified`] events.
pub(super) fn identity(id: &str) -> Identity {
    let content = Uuid::from_u128(id.bytes().fold(7_u128, |sum, byte| sum.wrapping_mul(131) + u128::from(byte)));
    Identity { key: IdKey::of("/producers/shop", id), content: ContentHash(content) }
}

/// A head seen on the store's first incarnation.
pub(super) fn seen(head: i64) -> SeenHead {
    SeenHead { head: at(head), ..SeenHead::default() }
}

/// A new batch of events, whose caller has seen nothing of the topic.
pub(super) fn batch(events: Vec<PendingEvent>) -> AppendBatch {
    AppendBatch { id: BatchId::random(), seen: SeenHead::default(), expected_head: None, events }
}

/// A new batch of `count` events.
pub(super) fn batch_of(count: usize) -> AppendBatch {
    batch((0..count).map(|n| anonymous(&n.to_string())).collect())
}

/// The same call once more.
pub(super) fn again(batch: &AppendBatch) -> AppendBatch {
    let AppendBatch { id, seen, expected_head, events } = batch;
    AppendBatch { id: *id, seen: *seen, expected_head: *expected_head, events: events.clone() }
}

/// Appends, and returns the first offset and the recorded time.
pub(super) async fn append(store: &SharedStore, topic: TopicId, batch: &AppendBatch) -> (Offset, Timestamp) {
    match store.append(topic, batch).await.unwrap() {
        Appended::Stored { first, recorded_time } => (first, recorded_time),
        Appended::Known(ids) => panic!("nothing was stored, since these ids are known: {ids:?}"),
    }
}

/// All events after an offset that one read returns.
pub(super) async fn read(store: &SharedStore, topic: TopicId, after: i64, cap: ReadCap) -> Vec<Event> {
    let segment = store.read(topic, at(after), cap).await.unwrap().unwrap().segment;
    segment.map(|segment| segment.events().to_vec()).unwrap_or_default()
}

/// The offsets of events.
pub(super) fn offsets(events: &[Event]) -> Vec<i64> {
    events.iter().map(|event| event.offset.get()).collect()
}

/// The texts of events.
pub(super) fn texts(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| String::from_utf8(event.body.payload.bytes().to_vec()).unwrap()).collect()
}

/// A consumer to be registered.
pub(super) fn new_consumer(topic: &Topic, name: &str) -> NewConsumer {
    NewConsumer {
        name: ConsumerName::parse(name).unwrap(),
        topic: topic.settings.name.clone(),
        mode: Mode::Ordered,
        filter: Filter::default(),
        start: StartFrom::Earliest,
        queue: QueuePolicy::default(),
    }
}

/// A consumer of the case's own.
pub(super) async fn consumer(store: &SharedStore, topic: &Topic) -> Consumer {
    store.register_consumer(&new_consumer(topic, &unique("consumer")), topic.id, Offset::ZERO).await.unwrap()
}

/// A new stream's claim for as long as `lease`.
pub(super) fn claim(lease: Duration) -> Claim {
    Claim {
        server: ServerId(Uuid::new_v4()),
        server_name: "server-1:50051".into(),
        subscription: SubscriptionId(Uuid::new_v4()),
        peer: "10.0.0.1:4711".into(),
        take_over: false,
        lease,
    }
}
