//! "Removes some of what a topic's retention does not keep …"

use std::time::Duration;

use eventflow::{
    domain::{NewTopic, Offset, Topic, TopicChange, TopicId},
    store::{Removed, SharedStore},
};

use super::fixtures::{
    ALL, NO_TOPIC, anonymous, append, at, batch, batch_of, bounds, identified, identity, new_topic, offsets, read,
    topic, unique,
};

/// Removes all that is due, and returns how much that was.
async fn retain(store: &SharedStore, topic: TopicId) -> Removed {
    let mut sum = Removed::default();
    let mut rest = Some(Offset::ZERO);
    while let Some(after) = rest {
        let Removed { events, segments, more } = store.retain(topic, after).await.unwrap();
        sum = Removed { events: sum.events + events, segments: sum.segments + segments, more };
        rest = more;
    }
    sum
}

async fn retained(store: &SharedStore, retention: Option<Duration>, retention_bytes: u64) -> Topic {
    let new = NewTopic { retention, retention_bytes, ..new_topic(&unique("retained")) };
    store.create_topic(&new).await.unwrap()
}

async fn change(store: &SharedStore, topic: &Topic, change: TopicChange) {
    store.update_topic(&topic.settings.name, &change).await.unwrap().unwrap();
}

/// "Topics that do not keep everything and come after `after`, in the order of ids."
pub(super) async fn topics_with_a_retention_are_listed(store: SharedStore) {
    let all = topic(&store).await;
    let by_age = retained(&store, Some(Duration::from_secs(60)), 0).await;
    let by_size = retained(&store, None, 1).await;
    let gone = retained(&store, None, 1).await;
    store.delete_topic(&gone.settings.name).await.unwrap();
    assert_eq!(store.retained_topics(all.id, 100).await.unwrap(), [by_age.id, by_size.id]);
    assert_eq!(store.retained_topics(all.id, 1).await.unwrap(), [by_age.id]);
    assert_eq!(store.retained_topics(by_age.id, 1).await.unwrap(), [by_size.id]);
    change(&store, &by_age, TopicChange { retention: Some(None), ..TopicChange::default() }).await;
    assert_eq!(store.retained_topics(all.id, 100).await.unwrap(), [by_size.id]);
}

/// "By age a run goes when its newest event was recorded longer ago than the retention."
pub(super) async fn events_go_when_they_are_too_old(store: SharedStore) {
    let topic = retained(&store, Some(Duration::from_secs(1)), 0).await;
    append(&store, topic.id, &batch(vec![identified("a"), identified("b")])).await;
    append(&store, topic.id, &batch_of(8)).await;
    assert_eq!(retain(&store, topic.id).await, Removed::default(), "events went before they were due");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    append(&store, topic.id, &batch_of(3)).await;
    assert_eq!(retain(&store, topic.id).await, Removed { events: 10, segments: 2, more: None });
    assert_eq!(offsets(&read(&store, topic.id, 0, ALL).await), [11, 12, 13]);
    assert_eq!(bounds(&store, topic.id).await.trimmed_to, at(10));
    assert_eq!(store.find_ids(topic.id, &[identity("a").key]).await.unwrap(), []);
    assert_eq!(retain(&store, topic.id).await, Removed::default());

    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(retain(&store, topic.id).await.events, 3);
    assert_eq!(append(&store, topic.id, &batch_of(1)).await.0, at(14), "offsets are never used again");
}

/// A payload beside which all else is small.
async fn append_kilobytes(store: &SharedStore, topic: TopicId, runs: usize, events: usize, kilobytes: usize) {
    let text = "x".repeat(kilobytes * 1000);
    for _ in 0..runs {
        append(store, topic, &batch((0..events).map(|_| anonymous(&text)).collect())).await;
    }
}

