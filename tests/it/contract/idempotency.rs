//! Repeated batches and repeated ids are stored once.

use eventflow::{
    domain::{AppendBatch, BatchId, IdKey, KnownId, TopicChange},
    store::{Appended, SharedStore},
};
use tokio::task::JoinSet;

use super::fixtures::{
    ALL, NO_TOPIC, again, anonymous, append, at, batch, batch_of, bounds, identified, identity, read, seen, texts,
    topic,
};

/// "That one's place is returned and nothing is stored."
pub(super) async fn a_repeated_batch_is_stored_once(store: SharedStore) {
    let topic = topic(&store).await.id;
    append(&store, topic, &batch_of(3)).await;
    let batch = AppendBatch { seen: seen(3), ..batch_of(5) };
    let place = append(&store, topic, &batch).await;
    for _ in 0..3 {
        assert_eq!(append(&store, topic, &again(&batch)).await, place);
    }
    assert_eq!(place.0, at(4));
    assert_eq!(read(&store, topic, 0, ALL).await.len(), 8);
}

/// "If a batch with it was appended after `batch.seen.head`", however far behind the head it is by now.
pub(super) async fn a_repeated_batch_is_found_behind_others(store: SharedStore) {
    let topic = topic(&store).await.id;
    append(&store, topic, &batch_of(4)).await;
    // The caller has seen less than there is.
    let batches: Vec<_> = (0..10).map(|_| AppendBatch { seen: seen(2), ..batch_of(2) }).collect();
    let mut places = Vec::new();
    for batch in &batches {
        places.push(append(&store, topic, batch).await);
    }
    for (batch, place) in batches.iter().zip(&places) {
        assert_eq!(append(&store, topic, &again(batch)).await, *place);
    }
    assert_eq!(bounds(&store, topic).await.head, at(24));
}

/// "A call whose outcome is unknown is repeated unchanged, also while the first one may still be on
/// its way."
pub(super) async fn a_repeated_batch_is_found_while_the_first_is_under_way(store: SharedStore) {
    let topic = topic(&store).await.id;
    let batch = batch_of(100);
    let mut tasks = JoinSet::new();
    for _ in 0..10 {
        let (store, batch) = (store.clone(), again(&batch));
        tasks.spawn(async move { append(&store, topic, &batch).await });
    }
    let places = tasks.join_all().await;
    assert!(places.iter().all(|place| place == &places[0]), "{places:?}");
    assert_eq!(bounds(&store, topic).await.head, at(100));
}

/// The batch's id is looked for in the topic.
pub(super) async fn a_batch_is_one_topics_own(store: SharedStore) {
    let (left, right) = (topic(&store).await.id, topic(&store).await.id);
    let batch = batch_of(2);
    append(&store, right, &batch_of(5)).await;
    assert_eq!(append(&store, left, &batch).await.0, at(1));
    assert_eq!(append(&store, right, &again(&batch)).await.0, at(6));
}

/// "What is looked at, in this order": 2. the batch's id, before 3. identities, 4. seal, 5. head.
pub(super) async fn the_batch_wins_over_ids_seal_and_expected_head(store: SharedStore) {
    let topic = topic(&store).await;
    let events = vec![identified("a"), identified("b")];
    let batch = AppendBatch { expected_head: Some(at(0)), ..batch(events) };
    let place = append(&store, topic.id, &batch).await;
    let sealed = TopicChange { sealed: Some(true), ..TopicChange::default() };
    store.update_topic(&topic.settings.name, &sealed).await.unwrap();
    assert_eq!(append(&store, topic.id, &again(&batch)).await, place);
}

/// "`Appended::Known` lists all that are, and nothing is stored."
pub(super) async fn known_ids_are_listed_and_nothing_is_stored(store: SharedStore) {
    let topic = topic(&store).await.id;
    let (_, first_time) = append(&store, topic, &batch(vec![anonymous("-"), identified("a"), identified("b")])).await;
    let (_, second_time) = append(&store, topic, &batch(vec![identified("c")])).await;

    let mixed = batch(vec![identified("new"), identified("c"), anonymous("-"), identified("a")]);
    let Appended::Known(mut known) = store.append(topic, &mixed).await.unwrap() else { panic!("it was stored") };
    known.sort_by_key(|id| id.offset);
    let expected = |id: &str, offset, recorded_time| KnownId {
        key: identity(id).key,
        offset: at(offset),
        content: identity(id).content,
        recorded_time,
    };
    assert_eq!(known, [expected("a", 2, first_time), expected("c", 4, second_time)]);
    assert_eq!(bounds(&store, topic).await.head, at(4));
    assert_eq!(store.find_ids(topic, &[identity("new").key]).await.unwrap(), []);

    // The same call without them is stored.
    let fresh = AppendBatch { id: BatchId::random(), ..batch(vec![identified("new"), anonymous("-")]) };
    assert_eq!(append(&store, topic, &fresh).await.0, at(5));
}

