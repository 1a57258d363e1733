//! "Appends a batch: all its events at consecutive offsets after the head, or nothing."

use std::time::Duration;

use eventflow::{
    domain::{AppendBatch, Offset, TopicChange},
    store::{AppendError, Appended, SharedStore},
};
use tokio::task::JoinSet;

use super::fixtures::{
    ALL, NO_TOPIC, again, anonymous, append, at, batch, batch_of, bounds, offsets, read, texts, topic,
};

/// "Offsets have no gaps", and events of a batch stay together.
pub(super) async fn offsets_have_no_gaps_under_concurrency(store: SharedStore) {
    let topic = topic(&store).await.id;
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let store = store.clone();
        tasks.spawn(async move {
            let mut places = Vec::new();
            for n in 0..12 {
                let count = 1 + n % 3;
                let events = (0..count).map(|index| anonymous(&format!("{task}/{n}/{index}"))).collect();
                let (first, _) = append(&store, topic, &batch(events)).await;
                places.extend((0..count).map(|index| (first.plus(index).get(), format!("{task}/{n}/{index}"))));
            }
            places
        });
    }
    let mut places: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    places.sort();
    assert_eq!(places.iter().map(|place| place.0).collect::<Vec<_>>(), (1..=8 * 24).collect::<Vec<_>>());

    let events = read(&store, topic, 0, ALL).await;
    let stored: Vec<_> = offsets(&events).into_iter().zip(texts(&events)).collect();
    assert_eq!(stored, places, "an event is not where its append said");
}

/// "The events are on disk and every later read on every server sees them."
pub(super) async fn stored_events_are_seen_by_every_later_look(store: SharedStore) {
    let topic = topic(&store).await;
    for n in 1..=20 {
        let (first, _) = append(&store, topic.id, &batch_of(1)).await;
        assert_eq!(first, at(n));
        let found = store.find_topic(&topic.settings.name).await.unwrap().unwrap();
        assert_eq!(found.bounds.head, first);
        assert_eq!(bounds(&store, topic.id).await.head, first);
        assert_eq!(offsets(&read(&store, topic.id, n - 1, ALL).await), [n]);
    }
}

/// "Appends to one topic happen one after the other": other topics have offsets of their own.
pub(super) async fn topics_count_for_themselves(store: SharedStore) {
    let (left, right) = (topic(&store).await.id, topic(&store).await.id);
    for n in 0..3 {
        assert_eq!(append(&store, left, &batch_of(2)).await.0, at(1 + 2 * n));
        assert_eq!(append(&store, right, &batch_of(3)).await.0, at(1 + 3 * n));
    }
    assert_eq!(read(&store, left, 0, ALL).await.len(), 6);
    assert_eq!(read(&store, right, 0, ALL).await.len(), 9);
}

/// "`AppendError::TopicNotFound` if it does not exist": it is looked at first.
pub(super) async fn a_missing_topic_is_refused(store: SharedStore) {
    let batch = AppendBatch { expected_head: Some(at(9)), ..batch_of(1) };
    let refused = store.append(NO_TOPIC, &batch).await;
    assert!(matches!(refused, Err(AppendError::TopicNotFound)), "{refused:?}");
}

/// "The expected head: `AppendError::HeadMoved`", which carries the head.
pub(super) async fn the_expected_head_is_checked(store: SharedStore) {
    let topic = topic(&store).await.id;
    let expecting = |head| AppendBatch { expected_head: Some(at(head)), ..batch_of(2) };
    assert_eq!(append(&store, topic, &expecting(0)).await.0, at(1));
    for wrong in [0, 1, 3] {
        let refused = store.append(topic, &expecting(wrong)).await;
        assert!(matches!(refused, Err(AppendError::HeadMoved { head }) if head == at(2)), "{wrong}: {refused:?}");
    }
    assert_eq!(append(&store, topic, &expecting(2)).await.0, at(3));
    assert_eq!(read(&store, topic, 0, ALL).await.len(), 4);
}

