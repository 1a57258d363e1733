//! "Leases events: first those that are due, then candidates, spread evenly over the takers with room."

use std::collections::BTreeSet;

use eventflow::{
    domain::{ConsumerId, Offset, QueueClaim, QueuePolicy, Taker},
    store::{ClaimError, SharedStore},
};
use uuid::Uuid;

use super::{
    super::fixtures::{LONG, at},
    Queue, attempts, leased, nack, patient, stream, taker,
};

/// "They are spread evenly over the takers with room."
pub(in super::super) async fn candidates_are_spread_over_the_takers(store: SharedStore) {
    let queue = Queue::of(&store, patient(), 10).await;
    let takers = vec![taker(stream(), 100), taker(stream(), 100), taker(stream(), 100)];
    let claimed = queue.claim(takers.clone()).await;
    let mut sizes: Vec<_> = claimed.leases.iter().map(|lease| lease.deliveries.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [3, 3, 4]);
    let offsets: BTreeSet<_> = claimed.leases.iter().flat_map(leased).collect();
    assert_eq!(offsets, (1..=10).collect());
    assert!(claimed.leases.iter().all(|lease| attempts(lease).iter().all(|(_, number)| *number == 1)));
    assert!(claimed.leases.iter().all(|lease| !lease.alone && lease.remaining == LONG));
    assert_eq!(claimed.dispatched, at(10));
    assert_eq!((claimed.full, claimed.alone_waiting), (false, 0));
    let next = claimed.next.expect("a lease ends");
    assert!(next <= LONG && next > LONG / 2, "{next:?}");
    for (place, asked) in takers.iter().enumerate() {
        let lease = claimed.leases.iter().find(|lease| lease.token == asked.token).unwrap();
        assert_eq!(lease.deliveries.len(), claimed.in_flight[place]);
    }
    let ids: BTreeSet<_> = claimed.leases.iter().map(|lease| lease.lease).collect();
    assert_eq!(ids.len(), 3);
}

/// "Deliveries that may be leased to the stream at once, those it has included."
pub(in super::super) async fn no_taker_gets_more_than_it_has_room_for(store: SharedStore) {
    let queue = Queue::of(&store, patient(), 60).await;
    let (wide, narrow, shut) = (stream(), stream(), stream());
    let claimed = queue.claim(vec![taker(wide, 50), taker(narrow, 2), taker(shut, 0)]).await;
    assert_eq!(claimed.in_flight, [50, 2, 0]);
    let offsets: BTreeSet<_> = claimed.leases.iter().flat_map(leased).collect();
    assert_eq!(offsets, (1..=52).collect(), "each once, none left out");
    assert_eq!(claimed.dispatched, at(52));
    let claimed = queue.claim(vec![taker(wide, 50), taker(narrow, 4)]).await;
    assert_eq!(claimed.in_flight, [50, 4]);
    let last = queue.take(stream(), 100).await;
    assert_eq!(leased(&last), (55..=60).collect::<Vec<_>>());
    assert_eq!(queue.is_quiet().await.dispatched, at(60));
}

/// "Deliveries leased at once, over all streams."
pub(in super::super) async fn no_more_are_in_flight_than_the_consumer_allows(store: SharedStore) {
    let queue = Queue::of(&store, QueuePolicy { max_in_flight: 4, ..patient() }, 9).await;
    let first = queue.claim(vec![taker(stream(), 3)]).await;
    assert_eq!((leased(&first.leases[0]), first.full), (vec![1, 2, 3], false));
    let second = queue.claim(vec![taker(stream(), 3), taker(stream(), 3)]).await;
    assert_eq!(second.leases.iter().flat_map(leased).collect::<Vec<_>>(), [4]);
    assert!(second.full);
    assert!(queue.is_quiet().await.full);
    assert!(queue.ack(&first.leases[0]).await.news, "others may claim again");
    let third = queue.claim(vec![taker(stream(), 9)]).await;
    assert_eq!((leased(&third.leases[0]), third.full), (vec![5, 6, 7], true));
}

/// A call has no stream: it is counted by itself, and not bound to a server.
pub(in super::super) async fn single_calls_get_leases(store: SharedStore) {
    let queue = Queue::of(&store, patient(), 6).await;
    let call = || Taker { token: Uuid::new_v4(), stream: None, max: 2 };
    let claimed = queue.claim(vec![call(), call()]).await;
    assert_eq!(claimed.in_flight, [2, 2]);
    store.leave(queue.server).await.unwrap();
    assert_eq!(leased(&queue.claim(vec![call()]).await.leases[0]), [5, 6]);
    for lease in &claimed.leases {
        queue.ack(lease).await;
    }
}

/// "Candidates at or below the dispatched offset are left out."
pub(in super::super) async fn what_was_dispatched_is_not_dispatched_again(store: SharedStore) {
    let mut queue = Queue::of(&store, patient(), 5).await;
    assert_eq!(leased(&queue.take(stream(), 3).await), [1, 2, 3]);
    let request = QueueClaim { after: at(2), ..queue.request(vec![taker(stream(), 9)]) };
    let claimed = store.claim(&request).await.unwrap();
    assert_eq!(leased(&claimed.leases[0]), [4, 5]);
    queue.publish(&["", ""]).await;
    assert_eq!(leased(&queue.take(stream(), 9).await), [6, 7]);
    queue.is_quiet().await;
}