/// "What is looked at, in this order": 3. identities, before 4. the seal and 5. the expected head.
pub(super) async fn known_ids_win_over_seal_and_expected_head(store: SharedStore) {
    let topic = topic(&store).await;
    append(&store, topic.id, &batch(vec![identified("a")])).await;
    let repeated = || AppendBatch { expected_head: Some(at(0)), ..batch(vec![identified("a")]) };
    let moved = store.append(topic.id, &repeated()).await.unwrap();
    assert!(matches!(&moved, Appended::Known(ids) if ids.len() == 1), "{moved:?}");
    let sealed = TopicChange { sealed: Some(true), ..TopicChange::default() };
    store.update_topic(&topic.settings.name, &sealed).await.unwrap();
    let sealed = store.append(topic.id, &repeated()).await.unwrap();
    assert_eq!(sealed, moved);
}

/// "If any of their keys is in the topic, nothing is stored", also under concurrency.
pub(super) async fn of_eight_with_one_id_one_is_stored(store: SharedStore) {
    let topic = topic(&store).await.id;
    let mut tasks = JoinSet::new();
    for n in 0..8 {
        let store = store.clone();
        let batch = batch(vec![anonymous(&n.to_string()), identified("same")]);
        tasks.spawn(async move { store.append(topic, &batch).await.unwrap() });
    }
    let results = tasks.join_all().await;
    let stored = results.iter().filter(|result| matches!(result, Appended::Stored { .. })).count();
    assert_eq!(stored, 1, "{results:?}");
    for result in results {
        if let Appended::Known(ids) = result {
            assert_eq!(ids.iter().map(|id| id.offset).collect::<Vec<_>>(), [at(2)]);
        }
    }
    assert_eq!(texts(&read(&store, topic, 1, ALL).await), ["same"]);
}

/// "Which of these ids the topic has, in any order."
pub(super) async fn ids_are_found_in_their_topic_only(store: SharedStore) {
    let (left, right) = (topic(&store).await.id, topic(&store).await.id);
    append(&store, left, &batch(vec![identified("a")])).await;
    append(&store, right, &batch(vec![identified("b"), identified("a")])).await;
    let keys = [identity("a").key, identity("b").key, identity("c").key];
    let found = |ids: Vec<KnownId>| {
        let mut found: Vec<_> = ids.iter().map(|id| (id.key, id.offset)).collect();
        found.sort();
        found
    };
    assert_eq!(found(store.find_ids(left, &keys).await.unwrap()), [(keys[0], at(1))]);
    assert_eq!(found(store.find_ids(right, &keys).await.unwrap()), [(keys[0], at(2)), (keys[1], at(1))]);
    assert_eq!(store.find_ids(right, &[]).await.unwrap(), []);
    assert_eq!(store.find_ids(NO_TOPIC, &keys).await.unwrap(), []);
}

/// A whole request may be repeated under another batch id.
pub(super) async fn a_thousand_ids_are_found(store: SharedStore) {
    let topic = topic(&store).await.id;
    let events: Vec<_> = (0..1000).map(|n| identified(&format!("id-{n}"))).collect();
    append(&store, topic, &batch(events.clone())).await;
    let Appended::Known(known) = store.append(topic, &batch(events.clone())).await.unwrap() else {
        panic!("it was stored twice")
    };
    let mut known: Vec<(i64, IdKey)> = known.iter().map(|id| (id.offset.get(), id.key)).collect();
    known.sort();
    let expected: Vec<_> = (1..).zip(&events).map(|(offset, event)| (offset, event.identity.unwrap().key)).collect();
    assert_eq!(known, expected);
}

/// Ids that the server made identify nothing.
pub(super) async fn events_without_identity_repeat(store: SharedStore) {
    let topic = topic(&store).await.id;
    let event = anonymous("once more");
    append(&store, topic, &batch(vec![event.clone()])).await;
    append(&store, topic, &batch(vec![event.clone(), event])).await;
    assert_eq!(texts(&read(&store, topic, 0, ALL).await), ["once more"; 3]);
}
