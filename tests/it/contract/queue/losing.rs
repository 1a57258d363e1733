//! "A lease whose time is over, or whose server is not alive, is lost; each of its events is then delivered
//! alone, to a stream that has no other delivery until it is settled."

use std::time::Duration;

use eventflow::{
    domain::{DeadCause, QueuePolicy, ServerId, Unsettled, Verdict},
    store::SharedStore,
};
use uuid::Uuid;

use super::{
    super::fixtures::{LONG, SHORT, moment},
    Queue, attempts, leased, nack, patient, stream, taker,
};

/// One whose next lease is lost at once; later ones last.
async fn lost(store: &SharedStore, keys: &[&str]) -> (Queue, eventflow::domain::Leased) {
    let mut queue = Queue::new(store, QueuePolicy { lease: SHORT, ..patient() }, keys).await;
    let lease = queue.take(stream(), 100).await;
    queue.last_for(LONG).await;
    moment().await;
    (queue, lease)
}

/// "Each of which is then delivered alone", one for each stream, and not to one that has something.
pub(in super::super) async fn lost_events_come_alone(store: SharedStore) {
    let (mut queue, first) = lost(&store, &["", "", ""]).await;
    queue.publish(&["", ""]).await;
    let (one, other) = (stream(), stream());
    let claimed = queue.claim(vec![taker(one, 10), taker(other, 10)]).await;
    let found: Vec<_> = claimed.leases.iter().map(|lease| (attempts(lease), lease.alone)).collect();
    assert_eq!(found, [(vec![(1, 2)], true), (vec![(2, 2)], true)]);
    assert_eq!((claimed.alone_waiting, claimed.in_flight), (1, vec![1, 1]));
    let claimed = queue.claim(vec![taker(one, 10), taker(other, 10)]).await;
    assert_eq!((claimed.leases, claimed.in_flight), (vec![], vec![1, 1]), "they get nothing else");
    // A stream that has something else goes on with what need not be alone.
    let busy = stream();
    let third = queue.take(busy, 10).await;
    assert_eq!((attempts(&third), third.alone), (vec![(3, 2)], true));
    queue.ack(&third).await;
    assert_eq!(leased(&queue.take(busy, 1).await), [4]);
    assert_eq!(queue.refusal(&first).await, Unsettled::Lost);
}

/// A stream with deliveries gets no lost event, and is told of it.
pub(in super::super) async fn who_has_something_gets_nothing_lost(store: SharedStore) {
    let mut queue = Queue::of(&store, patient(), 2).await;
    let busy = stream();
    let held = queue.take(busy, 1).await;
    queue.last_for(SHORT).await;
    queue.take(stream(), 1).await;
    queue.last_for(LONG).await;
    moment().await;
    let claimed = queue.claim(vec![taker(busy, 10)]).await;
    assert_eq!((claimed.leases, claimed.alone_waiting), (vec![], 1));
    queue.ack(&held).await;
    let alone = queue.take(busy, 10).await;
    assert_eq!((attempts(&alone), alone.alone), (vec![(2, 2)], true));
}

/// A worker that answers, even with a failure, is alive: its event need not be alone next time.
pub(in super::super) async fn after_an_answer_events_come_together(store: SharedStore) {
    let (queue, _) = lost(&store, &["", ""]).await;
    for _ in 0..2 {
        let alone = queue.take(stream(), 9).await;
        assert!(alone.alone);
        queue.settle_all(&alone, Verdict::Nack { error: "no".into(), delay: Some(Duration::from_millis(100)) }).await;
    }
    tokio::time::sleep(Duration::from_millis(110)).await;
    let together = queue.take(stream(), 9).await;
    assert_eq!((attempts(&together), together.alone), (vec![(1, 3), (2, 3)], false));
}

/// "`attempt` counts every time the event may have been sent": a dead letter after the last one, once.
pub(in super::super) async fn lost_events_use_up_their_attempts(store: SharedStore) {
    let mut queue = Queue::new(&store, QueuePolicy { lease: SHORT, ..patient() }, &["a", "a"]).await;
    for number in 1..=3 {
        let lease = queue.take(stream(), 9).await;
        assert_eq!((attempts(&lease), lease.alone), (vec![(1, number)], number > 1));
        moment().await;
    }
    queue.last_for(LONG).await;
    let next = queue.take(stream(), 9).await;
    assert_eq!((attempts(&next), next.alone), (vec![(2, 1)], false));
    let dead = queue.dead_letters().await;
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].attempts, dead[0].cause, &*dead[0].error), (3, DeadCause::MaxAttempts, ""));
    assert!(dead[0].last_sent.unwrap().since(dead[0].first_sent.unwrap()) >= Duration::from_millis(40));
}

/// "Whose server is not alive": it left, or was killed.
pub(in super::super) async fn the_leases_of_a_dead_server_are_lost(store: SharedStore) {
    let mut queue = Queue::of(&store, patient(), 3).await;
    let lease = queue.take(stream(), 1).await;
    store.leave(queue.server).await.unwrap();
    assert_eq!(queue.refusal(&lease).await, Unsettled::Lost);
    assert_eq!(queue.status().await.retrying, 1);

    queue.server = ServerId(Uuid::new_v4());
    store.beat(queue.server, "killed", "1", Duration::from_secs(1)).await.unwrap();
    let lease = queue.take(stream(), 1).await;
    assert_eq!(attempts(&lease), [(1, 2)]);
    tokio::time::sleep(Duration::from_millis(1010)).await;
    queue.server = ServerId(Uuid::new_v4());
    store.beat(queue.server, "10.0.0.3:50051", "1", LONG).await.unwrap();
    let again = queue.take(stream(), 1).await;
    assert_eq!((attempts(&again), again.alone), (vec![(1, 3)], true));
    assert_eq!(queue.refusal(&lease).await, Unsettled::Lost);
}

/// Also what was extended is lost with its server.
pub(in super::super) async fn an_extension_does_not_outlive_the_server(store: SharedStore) {
    let mut queue = Queue::of(&store, QueuePolicy { lease: Duration::from_secs(1), ..patient() }, 2).await;
    let lease = queue.take(stream(), 2).await;
    queue.last_for(LONG).await;
    assert_eq!(queue.settle(lease.lease, &[(2, Verdict::Extend)]).await.failures, []);
    store.leave(queue.server).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1010)).await;
    let settled = queue.settle(lease.lease, &[(1, Verdict::Ack), (2, Verdict::Ack)]).await;
    assert_eq!(settled.failures, [(0, Unsettled::Lost), (1, Unsettled::Lost)]);
}

/// What was lost keeps its key, and its order.
pub(in super::super) async fn a_lost_event_holds_its_key(store: SharedStore) {
    let (queue, _) = lost(&store, &["a", "a", "b"]).await;
    let one = queue.take(stream(), 9).await;
    let other = queue.take(stream(), 9).await;
    assert_eq!((attempts(&one), attempts(&other)), (vec![(1, 2)], vec![(3, 2)]));
    queue.is_quiet().await;
    queue.settle_all(&one, nack("no")).await;
    assert_eq!(attempts(&queue.take(stream(), 9).await), [(1, 3)]);
    queue.is_quiet().await;
}
