//! Appends to many topics at the same moment: each as if it were alone.

use eventflow::{
    domain::{AppendBatch, Attributes, Offset, PendingEvent, Timestamp, TopicChange, TopicId},
    store::{AppendError, Appended, SharedStore, StoreError},
};
use tokio::task::JoinSet;

use super::fixtures::{
    ALL, NO_TOPIC, again, anonymous, append, at, batch, batch_of, identified, offsets, read, texts, topic,
};

/// Topics that are appended to at once: far more than a store has connections.
const TOPICS: usize = 100;

async fn topics(store: &SharedStore) -> Vec<TopicId> {
    let mut topics = Vec::new();
    for _ in 0..TOPICS {
        topics.push(topic(store).await.id);
    }
    topics
}

/// Appends all of these at once, and returns the results in their order.
async fn at_once(
    store: &SharedStore,
    batches: impl IntoIterator<Item = (TopicId, AppendBatch)>,
) -> Vec<Result<Appended, AppendError>> {
    let calls = batches.into_iter().map(|(topic, batch)| {
        let store = store.clone();
        tokio::spawn(async move { store.append(topic, &batch).await })
    });
    let calls: Vec<_> = calls.collect();
    let mut results = Vec::new();
    for call in calls {
        results.push(call.await.unwrap());
    }
    results
}

fn first(result: &Result<Appended, AppendError>) -> Offset {
    match result {
        Ok(Appended::Stored { first, .. }) => *first,
        other => panic!("not stored: {other:?}"),
    }
}

/// Events of every kind, of which some columns are empty in some batches.
fn events(topic: usize, round: usize) -> Vec<PendingEvent> {
    let events = (0..=(topic + round) % 4).map(|n| {
        let mut event = anonymous(&format!("{topic}/{round}/{n}"));
        if topic.is_multiple_of(3) {
            event.body.key = format!("key-{n}").into();
            event.body.time = Some(Timestamp::from_micros(1_700_000_000_000_000 + n as i64).unwrap());
        }
        if topic.is_multiple_of(5) {
            event.body.attributes = Attributes::from([("kind".into(), format!("{topic}-{n}").into())]);
            event.body.correlation_id = "correlated".into();
        }
        event
    });
    events.collect()
}

/// What is stored is what was sent, where the answer says.
pub(super) async fn appends_to_many_topics_are_each_in_their_own(store: SharedStore) {
    const ROUNDS: usize = 4;
    let topics = topics(&store).await;
    let mut tasks = JoinSet::new();
    for (number, &topic) in topics.iter().enumerate() {
        let store = store.clone();
        tasks.spawn(async move {
            let mut sent = Vec::new();
            for round in 0..ROUNDS {
                let events = events(number, round);
                let (first, recorded_time) = append(&store, topic, &batch(events.clone())).await;
                assert_eq!(first, at(sent.len() as i64 + 1));
                sent.extend(events.into_iter().map(|event| (event.body, recorded_time)));
            }
            let found = read(&store, topic, 0, ALL).await;
            assert!(offsets(&found).into_iter().eq(1..=sent.len() as i64), "topic {number} has a hole");
            let found: Vec<_> = found.into_iter().map(|event| (event.body, event.recorded_time)).collect();
            assert_eq!(found, sent, "topic {number}");
        });
    }
    tasks.join_all().await;
}

/// A batch that is sent again among others has its first place.
pub(super) async fn repeats_among_many_are_stored_once(store: SharedStore) {
    let topics = topics(&store).await;
    let batches: Vec<_> = topics.iter().map(|_| batch_of(2)).collect();
    let sent: Vec<_> = topics.iter().copied().zip(batches.iter().map(again)).collect();
    let repeated: Vec<_> = topics.iter().copied().zip(batches.iter().map(again)).collect();
    let results = at_once(&store, sent.into_iter().chain(repeated)).await;
    let later = at_once(&store, topics.iter().copied().zip(batches.iter().map(again))).await;
    for result in results.iter().chain(&later) {
        assert_eq!(first(result), at(1));
    }
    for topic in topics {
        assert_eq!(offsets(&read(&store, topic, 0, ALL).await), [1, 2]);
    }
}

