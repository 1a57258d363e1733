//! "Settles deliveries, each at most once in a call; what cannot be settled is named, and changes nothing."

use std::time::{Duration, Instant};

use eventflow::{
    domain::{ConsumerId, DeadCause, LeaseId, QueuePolicy, Settlement, Unsettled, Verdict},
    store::{SettleError, SharedStore},
};

use super::{
    super::fixtures::{LONG, at, moment},
    Queue, attempts, leased, nack, patient, reject, stream, taker,
};

/// What was acknowledged never comes again.
pub(in super::super) async fn an_ack_is_final(store: SharedStore) {
    let queue = Queue::of(&store, patient(), 5).await;
    let lease = queue.take(stream(), 5).await;
    let settled = queue.settle(lease.lease, &[(4, Verdict::Ack), (2, Verdict::Ack)]).await;
    assert_eq!((settled.failures, settled.lease, settled.news), (vec![], LONG, false));
    assert_eq!((queue.position().await, queue.status().await.in_flight), (0, 3));
    queue.settle(lease.lease, &[(1, Verdict::Ack)]).await;
    assert_eq!(queue.position().await, 2);
    queue.settle(lease.lease, &[(3, Verdict::Ack), (5, Verdict::Ack)]).await;
    assert_eq!((queue.position().await, queue.status().await.in_flight), (5, 0));
    queue.is_quiet().await;
    assert_eq!(queue.dead().await, [0; 0]);
}

/// "What cannot be settled is named, and changes nothing", and the rest is settled.
pub(in super::super) async fn what_cannot_be_settled_is_named(store: SharedStore) {
    let queue = Queue::of(&store, patient(), 6).await;
    let (one, other) = (queue.take(stream(), 3).await, queue.take(stream(), 3).await);
    queue.settle(one.lease, &[(1, Verdict::Ack), (2, nack("no"))]).await;
    let settlement = |lease, offset, verdict| Settlement { lease, offset: at(offset), verdict };
    let future = LeaseId(other.lease.0 + 1_000_000);
    let settlements = [
        settlement(other.lease, 6, Verdict::Ack),
        settlement(one.lease, 1, Verdict::Ack),
        settlement(one.lease, 6, Verdict::Ack),
        settlement(other.lease, 4, nack("no")),
        settlement(one.lease, 2, Verdict::Extend),
        settlement(future, 5, Verdict::Ack),
        settlement(one.lease, 3, Verdict::Ack),
    ];
    let settled = store.settle(queue.consumer.id, &settlements).await.unwrap();
    let (already, unknown) = (Unsettled::AlreadySettled, Unsettled::Unknown);
    assert_eq!(settled.failures, [(1, already), (2, unknown), (4, already), (5, unknown)]);
    assert_eq!(queue.status().await.in_flight, 1);
    assert_eq!(attempts(&queue.take(stream(), 9).await), [(2, 2), (4, 2)]);
    for lease in [&one, &other] {
        assert_eq!(queue.refusal(lease).await, already, "it stays so");
    }
    let nobody = store.settle(ConsumerId(i32::MAX), &settlements).await;
    assert!(matches!(nobody, Err(SettleError::NotFound)), "{nobody:?}");
}

/// "It failed": after the pause that was asked for it comes again, with the next attempt.
pub(in super::super) async fn a_nack_comes_again_after_its_delay(store: SharedStore) {
    let queue = Queue::of(&store, QueuePolicy { backoff: vec![LONG], ..patient() }, 3).await;
    let lease = queue.take(stream(), 3).await;
    let soon = Verdict::Nack { error: "busy".into(), delay: Some(Duration::from_secs(1)) };
    let settled = queue.settle(lease.lease, &[(1, soon), (2, nack("now"))]).await;
    assert!(settled.news);
    assert_eq!(queue.status().await.retrying, 2);
    let now = queue.claim(vec![taker(stream(), 9)]).await;
    assert_eq!((attempts(&now.leases[0]), now.leases[0].alone), (vec![(2, 2)], false));
    let next = now.next.expect("one is due");
    assert!(next <= Duration::from_secs(1), "{next:?}");
    tokio::time::sleep(next).await;
    assert_eq!(attempts(&queue.take(stream(), 9).await), [(1, 2)]);
    assert_eq!(queue.position().await, 0);
}

/// "The consumer's backoff": its pauses in turn, the last one again and again, give or take a tenth.
pub(in super::super) async fn the_backoff_gives_the_pauses(store: SharedStore) {
    let hour = Duration::from_secs(3600);
    for (backoff, first) in [(vec![Duration::ZERO, hour], None), (vec![hour], Some(Duration::ZERO))] {
        let queue = Queue::of(&store, QueuePolicy { backoff, ..patient() }, 30).await;
        let lease = queue.take(stream(), 30).await;
        queue.settle_all(&lease, Verdict::Nack { error: "no".into(), delay: first }).await;
        let again = queue.take(stream(), 30).await;
        assert_eq!(again.deliveries.len(), 30);
        queue.settle_all(&again, Verdict::Nack { error: "no".into(), delay: None }).await;
        // Of thirty that wait for about an hour, the first one has less.
        let next = queue.is_quiet().await.next.expect("they are due");
        assert!(next > hour.mul_f64(0.88) && next < hour.mul_f64(0.995), "{next:?}");
    }
}