/// "Appends to one topic happen one after the other."
pub(super) async fn of_eight_with_one_expected_head_one_succeeds(store: SharedStore) {
    let topic = topic(&store).await.id;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        let batch = AppendBatch { expected_head: Some(Offset::ZERO), ..batch_of(1) };
        tasks.spawn(async move { store.append(topic, &batch).await });
    }
    let results = tasks.join_all().await;
    let stored = results.iter().filter(|result| matches!(result, Ok(Appended::Stored { .. }))).count();
    let moved = results.iter().filter(|result| matches!(result, Err(AppendError::HeadMoved { .. }))).count();
    assert_eq!((stored, moved), (1, 7), "{results:?}");
    assert_eq!(bounds(&store, topic).await.head, at(1));
}

/// "The seal: `AppendError::TopicSealed`."
pub(super) async fn a_sealed_topic_takes_nothing(store: SharedStore) {
    let topic = topic(&store).await;
    let seal = |sealed| TopicChange { sealed: Some(sealed), ..TopicChange::default() };
    append(&store, topic.id, &batch_of(1)).await;
    store.update_topic(&topic.settings.name, &seal(true)).await.unwrap();
    let refused = store.append(topic.id, &batch_of(1)).await;
    assert!(matches!(refused, Err(AppendError::TopicSealed)), "{refused:?}");
    assert_eq!(bounds(&store, topic.id).await.head, at(1));
    store.update_topic(&topic.settings.name, &seal(false)).await.unwrap();
    assert_eq!(append(&store, topic.id, &batch_of(1)).await.0, at(2));
}

/// "What is looked at, in this order": 4. the seal, 5. the expected head.
pub(super) async fn the_seal_is_looked_at_before_the_expected_head(store: SharedStore) {
    let topic = topic(&store).await;
    let sealed = TopicChange { sealed: Some(true), ..TopicChange::default() };
    store.update_topic(&topic.settings.name, &sealed).await.unwrap();
    let refused = store.append(topic.id, &AppendBatch { expected_head: Some(at(9)), ..batch_of(1) }).await;
    assert!(matches!(refused, Err(AppendError::TopicSealed)), "{refused:?}");
}

/// "Recorded time never decreases along a topic", and is the one that the append returned.
pub(super) async fn recorded_time_never_decreases(store: SharedStore) {
    let topic = topic(&store).await.id;
    let mut recorded = Vec::new();
    for _ in 0..30 {
        recorded.push(append(&store, topic, &batch_of(2)).await.1);
    }
    assert!(recorded.is_sorted(), "{recorded:?}");
    let stored: Vec<_> = read(&store, topic, 0, ALL).await.iter().map(|event| event.recorded_time).collect();
    assert!(stored.is_sorted(), "{stored:?}");
    let newest: Vec<_> = stored.chunks(2).map(|pair| pair[1]).collect();
    assert_eq!(newest, recorded);
}

/// "Dropping a returned future may or may not undo the work": it harms no other call.
pub(super) async fn appends_go_on_after_some_were_dropped(store: SharedStore) {
    let topic = topic(&store).await.id;
    let mut acknowledged = Vec::new();
    for n in 0..120_u64 {
        let (batch, task_store) = (batch_of(200), store.clone());
        let repeated = again(&batch);
        let task = tokio::spawn(async move { task_store.append(topic, &batch).await });
        tokio::time::sleep(Duration::from_micros(n * 97 % 4000)).await;
        task.abort();
        if n % 10 == 0 {
            // Whatever became of the first call, the repeated one knows.
            acknowledged.push(append(&store, topic, &repeated).await.0);
        }
    }
    let (last, _) = append(&store, topic, &batch_of(1)).await;
    // A dropped call may be carried out even later than that.
    let events = read(&store, topic, 0, ALL).await;
    assert!(events.len() as i64 >= last.get(), "acknowledged events are missing");
    assert!(offsets(&events).into_iter().eq(1..=events.len() as i64), "the log has a hole");
    assert_eq!(((last.get() - 1) % 200, (events.len() - 1) % 200), (0, 0), "part of a batch was stored");
    acknowledged.dedup();
    assert_eq!(acknowledged.len(), 12, "two batches have one place");
    assert!(acknowledged.iter().all(|first| first.get() % 200 == 1), "{acknowledged:?}");
}

/// "Names this store for as long as it exists", and "a sign of life".
pub(super) async fn the_store_names_itself(store: SharedStore) {
    assert!(matches!(store.kind(), "sqlite" | "postgres"), "{}", store.kind());
    assert!(!store.cluster_id().is_nil());
    store.ping().await.unwrap();
}
