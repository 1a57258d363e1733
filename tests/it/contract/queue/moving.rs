//! What seeks, changes and pauses do to a consumer in MODE_QUEUE.

use std::time::Duration;

use eventflow::{
    domain::{ConsumerChange, Filter, QueuePolicy, TypePattern, Unsettled},
    store::SharedStore,
};

use super::{
    super::fixtures::{LONG, SHORT, moment},
    Queue, attempts, leased, nack, patient, reject, stream, taker,
};

/// A seek voids what is leased or pending, and begins anew from where it went.
pub(in super::super) async fn a_seek_voids_leases_and_retries(store: SharedStore) {
    let mut queue = Queue::new(&store, patient(), &["a", "a", "a", "", ""]).await;
    let lease = queue.take(stream(), 2).await;
    assert_eq!(leased(&lease), [1, 4]);
    queue.settle(lease.lease, &[(4, nack("no"))]).await;
    queue.seek(3).await;
    assert_eq!(queue.refusal(&lease).await, Unsettled::Lost);
    let status = queue.status().await;
    assert_eq!((status.position.get(), status.in_flight, status.retrying), (3, 0, 0));
    let ahead = queue.take(stream(), 9).await;
    assert_eq!(attempts(&ahead), [(4, 1), (5, 1)]);
    queue.seek(0).await;
    assert_eq!(queue.position().await, 0);
    let again = queue.take(stream(), 9).await;
    assert_eq!(attempts(&again), [(1, 1), (4, 1), (5, 1)]);
    queue.ack(&again).await;
    assert_eq!(leased(&queue.take(stream(), 9).await), [2]);
    assert_eq!(queue.position().await, 1);
}

/// Dead letters outlive a seek; one whose event is given up again is replaced.
pub(in super::super) async fn a_seek_keeps_dead_letters(store: SharedStore) {
    let mut queue = Queue::of(&store, patient(), 2).await;
    let lease = queue.take(stream(), 9).await;
    queue.settle_all(&lease, reject("old")).await;
    let old = queue.dead_letters().await;
    queue.seek(0).await;
    assert_eq!(queue.dead_letters().await, old);
    moment().await;
    let lease = queue.take(stream(), 9).await;
    queue.settle(lease.lease, &[(1, reject("new"))]).await;
    let new = queue.dead_letters().await;
    assert_eq!((new.len(), &*new[0].error, &new[1]), (2, "new", &old[1]));
    assert!(new[0].dead_time > old[0].dead_time && new[0].first_sent > old[0].first_sent);
}

/// A seek before the first claim, and one beyond everything.
pub(in super::super) async fn a_seek_may_come_first(store: SharedStore) {
    let mut queue = Queue::of(&store, patient(), 4).await;
    queue.seek(4).await;
    assert_eq!(queue.position().await, 4);
    assert_eq!(queue.is_quiet().await.dispatched.get(), 4);
    queue.seek(2).await;
    assert_eq!(leased(&queue.take(stream(), 9).await), [3, 4]);
}

/// "`None` stays as it is."
pub(in super::super) async fn settings_change_one_by_one(store: SharedStore) {
    let mut queue = Queue::of(&store, patient(), 9).await;
    let mut expected = queue.consumer.clone();
    let filter = Filter { types: vec![TypePattern::new("order.*")], ..Filter::default() };
    let none = ConsumerChange::default();
    let changes = [
        ConsumerChange { lease: Some(Duration::from_micros(1_500_001)), ..none.clone() },
        ConsumerChange { backoff: Some([1, 2, 3].map(Duration::from_millis).to_vec()), ..none.clone() },
        ConsumerChange { max_attempts: Some(7), ..none.clone() },
        ConsumerChange { max_in_flight: Some(2), ..none.clone() },
        ConsumerChange { filter: Some(filter), ..none.clone() },
        none,
    ];
    for change in changes {
        let policy = &mut expected.settings.queue;
        policy.lease = change.lease.unwrap_or(policy.lease);
        policy.backoff = change.backoff.clone().unwrap_or(policy.backoff.clone());
        policy.max_attempts = change.max_attempts.unwrap_or(policy.max_attempts);
        policy.max_in_flight = change.max_in_flight.unwrap_or(policy.max_in_flight);
        expected.settings.filter = change.filter.clone().unwrap_or(expected.settings.filter.clone());
        expected.revision += 1;
        queue.change(change).await;
        assert_eq!(queue.consumer, expected);
        assert_eq!(queue.stored().await, expected);
    }
    let claimed = queue.claim(vec![taker(stream(), 9)]).await;
    assert_eq!(claimed.leases[0].remaining, Duration::from_micros(1_500_001));
    assert!(claimed.full && leased(&claimed.leases[0]) == [1, 2]);
}

/// Fewer attempts than an event had already: it is not tried once more.
pub(in super::super) async fn fewer_attempts_count_at_once(store: SharedStore) {
    let mut queue = Queue::of(&store, QueuePolicy { max_attempts: 9, ..patient() }, 2).await;
    for _ in 0..2 {
        let lease = queue.take(stream(), 9).await;
        queue.settle_all(&lease, nack("no")).await;
    }
    let lease = queue.take(stream(), 9).await;
    queue.change(ConsumerChange { max_attempts: Some(2), ..ConsumerChange::default() }).await;
    queue.settle(lease.lease, &[(1, nack("last"))]).await;
    let dead = queue.dead_letters().await;
    assert_eq!((dead.len(), dead[0].attempts, &*dead[0].error), (1, 3, "last"));
}

/// Delivery stops; what is leased can be settled, or is lost.
pub(in super::super) async fn a_pause_stops_deliveries_only(store: SharedStore) {
    let mut queue = Queue::of(&store, patient(), 3).await;
    let name = queue.consumer.settings.name.clone();
    let held = queue.take(stream(), 1).await;
    queue.last_for(SHORT).await;
    let lost = queue.take(stream(), 1).await;
    store.pause_consumer(&name, true).await.unwrap();
    moment().await;
    assert!(queue.try_claim(vec![taker(stream(), 9)]).await.is_err());
    queue.ack(&held).await;
    assert_eq!(queue.refusal(&lost).await, Unsettled::Lost);
    assert_eq!((queue.position().await, queue.status().await.retrying), (1, 1));
    store.pause_consumer(&name, false).await.unwrap();
    queue.last_for(LONG).await;
    assert_eq!(attempts(&queue.take(stream(), 9).await), [(2, 2)]);
    assert_eq!(attempts(&queue.take(stream(), 9).await), [(3, 1)]);
}
