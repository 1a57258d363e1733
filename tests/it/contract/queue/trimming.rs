//! "Events that were trimmed are counted as such if they were not dispatched, and become dead letters if they
//! are pending."

use std::time::Duration;

use eventflow::{
    domain::{DeadCause, QueuePolicy, Verdict},
    store::SharedStore,
};

use super::{
    super::fixtures::{LONG, at},
    Queue, attempts, leased, nack, patient, stream, taker,
};

/// Each event a stored run of its own, so that any of them can be trimmed.
async fn single(store: &SharedStore, policy: QueuePolicy, keys: &[&str]) -> Queue {
    let mut queue = Queue::new(store, policy, &[]).await;
    for key in keys {
        queue.publish(&[key]).await;
    }
    queue
}

async fn trim(queue: &Queue, up_to: i64) {
    let bounds = queue.store.trim(queue.topic.id, at(up_to)).await.unwrap().unwrap();
    assert_eq!(bounds.trimmed_to, at(up_to));
}

/// "Counted as such if they were not dispatched", each once.
pub(in super::super) async fn undispatched_events_are_counted(store: SharedStore) {
    let mut queue = single(&store, patient(), &[""; 8]).await;
    let lease = queue.take(stream(), 2).await;
    trim(&queue, 5).await;
    for _ in 0..2 {
        assert_eq!(queue.claim(vec![]).await.dispatched, at(5));
        assert_eq!(queue.stored().await.trimmed_events, 3);
    }
    queue.ack(&lease).await;
    assert_eq!((queue.position().await, queue.dead().await), (5, vec![]));
    assert_eq!(leased(&queue.take(stream(), 1).await), [6]);
    trim(&queue, 7).await;
    assert_eq!(leased(&queue.take(stream(), 9).await), [8]);
    assert_eq!(queue.stored().await.trimmed_events, 4);
    queue.seek(0).await;
    assert_eq!(leased(&queue.take(stream(), 9).await), [8]);
    assert_eq!(queue.stored().await.trimmed_events, 4, "they were counted before");
}

/// "Become dead letters if they are pending": with what they had, or nothing if they only waited.
pub(in super::super) async fn pending_events_become_dead_letters(store: SharedStore) {
    let queue = single(&store, patient(), &["a", "a", "", "a", "", ""]).await;
    let lease = queue.take(stream(), 3).await;
    assert_eq!(leased(&lease), [1, 3, 5]);
    queue.settle(lease.lease, &[(3, nack("busy")), (5, nack("busy"))]).await;
    trim(&queue, 4).await;
    let next = queue.take(stream(), 9).await;
    assert_eq!(attempts(&next), [(5, 2), (6, 1)], "5 is kept, and 1 still leased");
    let dead = queue.dead_letters().await;
    let found: Vec<_> = dead.iter().map(|dead| (dead.offset.get(), dead.attempts, &*dead.error)).collect();
    assert_eq!(found, [(2, 0, ""), (3, 1, "busy"), (4, 0, "")]);
    assert!(dead.iter().all(|dead| dead.cause == DeadCause::Trimmed && dead.key.is_empty()));
    assert_eq!((dead[0].first_sent, dead[1].first_sent.is_some()), (None, true));
    assert_eq!(queue.settle(lease.lease, &[(1, Verdict::Ack)]).await.failures, []);
    assert_eq!((queue.position().await, queue.stored().await.trimmed_events), (4, 0));
    queue.is_quiet().await;
}

/// What is leased stays so; what then fails cannot be sent again.
pub(in super::super) async fn leased_events_are_not_touched_until_they_fail(store: SharedStore) {
    let mut queue = single(&store, patient(), &["a", "", "", "a", "a"]).await;
    let gone = stream();
    let held = queue.take(gone, 2).await;
    queue.last_for(Duration::from_secs(1)).await;
    let lost = queue.take(stream(), 1).await;
    queue.last_for(LONG).await;
    assert_eq!((leased(&held), leased(&lost)), (vec![1, 2], vec![3]));
    queue.is_quiet().await;
    trim(&queue, 4).await;
    tokio::time::sleep(Duration::from_millis(1010)).await;
    queue.is_quiet().await;
    assert_eq!(queue.dead().await, [3, 4], "5 waits for 1, which is leased");
    queue.settle(held.lease, &[(1, nack("too late"))]).await;
    assert_eq!(leased(&queue.take(stream(), 9).await), [5]);
    assert!(queue.release(gone, &[(held.lease, 2)], false).await);
    let dead = queue.dead_letters().await;
    let found: Vec<_> = dead.iter().map(|dead| (dead.offset.get(), dead.attempts, &*dead.error)).collect();
    assert_eq!(found, [(1, 1, "too late"), (2, 0, ""), (3, 1, ""), (4, 0, "")]);
    assert!(dead.iter().all(|dead| dead.cause == DeadCause::Trimmed));
    assert_eq!(queue.position().await, 4);
}

/// Trimmed events that waited make room for others that wait.
pub(in super::super) async fn a_trimmed_key_goes_on(store: SharedStore) {
    let queue = single(&store, patient(), &["a", "a", "a", "a"]).await;
    let lease = queue.take(stream(), 9).await;
    trim(&queue, 2).await;
    queue.is_quiet().await;
    queue.ack(&lease).await;
    let third = queue.take(stream(), 9).await;
    assert_eq!(leased(&third), [3]);
    queue.ack(&third).await;
    trim(&queue, 4).await;
    let claimed = queue.claim(vec![taker(stream(), 9)]).await;
    assert_eq!(claimed.leases, []);
    assert_eq!((queue.dead().await, queue.position().await), (vec![2, 4], 4));
}

/// A redriven event that is gone from the log is a dead letter again, by its delivery if not before.
pub(in super::super) async fn a_redriven_event_may_be_gone(store: SharedStore) {
    let queue = single(&store, patient(), &["", ""]).await;
    let lease = queue.take(stream(), 9).await;
    queue.settle_all(&lease, super::reject("bad")).await;
    trim(&queue, 1).await;
    queue.is_quiet().await;
    let all = eventflow::domain::DeadLetters::All;
    assert_eq!(store.redrive(queue.consumer.id, &all, 9, false).await.unwrap().changed, 2);
    let claimed = queue.claim(vec![taker(stream(), 9)]).await;
    for (offset, _) in claimed.leases.iter().flat_map(attempts) {
        let verdict = if offset == 1 { Verdict::Trimmed } else { Verdict::Ack };
        assert_eq!(queue.settle(claimed.leases[0].lease, &[(offset, verdict)]).await.failures, []);
    }
    let dead = queue.dead_letters().await;
    assert_eq!((dead.len(), dead[0].offset, dead[0].cause), (1, at(1), DeadCause::Trimmed));
    assert_eq!((queue.position().await, queue.status().await.in_flight), (2, 0));
}
