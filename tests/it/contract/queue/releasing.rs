//! "Ends the leases of a stream and forgets its connection."

use std::time::Duration;

use eventflow::{
    domain::{QueuePolicy, Unsettled, Verdict},
    store::SharedStore,
};

use super::{
    super::fixtures::{LONG, claim},
    Queue, attempts, leased, patient, stream, taker,
};

/// "What was not sent is due again as if it had never been leased."
pub(in super::super) async fn what_was_not_sent_was_never_leased(store: SharedStore) {
    let queue = Queue::new(&store, patient(), &["a", "a", "", ""]).await;
    let gone = stream();
    let lease = queue.take(gone, 9).await;
    assert_eq!(leased(&lease), [1, 3, 4]);
    queue.settle(lease.lease, &[(3, Verdict::Ack)]).await;
    let unsent: Vec<_> = [1, 3, 4].map(|offset| (lease.lease, offset)).into();
    assert!(queue.release(gone, &unsent, false).await);
    assert!(!queue.release(gone, &unsent, false).await, "nothing is left");
    assert_eq!((queue.status().await.in_flight, queue.status().await.retrying), (0, 0));
    assert_eq!(queue.position().await, 0);
    let again = queue.take(stream(), 9).await;
    assert_eq!((attempts(&again), again.alone), (vec![(1, 1), (4, 1)], false));
    assert_eq!(queue.refusal(&lease).await, Unsettled::Lost);
    queue.ack(&again).await;
    assert_eq!(attempts(&queue.take(stream(), 9).await), [(2, 1)]);
}

/// What was not sent of a retry has as many attempts as before.
pub(in super::super) async fn an_unsent_retry_counts_no_attempt(store: SharedStore) {
    let queue = Queue::of(&store, patient(), 1).await;
    let lost = stream();
    queue.take(lost, 1).await;
    assert!(queue.release(lost, &[], false).await);
    let held = stream();
    let retry = queue.take(held, 1).await;
    assert_eq!((attempts(&retry), retry.alone), (vec![(1, 2)], true));
    assert!(queue.release(held, &[(retry.lease, 1)], true).await);
    assert_eq!(queue.status().await.retrying, 1);
    let again = queue.take(stream(), 1).await;
    assert_eq!((attempts(&again), again.alone), (vec![(1, 2)], true));
}

/// "The rest is due again at once, as what is lost."
pub(in super::super) async fn what_was_sent_comes_again_alone(store: SharedStore) {
    let queue = Queue::of(&store, patient(), 4).await;
    let (gone, other) = (stream(), stream());
    let lease = queue.take(gone, 3).await;
    let kept = queue.take(other, 9).await;
    assert!(queue.release(gone, &[(lease.lease, 3)], false).await);
    for expected in [1, 2] {
        let alone = queue.take(stream(), 9).await;
        assert_eq!((attempts(&alone), alone.alone), (vec![(expected, 2)], true));
    }
    let unsent = queue.take(stream(), 9).await;
    assert_eq!((attempts(&unsent), unsent.alone), (vec![(3, 1)], false));
    assert_eq!(queue.refusal(&lease).await, Unsettled::Lost);
    queue.ack(&kept).await;
}

/// "With `keep` stays leased until its time is over", also if its server is gone.
pub(in super::super) async fn what_is_kept_can_be_settled_on_another_stream(store: SharedStore) {
    let mut queue = Queue::of(&store, QueuePolicy { lease: Duration::from_secs(1), ..patient() }, 3).await;
    let gone = stream();
    let lease = queue.take(gone, 3).await;
    queue.last_for(LONG).await;
    assert!(queue.release(gone, &[(lease.lease, 2)], true).await);
    assert!(!queue.release(gone, &[], true).await);
    store.leave(queue.server).await.unwrap();
    assert_eq!(queue.settle(lease.lease, &[(1, Verdict::Ack)]).await.failures, []);
    assert_eq!(queue.status().await.in_flight, 1);
    store.beat(queue.server, "10.0.0.1:50051", "1", LONG).await.unwrap();
    assert_eq!(attempts(&queue.take(stream(), 9).await), [(2, 1)]);
    queue.is_quiet().await;
    tokio::time::sleep(Duration::from_millis(1010)).await;
    let alone = queue.take(stream(), 9).await;
    assert_eq!((attempts(&alone), alone.alone), (vec![(3, 2)], true));
}

/// "What was sent as often as the consumer allows becomes a dead letter."
pub(in super::super) async fn giving_up_streams_uses_up_attempts(store: SharedStore) {
    let queue = Queue::of(&store, QueuePolicy { max_attempts: 2, ..patient() }, 2).await;
    for number in 1..=2 {
        let gone = stream();
        let lease = queue.take(gone, 1).await;
        assert_eq!(attempts(&lease), [(1, number)]);
        queue.release(gone, &[], false).await;
    }
    assert_eq!(queue.dead().await, [1]);
    assert_eq!(attempts(&queue.take(stream(), 9).await), [(2, 1)]);
}

/// "Forgets its connection", and no other.
pub(in super::super) async fn a_released_stream_is_no_connection(store: SharedStore) {
    let queue = Queue::of(&store, patient(), 2).await;
    let (one, other) = (claim(LONG), claim(LONG));
    store.attend(&[(queue.consumer.id, one.clone()), (queue.consumer.id, other.clone())], LONG).await.unwrap();
    let held = queue.take(other.subscription, 9).await;
    assert!(!queue.release(one.subscription, &[], false).await);
    let (connections, total) = store.connections(queue.consumer.id, 9).await.unwrap();
    assert_eq!((connections[0].subscription, total), (other.subscription, 1));
    queue.ack(&held).await;
    assert!(queue.claim(vec![taker(one.subscription, 1)]).await.leases.is_empty());
}