/// "Not before": no retry comes before the least that the pause may be.
pub(in super::super) async fn no_retry_comes_early(store: SharedStore) {
    let pause = Duration::from_millis(200);
    let queue = Queue::of(&store, QueuePolicy { backoff: vec![pause], ..patient() }, 30).await;
    let lease = queue.take(stream(), 30).await;
    let failed = Instant::now();
    queue.settle_all(&lease, Verdict::Nack { error: "no".into(), delay: None }).await;
    let mut found = 0;
    while found < 30 {
        let claimed = queue.claim(vec![taker(stream(), 30)]).await;
        let waited = failed.elapsed();
        assert!(claimed.leases.is_empty() || waited >= pause.mul_f64(0.9), "{waited:?} instead of {pause:?}");
        found += claimed.leases.iter().flat_map(leased).count();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// "It is given up": with its attempts, its error, and when it was sent.
pub(in super::super) async fn a_rejected_event_is_a_dead_letter(store: SharedStore) {
    let queue = Queue::new(&store, patient(), &["a", ""]).await;
    let lease = queue.take(stream(), 2).await;
    queue.settle(lease.lease, &[(1, nack("first")), (2, reject("worse"))]).await;
    moment().await;
    let again = queue.take(stream(), 2).await;
    queue.settle_all(&again, reject("")).await;
    let dead = queue.dead_letters().await;
    assert_eq!(dead.len(), 2);
    let found: Vec<_> = dead.iter().map(|dead| (dead.offset.get(), &*dead.key, dead.attempts, &*dead.error)).collect();
    assert_eq!(found, [(1, "a", 2, "first"), (2, "", 1, "worse")]);
    assert!(dead.iter().all(|dead| dead.cause == DeadCause::Rejected));
    let (first, last) = (dead[0].first_sent.unwrap(), dead[0].last_sent.unwrap());
    assert!(last.since(first) >= Duration::from_millis(20) && dead[0].dead_time >= last);
    assert_eq!(dead[1].first_sent, dead[1].last_sent);
    assert_eq!((queue.position().await, queue.status().await.dead_letters), (2, 2));
    queue.is_quiet().await;
}

/// "What was sent as often as the consumer allows becomes a dead letter": once, with all its attempts.
pub(in super::super) async fn the_last_attempt_makes_a_dead_letter(store: SharedStore) {
    let queue = Queue::of(&store, patient(), 1).await;
    for number in 1..=3 {
        let lease = queue.take(stream(), 1).await;
        assert_eq!(attempts(&lease), [(1, number)]);
        assert_eq!(queue.dead().await, [0; 0]);
        queue.settle_all(&lease, nack(&format!("error {number}"))).await;
    }
    queue.is_quiet().await;
    let dead = queue.dead_letters().await.remove(0);
    assert_eq!((dead.attempts, dead.cause, &*dead.error), (3, DeadCause::MaxAttempts, "error 3"));
}

/// "It needs another lease period": what is extended lives on, the rest of its lease ends.
pub(in super::super) async fn only_the_extended_live_on(store: SharedStore) {
    let mut queue = Queue::of(&store, QueuePolicy { lease: Duration::from_secs(1), ..patient() }, 3).await;
    let lease = queue.take(stream(), 3).await;
    queue.last_for(LONG).await;
    let settled = queue.settle(lease.lease, &[(2, Verdict::Extend)]).await;
    assert_eq!((settled.failures, settled.lease), (vec![], LONG));
    assert_eq!(queue.status().await.in_flight, 3);
    tokio::time::sleep(Duration::from_millis(1010)).await;
    assert_eq!((queue.status().await.in_flight, queue.status().await.retrying), (1, 2));
    let alone = queue.take(stream(), 9).await;
    assert!(alone.alone);
    assert_eq!(attempts(&alone), [(1, 2)]);
    let settled = queue.settle(lease.lease, &[(1, Verdict::Ack), (2, Verdict::Ack), (3, Verdict::Ack)]).await;
    assert_eq!(settled.failures, [(0, Unsettled::Lost), (2, Unsettled::Lost)]);
}

/// "It was trimmed before it could be sent": it counts as no attempt.
pub(in super::super) async fn what_was_trimmed_was_not_sent(store: SharedStore) {
    let queue = Queue::of(&store, patient(), 2).await;
    let lease = queue.take(stream(), 2).await;
    queue.settle(lease.lease, &[(1, Verdict::Trimmed), (2, nack("no"))]).await;
    let again = queue.take(stream(), 2).await;
    queue.settle_all(&again, Verdict::Trimmed).await;
    let dead = queue.dead_letters().await;
    let found: Vec<_> = dead.iter().map(|dead| (dead.attempts, dead.cause, &*dead.error)).collect();
    assert_eq!(found, [(0, DeadCause::Trimmed, ""), (1, DeadCause::Trimmed, "no")]);
    assert_eq!((dead[0].first_sent, dead[1].first_sent.is_some()), (None, true));
}
