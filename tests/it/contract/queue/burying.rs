//! Dead letters: listing them, delivering them again, forgetting them.

use eventflow::{
    domain::{ConsumerId, DeadLetters, Moved, Offset, Verdict},
    store::SharedStore,
};

use super::{super::fixtures::at, Queue, attempts, leased, nack, patient, reject, stream, taker};

/// One whose events are all dead letters.
async fn dead(store: &SharedStore, keys: &[&str]) -> Queue {
    let queue = Queue::new(store, patient(), keys).await;
    while queue.dead().await.len() < keys.len() {
        let lease = queue.take(stream(), 1000).await;
        queue.settle_all(&lease, reject("bad")).await;
    }
    queue
}

fn of(offsets: &[i64]) -> DeadLetters {
    DeadLetters::Of(offsets.iter().map(|&offset| at(offset)).collect())
}

async fn redrive(queue: &Queue, which: &DeadLetters, limit: usize) -> (u64, u64) {
    let moved = queue.store.redrive(queue.consumer.id, which, limit, false).await.unwrap();
    (moved.changed, moved.remaining)
}

/// "Dead letters of a consumer after an offset, in order."
pub(in super::super) async fn dead_letters_come_in_pages(store: SharedStore) {
    let queue = dead(&store, &["", "a", "b", "", "a"]).await;
    let all = queue.dead_letters().await;
    assert_eq!(all.iter().map(|dead| dead.offset.get()).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(all.iter().map(|dead| &*dead.key).collect::<Vec<_>>(), ["", "a", "b", "", "a"]);
    let mut pages = Vec::new();
    let mut after = Offset::ZERO;
    loop {
        let page = store.dead_letters(queue.consumer.id, after, 2).await.unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = last.offset;
        pages.extend(page);
    }
    assert_eq!(pages, all);
    assert_eq!(store.dead_letters(ConsumerId(i32::MAX), Offset::ZERO, 9).await.unwrap(), []);
}

/// "Puts dead letters back, to be delivered again from the first attempt"; the position stays.
pub(in super::super) async fn redriven_events_begin_anew(store: SharedStore) {
    let mut queue = dead(&store, &["", "a", "b"]).await;
    assert_eq!(queue.position().await, 3);
    assert_eq!(redrive(&queue, &DeadLetters::All, 10).await, (3, 0));
    assert_eq!((queue.position().await, queue.dead().await), (3, vec![]));
    let lease = queue.take(stream(), 9).await;
    assert_eq!((attempts(&lease), lease.alone), (vec![(1, 1), (2, 1), (3, 1)], false));
    queue.publish(&["a", ""]).await;
    assert_eq!(leased(&queue.take(stream(), 9).await), [5]);
    assert_eq!(queue.position().await, 3, "4 waits, and what was redriven does not count");
    queue.settle(lease.lease, &[(1, nack("no")), (2, Verdict::Ack), (3, Verdict::Ack)]).await;
    assert_eq!(attempts(&queue.take(stream(), 9).await), [(1, 2), (4, 1)]);
}

/// One that fails again is a dead letter again, with the attempts since.
pub(in super::super) async fn a_redriven_event_may_fail_again(store: SharedStore) {
    let queue = dead(&store, &["a"]).await;
    assert_eq!(redrive(&queue, &of(&[1]), 1).await, (1, 0));
    for number in 1..=3 {
        let lease = queue.take(stream(), 9).await;
        assert_eq!(attempts(&lease), [(1, number)]);
        assert_eq!((queue.position().await, queue.dead().await), (1, vec![]));
        queue.settle_all(&lease, nack("again")).await;
    }
    let dead = queue.dead_letters().await;
    assert_eq!((dead.len(), dead[0].attempts, &*dead[0].error), (1, 3, "again"));
    queue.is_quiet().await;
}

/// Those of some events, at most so many, oldest first; or none, to be counted.
pub(in super::super) async fn some_are_redriven(store: SharedStore) {
    let queue = dead(&store, &[""; 6]).await;
    let id = queue.consumer.id;
    for which in [DeadLetters::All, of(&[2, 4, 6, 70])] {
        let total = if which == DeadLetters::All { 6 } else { 3 };
        let counted = store.redrive(id, &which, 2, true).await.unwrap();
        assert_eq!(counted, Moved { changed: 2, remaining: total - 2 });
        let counted = store.discard(id, &which, 2, true).await.unwrap();
        assert_eq!(counted, Moved { changed: 2, remaining: total - 2 });
    }
    assert_eq!(queue.dead().await.len(), 6);
    assert_eq!(redrive(&queue, &of(&[6, 2, 4, 70]), 2).await, (2, 1));
    assert_eq!(queue.dead().await, [1, 3, 5, 6]);
    assert_eq!(redrive(&queue, &of(&[2, 4]), 2).await, (0, 0));
    assert_eq!(leased(&queue.take(stream(), 9).await), [2, 4]);
    assert_eq!(redrive(&queue, &DeadLetters::All, 3).await, (3, 1));
    assert_eq!(leased(&queue.take(stream(), 9).await), [1, 3, 5]);
    let nobody = store.redrive(ConsumerId(i32::MAX), &DeadLetters::All, 3, false).await.unwrap();
    assert_eq!(nobody, Moved { changed: 0, remaining: 0 });
}

/// "Forgets dead letters."
pub(in super::super) async fn discarded_events_are_gone(store: SharedStore) {
    let queue = dead(&store, &[""; 5]).await;
    let id = queue.consumer.id;
    let discard = async |which: DeadLetters, limit| {
        let moved = store.discard(id, &which, limit, false).await.unwrap();
        (moved.changed, moved.remaining)
    };
    assert_eq!(discard(of(&[2, 5]), 9).await, (2, 0));
    assert_eq!(discard(DeadLetters::All, 2).await, (2, 1));
    assert_eq!(queue.dead().await, [4]);
    assert_eq!(discard(DeadLetters::All, 2).await, (1, 0));
    queue.is_quiet().await;
    assert_eq!(queue.position().await, 5);
    let nobody = store.discard(ConsumerId(i32::MAX), &DeadLetters::All, 3, false).await.unwrap();
    assert_eq!(nobody, Moved { changed: 0, remaining: 0 });
}

/// A redriven event waits while its key is leased, and comes before what waits for the key.
pub(in super::super) async fn a_redriven_event_waits_for_its_key(store: SharedStore) {
    let mut queue = dead(&store, &["a", "a", "b"]).await;
    queue.publish(&["a", "a", "b"]).await;
    let lease = queue.take(stream(), 9).await;
    assert_eq!(leased(&lease), [4, 6]);
    assert_eq!(redrive(&queue, &of(&[1, 2]), 9).await, (2, 0));
    queue.is_quiet().await;
    queue.settle(lease.lease, &[(4, nack("no"))]).await;
    for (expected, number) in [(1, 1), (2, 1), (4, 2), (5, 1)] {
        let next = queue.take(stream(), 9).await;
        assert_eq!(attempts(&next), [(expected, number)]);
        queue.is_quiet().await;
        queue.ack(&next).await;
    }
    queue.settle(lease.lease, &[(6, Verdict::Ack)]).await;
    assert_eq!((queue.position().await, queue.dead().await), (6, vec![3]));
}

/// Lower ones that are redriven later still come first.
pub(in super::super) async fn redriven_events_keep_their_order(store: SharedStore) {
    let mut queue = dead(&store, &["a", "a", "a"]).await;
    redrive(&queue, &of(&[3]), 9).await;
    redrive(&queue, &of(&[2]), 9).await;
    let second = queue.take(stream(), 9).await;
    assert_eq!(leased(&second), [2]);
    redrive(&queue, &of(&[1]), 9).await;
    queue.publish(&["a"]).await;
    queue.is_quiet().await;
    queue.settle_all(&second, nack("no")).await;
    for expected in 1..=4 {
        let next = queue.take(stream(), 9).await;
        assert_eq!(leased(&next), [expected]);
        queue.is_quiet().await;
        queue.ack(&next).await;
    }
    queue.is_quiet().await;
}

/// Due events that have to wait for a redriven one leave their room to others.
pub(in super::super) async fn what_waits_behind_a_redriven_event_takes_no_room(store: SharedStore) {
    let queue = Queue::new(&store, patient(), &["a", "a", "", ""]).await;
    let first = queue.take(stream(), 1).await;
    queue.settle_all(&first, reject("bad")).await;
    let rest = queue.take(stream(), 9).await;
    assert_eq!(leased(&rest), [2, 3, 4]);
    queue.settle_all(&rest, nack("no")).await;
    redrive(&queue, &of(&[1]), 9).await;
    let one_by_one = async || leased(&queue.take(stream(), 1).await)[0];
    let mut taken = [one_by_one().await, one_by_one().await, one_by_one().await];
    taken.sort_unstable();
    assert_eq!(taken, [1, 3, 4]);
    queue.is_quiet().await;
}

/// An event that is on its way anyway, since the consumer was moved, is not doubled.
pub(in super::super) async fn what_is_on_its_way_is_merely_forgotten(store: SharedStore) {
    let mut queue = dead(&store, &["", "a", "a", ""]).await;
    queue.seek(0).await;
    let lease = queue.take(stream(), 2).await;
    assert_eq!(leased(&lease), [1, 2]);
    let claimed = queue.claim(vec![taker(stream(), 0)]).await;
    assert_eq!(claimed.dispatched, at(2));
    assert_eq!(redrive(&queue, &DeadLetters::All, 9).await, (4, 0));
    assert_eq!(queue.dead().await, [0; 0]);
    assert_eq!(attempts(&queue.take(stream(), 9).await), [(4, 1)]);
    queue.ack(&lease).await;
    assert_eq!(attempts(&queue.take(stream(), 9).await), [(3, 1)]);
    queue.is_quiet().await;
}

/// "Two calls at the same time change each of them once."
pub(in super::super) async fn two_calls_change_each_once(store: SharedStore) {
    let queue = dead(&store, &[""; 40]).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..8 {
        let (store, id) = (store.clone(), queue.consumer.id);
        tasks.spawn(async move {
            match n % 2 {
                0 => (store.redrive(id, &DeadLetters::All, 7, false).await.unwrap().changed, 0),
                _ => (0, store.discard(id, &DeadLetters::All, 3, false).await.unwrap().changed),
            }
        });
    }
    let moved = tasks.join_all().await;
    let (redriven, discarded): (Vec<_>, Vec<_>) = moved.into_iter().unzip();
    assert_eq!((redriven.iter().sum::<u64>(), discarded.iter().sum::<u64>()), (28, 12));
    assert_eq!(queue.dead().await, [0; 0]);
    let again = queue.take(stream(), 100).await;
    assert_eq!(again.deliveries.len(), 28);
    queue.is_quiet().await;
}