/// "If the dispatched offset is not from `after` to `up_to`, all of them are."
pub(in super::super) async fn a_range_beside_the_dispatched_offset_is_ignored(store: SharedStore) {
    let queue = Queue::of(&store, patient(), 8).await;
    queue.take(stream(), 4).await;
    let ahead = QueueClaim { after: at(5), ..queue.request(vec![taker(stream(), 9)]) };
    let behind = QueueClaim { up_to: at(3), ..queue.request(vec![taker(stream(), 9)]) };
    for request in [ahead, behind] {
        let claimed = store.claim(&request).await.unwrap();
        assert_eq!((claimed.leases, claimed.dispatched), (vec![], at(4)));
    }
    let touching = QueueClaim { after: at(4), ..queue.request(vec![taker(stream(), 9)]) };
    assert_eq!(leased(&store.claim(&touching).await.unwrap().leases[0]), [5, 6, 7, 8]);
}

/// "Up to here the candidates are complete": what the filter left out is dispatched with the others.
pub(in super::super) async fn what_the_filter_leaves_out_is_passed_over(store: SharedStore) {
    let queue = Queue::of(&store, patient(), 9).await;
    let mut request = queue.request(vec![taker(stream(), 2)]);
    request.candidates.retain(|candidate| [3, 5, 7].contains(&candidate.offset.get()));
    let claimed = store.claim(&request).await.unwrap();
    assert_eq!((leased(&claimed.leases[0]), claimed.dispatched), (vec![3, 5], at(6)));
    assert_eq!(queue.position().await, 2);
    queue.ack(&claimed.leases[0]).await;
    assert_eq!(queue.position().await, 6);
    request.takers = vec![taker(stream(), 2)];
    let claimed = store.claim(&request).await.unwrap();
    assert_eq!((leased(&claimed.leases[0]), claimed.dispatched), (vec![7], at(9)));
}

/// "Note how far the consumer is, also if there is nothing to deliver."
pub(in super::super) async fn a_note_moves_the_position(store: SharedStore) {
    let queue = Queue::of(&store, patient(), 9).await;
    let nothing = QueueClaim { candidates: vec![], ..queue.request(vec![]) };
    assert_eq!(store.claim(&nothing).await.unwrap().dispatched, Offset::ZERO);
    assert_eq!(queue.position().await, 0);
    let noted = QueueClaim { note: true, up_to: at(7), ..nothing };
    assert_eq!(store.claim(&noted).await.unwrap().dispatched, at(7));
    assert_eq!(queue.position().await, 7);
    assert_eq!(store.claim(&noted).await.unwrap().dispatched, at(7));
    assert_eq!(leased(&queue.take(stream(), 9).await), [8, 9]);
}

/// "A repeated claim gets what it got before, if it did."
pub(in super::super) async fn a_repeated_claim_finds_its_leases(store: SharedStore) {
    let mut queue = Queue::of(&store, patient(), 6).await;
    let failed = queue.take(stream(), 1).await;
    queue.settle_all(&failed, nack("once")).await;
    let mut request = queue.request(vec![taker(stream(), 2), taker(stream(), 2)]);
    let mut first = store.claim(&request).await.unwrap();
    request.repeated = true;
    let mut again = store.claim(&request).await.unwrap();
    assert_eq!((again.in_flight, again.dispatched), (vec![2, 2], first.dispatched));
    for leases in [&mut first.leases, &mut again.leases] {
        leases.sort_by_key(|lease| lease.lease);
    }
    for (lease, found) in first.leases.iter().zip(&again.leases) {
        assert_eq!((lease.token, lease.lease, &lease.deliveries), (found.token, found.lease, &found.deliveries));
        assert!(found.remaining <= lease.remaining);
    }
    assert_eq!(again.leases.len(), 2);
    // One that was never seen takes what there is.
    let other = QueueClaim { repeated: true, ..queue.request(vec![taker(stream(), 9)]) };
    assert_eq!(leased(&store.claim(&other).await.unwrap().leases[0]), [5, 6]);
    // What a lost reply had is not lost by a change.
    queue.last_for(LONG).await;
    assert_eq!(store.claim(&request).await.unwrap().leases.len(), 2);
}

/// "It has another revision", "Delivery is stopped", "There is no such consumer (any more)".
pub(in super::super) async fn a_claim_that_knows_too_little_is_refused(store: SharedStore) {
    let mut queue = Queue::of(&store, patient(), 3).await;
    let name = queue.consumer.settings.name.clone();
    let old = queue.request(vec![taker(stream(), 1)]);
    queue.last_for(LONG).await;
    let refused = store.claim(&old).await;
    assert!(matches!(refused, Err(ClaimError::Changed)), "{refused:?}");
    store.pause_consumer(&name, true).await.unwrap();
    let refused = queue.try_claim(vec![taker(stream(), 1)]).await;
    assert!(matches!(refused, Err(ClaimError::Paused)), "{refused:?}");
    store.pause_consumer(&name, false).await.unwrap();
    assert_eq!(leased(&queue.take(stream(), 1).await), [1]);
    let nobody = QueueClaim { consumer: ConsumerId(i32::MAX), ..queue.request(vec![]) };
    let refused = store.claim(&nobody).await;
    assert!(matches!(refused, Err(ClaimError::NotFound)), "{refused:?}");
    store.delete_consumer(&name).await.unwrap();
    let refused = queue.try_claim(vec![taker(stream(), 1)]).await;
    assert!(matches!(refused, Err(ClaimError::NotFound)), "{refused:?}");
}

/// "The calls of all servers come one after the other."
pub(in super::super) async fn claims_at_the_same_time_share_the_events(store: SharedStore) {
    let queue = Queue::of(&store, patient(), 200).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (store, request) = (store.clone(), queue.request(vec![taker(stream(), 25)]));
        tasks.spawn(async move { store.claim(&request).await.unwrap() });
    }
    let claimed = tasks.join_all().await;
    let mut offsets: Vec<_> = claimed.iter().flat_map(|claimed| &claimed.leases).flat_map(leased).collect();
    offsets.sort_unstable();
    assert_eq!(offsets, (1..=200).collect::<Vec<_>>());
}