/// One that cannot be stored, or not as simply as the others, is told so, and the others are stored.
pub(super) async fn a_refusal_among_many_is_of_its_own_batch(store: SharedStore) {
    let mut topics = topics(&store).await;
    let (sealed, deleted) = (topic(&store).await, topic(&store).await);
    let seal = TopicChange { sealed: Some(true), ..TopicChange::default() };
    store.update_topic(&sealed.settings.name, &seal).await.unwrap();
    store.delete_topic(&deleted.settings.name).await.unwrap();
    let (known, moved) = (topic(&store).await.id, topic(&store).await.id);
    append(&store, known, &batch(vec![identified("known")])).await;
    append(&store, moved, &batch_of(1)).await;
    let special = [
        (sealed.id, batch_of(1)),
        (deleted.id, batch_of(1)),
        (NO_TOPIC, batch_of(1)),
        (known, batch(vec![identified("known")])),
        (moved, AppendBatch { expected_head: Some(at(7)), ..batch_of(1) }),
    ];
    let count = special.len();
    let others = topics.split_off(TOPICS / 2);
    let ordinary = |topics: Vec<TopicId>| topics.into_iter().map(|topic| (topic, batch_of(1)));
    let all = ordinary(topics.clone()).chain(special).chain(ordinary(others.clone()));
    let results = at_once(&store, all).await;
    let (before, rest) = results.split_at(topics.len());
    let (special, after) = rest.split_at(count);
    assert!(before.iter().chain(after).all(|result| first(result) == at(1)));
    assert!(matches!(special[0], Err(AppendError::TopicSealed)), "{:?}", special[0]);
    assert!(matches!(special[1], Err(AppendError::TopicNotFound)), "{:?}", special[1]);
    assert!(matches!(special[2], Err(AppendError::TopicNotFound)), "{:?}", special[2]);
    assert!(matches!(&special[3], Ok(Appended::Known(ids)) if ids.len() == 1), "{:?}", special[3]);
    assert!(matches!(special[4], Err(AppendError::HeadMoved { head }) if head == at(1)), "{:?}", special[4]);
}

/// What the store cannot take at all makes no other fail.
pub(super) async fn what_the_store_cannot_take_fails_alone(store: SharedStore) {
    let topics = topics(&store).await;
    let guilty = topic(&store).await.id;
    // No text of Postgres holds a zero; it is refused long before it gets here.
    let bad = batch(vec![anonymous("fine"), {
        let mut event = anonymous("bad");
        event.body.key = "\0".into();
        event
    }]);
    let all = [(guilty, bad)].into_iter().chain(topics.iter().map(|topic| (*topic, batch_of(1))));
    // Those before it are stored at once, those after it with it: it is among the others wherever it stands.
    let mut all: Vec<_> = all.collect();
    all.rotate_left(1 + TOPICS / 2);
    let mut results = at_once(&store, all).await;
    results.rotate_right(1 + TOPICS / 2);
    assert!(results[1..].iter().all(|result| first(result) == at(1)));
    match store.kind() {
        "postgres" => {
            assert!(matches!(results[0], Err(AppendError::Store(StoreError::Refused(_)))), "{:?}", results[0]);
            assert_eq!(offsets(&read(&store, guilty, 0, ALL).await), [0_i64; 0]);
        }
        _ => assert_eq!(texts(&read(&store, guilty, 0, ALL).await), ["fine", "bad"]),
    }
}

/// Callers that leave take nothing of the others along.
pub(super) async fn others_are_stored_when_some_leave(store: SharedStore) {
    let topics = topics(&store).await;
    let calls: Vec<_> = topics
        .iter()
        .enumerate()
        .map(|(number, &topic)| {
            let store = store.clone();
            let call = tokio::spawn(async move { store.append(topic, &batch_of(1)).await });
            (number.is_multiple_of(3), call)
        })
        .collect();
    tokio::task::yield_now().await;
    for (leaves, call) in &calls {
        if *leaves {
            call.abort();
        }
    }
    for (leaves, call) in calls {
        let result = call.await;
        match result {
            // Whoever carried it out may have left in the middle: then nobody knows, and the batch is to be sent again.
            Ok(Err(AppendError::Store(StoreError::Unavailable(_)))) => {}
            Ok(stored) => assert_eq!(first(&stored), at(1)),
            Err(left) => assert!(leaves && left.is_cancelled()),
        }
    }
    for topic in topics {
        append(&store, topic, &batch_of(1)).await;
        let found = offsets(&read(&store, topic, 0, ALL).await);
        assert!(found == [1] || found == [1, 2], "{found:?}");
    }
}
