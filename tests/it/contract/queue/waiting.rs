//! "An event can be delivered if it is the lowest unsettled one of its key and none of its key is leased."

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use eventflow::{
    domain::{Candidate, KeyHash, QueuePolicy, Verdict},
    store::{SharedStore, WAITING_MAX},
};

use super::{super::fixtures::at, Queue, attempts, leased, nack, patient, reject, stream, taker};

/// "The lowest unsettled one of its key": the later ones come one by one, in order.
pub(in super::super) async fn events_of_a_key_come_one_at_a_time(store: SharedStore) {
    let queue = Queue::new(&store, patient(), &["a", "a", "b", "", "a", "b", ""]).await;
    let first = queue.take(stream(), 100).await;
    assert_eq!(leased(&first), [1, 3, 4, 7]);
    assert_eq!(queue.is_quiet().await.dispatched, at(7));
    assert!(queue.settle(first.lease, &[(1, Verdict::Ack)]).await.news);
    let second = queue.take(stream(), 100).await;
    assert_eq!(leased(&second), [2]);
    // Events without a key free nothing.
    queue.settle(first.lease, &[(4, Verdict::Ack), (7, Verdict::Ack)]).await;
    queue.is_quiet().await;
    queue.settle(first.lease, &[(3, Verdict::Ack)]).await;
    queue.ack(&second).await;
    assert_eq!(leased(&queue.take(stream(), 100).await), [5, 6]);
    assert_eq!(queue.position().await, 4);
}

/// "None of its key is leased": also what comes later waits.
pub(in super::super) async fn later_events_of_a_key_wait_behind_the_waiting(store: SharedStore) {
    let mut queue = Queue::new(&store, patient(), &["a", "a"]).await;
    let first = queue.take(stream(), 100).await;
    assert_eq!(leased(&first), [1]);
    queue.publish(&["a", ""]).await;
    assert_eq!(leased(&queue.take(stream(), 100).await), [4]);
    queue.ack(&first).await;
    queue.publish(&["a"]).await;
    let mut taken = Vec::new();
    for _ in 0..3 {
        let next = queue.take(stream(), 100).await;
        taken.extend(leased(&next));
        queue.ack(&next).await;
    }
    assert_eq!(taken, [2, 3, 5]);
}

/// "In order, also under retries": what failed holds its key until it is settled.
pub(in super::super) async fn a_retry_holds_its_key(store: SharedStore) {
    let queue = Queue::new(&store, patient(), &["a", "a", "b"]).await;
    let first = queue.take(stream(), 100).await;
    assert_eq!(leased(&first), [1, 3]);
    queue.settle(first.lease, &[(1, nack("no"))]).await;
    let again = queue.take(stream(), 100).await;
    assert_eq!(attempts(&again), [(1, 2)]);
    queue.is_quiet().await;
    queue.settle_all(&again, nack("no")).await;
    let last = queue.take(stream(), 100).await;
    assert_eq!(attempts(&last), [(1, 3)]);
    queue.settle_all(&last, nack("no")).await;
    assert_eq!(queue.dead().await, [1]);
    assert_eq!(attempts(&queue.take(stream(), 100).await), [(2, 1)]);
}

/// A dead letter holds its key no longer.
pub(in super::super) async fn a_dead_letter_frees_its_key(store: SharedStore) {
    let queue = Queue::new(&store, patient(), &["a", "a", "a"]).await;
    let first = queue.take(stream(), 100).await;
    assert!(queue.settle_all(&first, reject("bad")).await.news);
    let second = queue.take(stream(), 100).await;
    assert_eq!(leased(&second), [2]);
    queue.settle_all(&second, Verdict::Trimmed).await;
    assert_eq!(leased(&queue.take(stream(), 100).await), [3]);
    assert_eq!(queue.dead().await, [1, 2]);
}

