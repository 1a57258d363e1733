//! "Removes the oldest events for good, in whole stored runs, with their ids: none after `up_to`."

use eventflow::{
    domain::{AppendBatch, Bounds, TopicId},
    store::SharedStore,
};

use super::fixtures::{
    ALL, NO_TOPIC, append, at, batch, batch_of, bounds, identified, identity, offsets, read, seen, topic,
};

async fn trim(store: &SharedStore, topic: TopicId, up_to: i64) -> Bounds {
    let before = bounds(store, topic).await;
    let preview = store.trim_preview(topic, at(up_to)).await.unwrap().unwrap();
    assert_eq!(bounds(store, topic).await, before, "looking changed something");
    let trimmed = store.trim(topic, at(up_to)).await.unwrap().unwrap();
    assert_eq!(preview, trimmed, "what was foretold is not what came");
    assert_eq!(bounds(store, topic).await, trimmed, "what it holds is not what was returned");
    trimmed
}

/// "In whole stored runs: none after `up_to`."
pub(super) async fn whole_runs_go(store: SharedStore) {
    let topic = topic(&store).await.id;
    for _ in 0..5 {
        append(&store, topic, &batch_of(10)).await;
    }
    assert_eq!(trim(&store, topic, 0).await, Bounds { head: at(50), trimmed_to: at(0) });
    assert_eq!(trim(&store, topic, 10).await, Bounds { head: at(50), trimmed_to: at(10) });
    // Inside a run: either nothing of it goes, or nothing after `up_to`.
    let inside = trim(&store, topic, 25).await;
    assert!((20..=25).contains(&inside.trimmed_to.get()), "{inside:?}");
    assert_eq!(read(&store, topic, 0, ALL).await[0].offset, inside.earliest());
    assert_eq!(trim(&store, topic, 40).await, Bounds { head: at(50), trimmed_to: at(40) });
}

/// "Unless events there were trimmed, when it is the oldest one still kept."
pub(super) async fn reads_begin_at_the_oldest_kept(store: SharedStore) {
    let topic = topic(&store).await;
    for _ in 0..6 {
        append(&store, topic.id, &batch_of(2)).await;
    }
    trim(&store, topic.id, 8).await;
    for after in [0, 1, 7, 8] {
        let found = store.read(topic.id, at(after), ALL).await.unwrap().unwrap();
        assert_eq!(found.trimmed_to, at(8));
        assert_eq!(offsets(found.segment.unwrap().events()), [9, 10, 11, 12], "after {after}");
    }
    assert_eq!(offsets(&read(&store, topic.id, 10, ALL).await), [11, 12]);
    let found = store.find_topic(&topic.settings.name).await.unwrap().unwrap();
    assert_eq!(found.bounds, Bounds { head: at(12), trimmed_to: at(8) });
}

/// "Offsets have no gaps and are never reused, not even when everything was trimmed."
pub(super) async fn offsets_go_on_after_everything_was_trimmed(store: SharedStore) {
    let topic = topic(&store).await.id;
    append(&store, topic, &batch_of(7)).await;
    assert_eq!(trim(&store, topic, 7).await, Bounds { head: at(7), trimmed_to: at(7) });
    let empty = store.read(topic, at(0), ALL).await.unwrap().unwrap();
    assert!(empty.segment.is_none());
    assert_eq!(empty.trimmed_to, at(7));
    let expecting = AppendBatch { expected_head: Some(at(7)), ..batch_of(2) };
    assert_eq!(append(&store, topic, &expecting).await.0, at(8));
    assert_eq!(offsets(&read(&store, topic, 0, ALL).await), [8, 9]);
}

/// "`up_to` beyond the head means the head. Repeating it is harmless."
pub(super) async fn trimming_is_idempotent_and_stops_at_the_head(store: SharedStore) {
    let topic = topic(&store).await.id;
    assert_eq!(trim(&store, topic, 5).await, Bounds { head: at(0), trimmed_to: at(0) });
    for _ in 0..4 {
        append(&store, topic, &batch_of(1)).await;
    }
    let half = Bounds { head: at(4), trimmed_to: at(2) };
    assert_eq!(trim(&store, topic, 2).await, half);
    assert_eq!(trim(&store, topic, 2).await, half);
    assert_eq!(trim(&store, topic, 1).await, half, "what was trimmed came back");
    let empty = Bounds { head: at(4), trimmed_to: at(4) };
    assert_eq!(trim(&store, topic, 1_000).await, empty);
    assert_eq!(trim(&store, topic, i64::MAX).await, empty);
    assert_eq!(append(&store, topic, &batch_of(1)).await.0, at(5));
}

/// "An identity is found for as long as its event is kept."
pub(super) async fn trimmed_ids_may_be_published_anew(store: SharedStore) {
    let topic = topic(&store).await.id;
    append(&store, topic, &batch(vec![identified("a"), identified("b")])).await;
    append(&store, topic, &batch(vec![identified("c")])).await;
    trim(&store, topic, 2).await;
    let keys = ["a", "b", "c"].map(|id| identity(id).key);
    let found: Vec<_> = store.find_ids(topic, &keys).await.unwrap().iter().map(|id| id.offset).collect();
    assert_eq!(found, [at(3)]);
    let head = AppendBatch { seen: seen(3), ..batch(vec![identified("b"), identified("a")]) };
    assert_eq!(append(&store, topic, &head).await.0, at(4));
    let mut found: Vec<_> = store.find_ids(topic, &keys).await.unwrap().iter().map(|id| id.offset.get()).collect();
    found.sort_unstable();
    assert_eq!(found, [3, 4, 5]);
}

/// "Recorded time never decreases along a topic", over trimmed events too.
pub(super) async fn recorded_time_goes_on_after_trimming(store: SharedStore) {
    let topic = topic(&store).await.id;
    let mut newest = append(&store, topic, &batch_of(1)).await.1;
    for n in 1..20 {
        trim(&store, topic, n).await;
        let (first, recorded) = append(&store, topic, &batch_of(1)).await;
        assert_eq!(first, at(n + 1));
        assert!(recorded >= newest, "{recorded} < {newest}");
        newest = recorded;
    }
}

/// However much goes at once, what is kept stays whole.
pub(super) async fn many_events_go_while_others_come(store: SharedStore) {
    let topic = topic(&store).await.id;
    for _ in 0..12 {
        append(&store, topic, &batch((0..1000).map(|_| identified(&uuid::Uuid::now_v7().to_string())).collect())).await;
    }
    let appender = {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..20 {
                append(&store, topic, &batch_of(10)).await;
            }
        })
    };
    let trimmed = store.trim(topic, at(11_000)).await.unwrap().unwrap();
    assert_eq!(trimmed.trimmed_to, at(11_000));
    appender.await.unwrap();
    assert_eq!(offsets(&read(&store, topic, 0, ALL).await), (11_001..=12_200).collect::<Vec<_>>());
}

/// "`None` if it does not exist."
pub(super) async fn a_missing_topic_is_none(store: SharedStore) {
    assert_eq!(store.trim(NO_TOPIC, at(1)).await.unwrap(), None);
    assert_eq!(store.trim_preview(NO_TOPIC, at(1)).await.unwrap(), None);
}