/// "By size it goes when the runs behind it have at least as many bytes as are to be kept."
pub(super) async fn the_oldest_go_when_there_are_too_many_bytes(store: SharedStore) {
    let topic = retained(&store, None, 100_000).await;
    append_kilobytes(&store, topic.id, 9, 1, 10).await;
    assert_eq!(retain(&store, topic.id).await, Removed::default());
    append_kilobytes(&store, topic.id, 21, 1, 10).await;
    let removed = retain(&store, topic.id).await;
    let kept = read(&store, topic.id, 0, ALL).await.len();
    assert!(kept == 10 && removed.events == 20, "{kept} kept, {removed:?}");
    append_kilobytes(&store, topic.id, 1, 1, 10).await;
    assert_eq!(retain(&store, topic.id).await.events, 1);
    // One run that is larger than all that is to be kept stays.
    append_kilobytes(&store, topic.id, 1, 1, 500).await;
    assert_eq!(retain(&store, topic.id).await.events, 10);
    assert_eq!(offsets(&read(&store, topic.id, 0, ALL).await), [32]);
}

/// A retention that is changed takes effect, also a size over events that were never counted.
pub(super) async fn a_changed_retention_takes_effect(store: SharedStore) {
    let topic = topic(&store).await;
    append_kilobytes(&store, topic.id, 40, 1, 10).await;
    assert_eq!(retain(&store, topic.id).await, Removed::default());
    for (bytes, kept) in [(300_000, 30), (350_000, 30), (100_000, 10), (0, 10)] {
        change(&store, &topic, TopicChange { retention_bytes: Some(bytes), ..TopicChange::default() }).await;
        retain(&store, topic.id).await;
        assert_eq!(read(&store, topic.id, 0, ALL).await.len(), kept, "{bytes}");
    }
    let ages = [(Duration::from_secs(315_576_000_000), 10), (Duration::from_secs(3600), 10), (Duration::ZERO, 0)];
    tokio::time::sleep(Duration::from_millis(10)).await;
    for (age, kept) in ages {
        change(&store, &topic, TopicChange { retention: Some(Some(age)), ..TopicChange::default() }).await;
        retain(&store, topic.id).await;
        assert_eq!(read(&store, topic.id, 0, ALL).await.len(), kept, "{age:?}");
    }
}

/// The place is found behind thousands of runs, also when some were trimmed by hand before they were counted.
pub(super) async fn the_place_is_found_among_many_runs(store: SharedStore) {
    let topic = retained(&store, None, 1_000_000).await;
    append_kilobytes(&store, topic.id, 2200, 1, 1).await;
    let about = |kept: usize, wanted: usize| kept <= wanted && kept * 13 >= wanted * 10;
    let kept = async || read(&store, topic.id, 0, ALL).await.len();
    retain(&store, topic.id).await;
    assert!(about(kept().await, 1000), "{} kept", kept().await);
    // Not counted, and trimmed meanwhile.
    append_kilobytes(&store, topic.id, 700, 2, 1).await;
    store.trim(topic.id, at(2600)).await.unwrap();
    retain(&store, topic.id).await;
    assert!(about(kept().await, 1000), "{} kept", kept().await);
    let bytes = TopicChange { retention_bytes: Some(100_000), ..TopicChange::default() };
    change(&store, &topic, bytes).await;
    retain(&store, topic.id).await;
    assert!(about(kept().await, 100), "{} kept", kept().await);
    store.trim(topic.id, at(i64::MAX)).await.unwrap();
    append_kilobytes(&store, topic.id, 150, 1, 1).await;
    retain(&store, topic.id).await;
    assert!(about(kept().await, 100), "{} kept", kept().await);
}

/// "Of a topic that does not exist, or keeps all, nothing goes."
pub(super) async fn what_keeps_all_loses_nothing(store: SharedStore) {
    let topic = topic(&store).await;
    append(&store, topic.id, &batch_of(3)).await;
    for id in [topic.id, NO_TOPIC] {
        assert_eq!(store.retain(id, Offset::ZERO).await.unwrap(), Removed::default());
    }
    assert_eq!(offsets(&read(&store, topic.id, 0, ALL).await), [1, 2, 3]);
    change(&store, &topic, TopicChange { retention: Some(Some(Duration::ZERO)), ..TopicChange::default() }).await;
    store.delete_topic(&topic.settings.name).await.unwrap();
    assert_eq!(store.retained_topics(TopicId(0), 100_000).await.unwrap().iter().find(|id| **id == topic.id), None);
}