/// No order is broken and nothing is lost over many keys and few rooms.
pub(in super::super) async fn many_keys_keep_their_order(store: SharedStore) {
    let keys: Vec<_> = (0..300).map(|n| format!("key-{}", n * n % 23)).collect();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let queue = Queue::new(&store, QueuePolicy { max_in_flight: 10, ..patient() }, &keys).await;
    let mut seen: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    let mut count = 0;
    while count < keys.len() {
        let claimed = queue.claim(vec![taker(stream(), 7), taker(stream(), 7)]).await;
        let mut together = Vec::new();
        for lease in &claimed.leases {
            for offset in leased(lease) {
                let key = keys[usize::try_from(offset).unwrap() - 1];
                assert!(!together.contains(&key), "{key} twice at once");
                together.push(key);
                let before = seen.entry(key).or_default();
                assert!(before.last().is_none_or(|last| *last < offset), "{offset} after {before:?}");
                before.push(offset);
                count += 1;
            }
            queue.ack(lease).await;
        }
        assert!(!together.is_empty() && together.len() <= 10, "{} of {}", together.len(), keys.len());
    }
    queue.is_quiet().await;
    assert_eq!(queue.position().await, 300);
}

/// "No more than [`WAITING_MAX`] events wait for their keys; beyond that, nothing more is dispatched that
/// would have to wait."
pub(in super::super) async fn so_many_events_wait_and_no_more(store: SharedStore) {
    let queue = Queue::of(&store, patient(), 1).await;
    let max = i64::try_from(WAITING_MAX).unwrap();
    let mut request = queue.request(vec![taker(stream(), 100)]);
    // The store takes the server's word for what is in the log.
    let (one, other) = (KeyHash::of("one"), KeyHash::of("other"));
    request.candidates = (1..=max + 10).map(|offset| Candidate { offset: at(offset), key: one }).collect();
    request.candidates.push(Candidate { offset: at(max + 11), key: other });
    request.up_to = at(max + 11);
    let first = store.claim(&request).await.unwrap();
    assert_eq!(leased(&first.leases[0]), [1]);
    // Not all of them may wait at once.
    let mut dispatched = first.dispatched;
    let deadline = Instant::now() + Duration::from_secs(30);
    while dispatched < at(max + 1) && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let claimed = store.claim(&request).await.unwrap();
        assert_eq!(claimed.leases, []);
        dispatched = claimed.dispatched;
    }
    assert_eq!(dispatched, at(max + 1));

    let rest = request.candidates.split_off(usize::try_from(max).unwrap() + 1);
    request.candidates = rest;
    request.after = at(max + 1);
    let mut held = first.leases[0].clone();
    for expected in 2..=4 {
        request.takers = vec![taker(stream(), 100)];
        let stuck = store.claim(&request).await.unwrap();
        assert_eq!((stuck.leases, stuck.dispatched.get()), (vec![], max + expected - 1));
        queue.ack(&held).await;
        // One waits no longer, so that another one can.
        let next = store.claim(&request).await.unwrap();
        assert_eq!((leased(&next.leases[0]), next.dispatched.get()), (vec![expected], max + expected));
        held = next.leases[0].clone();
    }
}

/// Events of other keys pass by as many as may wait, in a moment at most, and nothing of the order is lost.
pub(in super::super) async fn a_key_with_many_events_lets_others_pass(store: SharedStore) {
    let mut keys = vec!["hot"; 5000];
    keys.push("other");
    keys.extend(["hot", "last"]);
    let mut queue = Queue::new(&store, patient(), &keys).await;
    let mut hot = queue.take(stream(), 100).await;
    let mut taken = leased(&hot);
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut passed: Vec<i64> = taken.split_off(1);
    while passed.len() < 2 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let claimed = queue.claim(vec![taker(stream(), 100)]).await;
        passed.extend(claimed.leases.iter().flat_map(leased));
        assert_eq!(queue.position().await, 0);
    }
    assert_eq!((taken, passed), (vec![1], vec![5001, 5003]));
    for expected in [2, 3] {
        queue.settle(hot.lease, &[(expected - 1, Verdict::Ack)]).await;
        assert_eq!(queue.position().await, expected - 1);
        hot = queue.take(stream(), 100).await;
        assert_eq!(leased(&hot), [expected]);
    }
    // What waits is void when the consumer is moved, and is trimmed as the rest is.
    queue.seek(4999).await;
    let again = queue.take(stream(), 100).await;
    assert_eq!(leased(&again), [5000, 5001, 5003]);
    queue.settle(again.lease, &[(5000, Verdict::Ack)]).await;
    assert_eq!(leased(&queue.take(stream(), 100).await), [5002]);
}
