//! "The offset before the first event that was recorded at or after `time`."

use eventflow::{
    domain::{Event, Offset, Timestamp, TopicId},
    store::SharedStore,
};

use super::fixtures::{ALL, NO_TOPIC, append, at, batch_of, moment, read, topic};

/// Compares with a look at every event.
async fn check(store: &SharedStore, topic: TopicId, events: &[Event], trimmed_to: Offset, head: Offset) {
    let recorded = events.iter().map(|event| event.recorded_time.micros());
    let near = recorded.flat_map(|micros| [micros - 1, micros, micros + 1]);
    let ends = [Timestamp::MIN.micros(), Timestamp::MAX.micros()];
    for time in near.chain(ends).map(|micros| Timestamp::from_micros(micros).unwrap()) {
        let first = events.iter().find(|event| event.offset > trimmed_to && event.recorded_time >= time);
        let expected = first.map_or(head, |event| event.offset.previous());
        assert_eq!(store.before_time(topic, time).await.unwrap(), Some(expected), "{time}");
    }
}

/// "The head if there is none, and never below `trimmed_to`."
pub(super) async fn every_time_finds_its_place(store: SharedStore) {
    let topic = topic(&store).await.id;
    for count in [1, 3, 1, 10, 2] {
        append(&store, topic, &batch_of(count)).await;
        append(&store, topic, &batch_of(1)).await;
        moment().await;
    }
    let events = read(&store, topic, 0, ALL).await;
    check(&store, topic, &events, at(0), at(22)).await;
    for up_to in [1, 6, 22] {
        let bounds = store.trim(topic, at(up_to)).await.unwrap().unwrap();
        check(&store, topic, &events, bounds.trimmed_to, bounds.head).await;
    }
}

/// The head of an empty topic is 0.
pub(super) async fn an_empty_topic_begins_at_zero(store: SharedStore) {
    let topic = topic(&store).await.id;
    for time in [Timestamp::MIN, Timestamp::now(), Timestamp::MAX] {
        assert_eq!(store.before_time(topic, time).await.unwrap(), Some(Offset::ZERO));
    }
}

/// "A topic that does not exist is `None`."
pub(super) async fn a_missing_topic_is_none(store: SharedStore) {
    assert_eq!(store.before_time(NO_TOPIC, Timestamp::now()).await.unwrap(), None);
}
