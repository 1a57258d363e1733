//! "Takes a consumer for a stream, with a new epoch, and notes the connection."

use std::time::Duration;

use eventflow::{
    domain::{Connection, Consumer, ConsumerId, Epoch},
    store::{Claim, CommitError, HoldError, SharedStore},
};
use tokio::task::JoinSet;

use super::fixtures::{LONG, SHORT, append, at, batch_of, claim, consumer, moment, topic};

const NO_CONSUMER: ConsumerId = ConsumerId(i32::MAX);

async fn own_consumer(store: &SharedStore) -> Consumer {
    let topic = topic(store).await;
    append(store, topic.id, &batch_of(5)).await;
    consumer(store, &topic).await
}

async fn take(store: &SharedStore, consumer: ConsumerId, claim: &Claim) -> Epoch {
    store.take_hold(consumer, claim).await.unwrap().consumer.epoch
}

/// The holds that stand after a renewal.
async fn renew(store: &SharedStore, holds: &[(ConsumerId, Epoch)], lease: Duration) -> Vec<(ConsumerId, Epoch)> {
    let renewed = store.renew_holds(holds, lease).await.unwrap();
    renewed.into_iter().map(|hold| (hold.consumer, hold.epoch)).collect()
}

async fn is_busy(store: &SharedStore, consumer: ConsumerId) -> bool {
    matches!(store.take_hold(consumer, &claim(LONG)).await, Err(HoldError::Busy { .. }))
}

/// "Refused with `HoldError::Busy` while another stream's hold lasts."
pub(super) async fn a_held_consumer_is_busy(store: SharedStore) {
    let registered = own_consumer(&store).await;
    let taken = store.take_hold(registered.id, &claim(LONG)).await.unwrap().consumer;
    assert!(taken.epoch > registered.epoch);
    assert_eq!(taken, Consumer { epoch: taken.epoch, ..registered.clone() });
    assert_eq!(store.find_consumer(&registered.settings.name).await.unwrap(), Some(taken.clone()));
    let refused = store.take_hold(registered.id, &claim(LONG)).await;
    let Err(HoldError::Busy { remaining }) = refused else { panic!("{refused:?}") };
    assert!(remaining > Duration::ZERO && remaining <= LONG, "{remaining:?}");
    assert_eq!(store.find_consumer(&registered.settings.name).await.unwrap(), Some(taken));
}

/// One stream at a time.
pub(super) async fn of_eight_claims_one_succeeds(store: SharedStore) {
    let consumer = own_consumer(&store).await.id;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        tasks.spawn(async move { store.take_hold(consumer, &claim(LONG)).await });
    }
    let results = tasks.join_all().await;
    let busy = results.iter().filter(|result| matches!(result, Err(HoldError::Busy { .. }))).count();
    assert_eq!((results.iter().filter(|result| result.is_ok()).count(), busy), (1, 7), "{results:?}");
}

/// "Unless `claim.take_over`": then the one before is fenced.
pub(super) async fn taking_over_fences_the_one_before(store: SharedStore) {
    let consumer = own_consumer(&store).await.id;
    let first = take(&store, consumer, &claim(LONG)).await;
    let second = take(&store, consumer, &Claim { take_over: true, ..claim(LONG) }).await;
    assert!(second > first);
    let refused = store.commit_offset(consumer, first, at(1)).await;
    assert!(matches!(refused, Err(CommitError::Fenced)), "{refused:?}");
    let standing = renew(&store, &[(consumer, first), (consumer, second)], LONG).await;
    assert_eq!(standing, [(consumer, second)]);
    assert!(is_busy(&store, consumer).await);
    // Nothing to take over is no reason to refuse.
    store.release_hold(consumer, second).await.unwrap();
    assert!(take(&store, consumer, &Claim { take_over: true, ..claim(LONG) }).await > second);
}

/// "Gives a hold back and forgets its connection."
pub(super) async fn a_released_consumer_is_free(store: SharedStore) {
    let consumer = own_consumer(&store).await.id;
    let first = take(&store, consumer, &claim(LONG)).await;
    store.release_hold(consumer, first).await.unwrap();
    assert_eq!(renew(&store, &[(consumer, first)], LONG).await, [], "what was given back stands");
    let second = take(&store, consumer, &claim(LONG)).await;
    assert!(second > first);
}

/// "With another epoch it changes nothing."
pub(super) async fn a_stale_release_changes_nothing(store: SharedStore) {
    let consumer = own_consumer(&store).await.id;
    let first = take(&store, consumer, &claim(LONG)).await;
    let second = take(&store, consumer, &Claim { take_over: true, ..claim(LONG) }).await;
    store.release_hold(consumer, first).await.unwrap();
    store.release_hold(consumer, Epoch(second.0 + 1)).await.unwrap();
    store.release_hold(NO_CONSUMER, second).await.unwrap();
    assert!(is_busy(&store, consumer).await);
    assert_eq!(renew(&store, &[(consumer, second)], LONG).await, [(consumer, second)]);
    assert_eq!(store.connections(consumer, 10).await.unwrap().1, 1);
}

/// "Renews holds for `lease` from now."
pub(super) async fn a_renewed_hold_lasts(store: SharedStore) {
    let consumer = own_consumer(&store).await.id;
    let epoch = take(&store, consumer, &claim(SHORT)).await;
    assert_eq!(renew(&store, &[(consumer, epoch)], LONG).await, [(consumer, epoch)]);
    moment().await;
    assert!(is_busy(&store, consumer).await);
    // From now, not on top of what was left.
    renew(&store, &[(consumer, epoch)], SHORT).await;
    moment().await;
    assert!(!is_busy(&store, consumer).await);
}

/// A hold lasts as long as its lease; another stream may take the consumer then.
pub(super) async fn a_hold_that_ran_out_can_be_taken(store: SharedStore) {
    let consumer = own_consumer(&store).await.id;
    let first = take(&store, consumer, &claim(SHORT)).await;
    moment().await;
    let second = take(&store, consumer, &claim(LONG)).await;
    assert!(second > first);
    assert_eq!(renew(&store, &[(consumer, first)], LONG).await, []);
    let refused = store.commit_offset(consumer, first, at(1)).await;
    assert!(matches!(refused, Err(CommitError::Fenced)), "{refused:?}");
}

/// "A hold that ran out stands as long as no other stream took the consumer."
pub(super) async fn a_hold_that_ran_out_stands_until_taken(store: SharedStore) {
    let consumer = own_consumer(&store).await.id;
    let epoch = take(&store, consumer, &claim(SHORT)).await;
    moment().await;
    assert_eq!(store.commit_offset(consumer, epoch, at(2)).await.unwrap(), at(2));
    assert_eq!(renew(&store, &[(consumer, epoch)], LONG).await, [(consumer, epoch)]);
    assert!(is_busy(&store, consumer).await);
}

/// "By one statement, and returns the ones that still stand."
pub(super) async fn many_holds_are_renewed_at_once(store: SharedStore) {
    let mut holds = Vec::new();
    for _ in 0..20 {
        let consumer = own_consumer(&store).await.id;
        holds.push((consumer, take(&store, consumer, &claim(SHORT)).await));
    }
    let lost = holds[3];
    take(&store, lost.0, &Claim { take_over: true, ..claim(LONG) }).await;
    let asked = [&holds[..], &[(NO_CONSUMER, Epoch(1))]].concat();
    let mut standing = renew(&store, &asked, LONG).await;
    holds.retain(|hold| *hold != lost);
    standing.sort();
    assert_eq!(standing, holds);
    moment().await;
    for (consumer, _) in holds {
        assert!(is_busy(&store, consumer).await);
    }
    assert_eq!(renew(&store, &[], LONG).await, []);
}

/// "Holds and commits of its streams are refused from then on."
pub(super) async fn deleting_ends_the_hold(store: SharedStore) {
    let registered = own_consumer(&store).await;
    let epoch = take(&store, registered.id, &claim(LONG)).await;
    store.delete_consumer(&registered.settings.name).await.unwrap();
    assert_eq!(renew(&store, &[(registered.id, epoch)], LONG).await, []);
    let refused = store.commit_offset(registered.id, epoch, at(1)).await;
    assert!(matches!(refused, Err(CommitError::NotFound)), "{refused:?}");
    let refused = store.take_hold(registered.id, &claim(LONG)).await;
    assert!(matches!(refused, Err(HoldError::NotFound)), "{refused:?}");
    store.release_hold(registered.id, epoch).await.unwrap();
    assert_eq!(store.connections(registered.id, 10).await.unwrap(), (vec![], 0));
}

/// Epochs "are never used again, not even for a consumer registered anew".
pub(super) async fn a_consumer_registered_anew_has_newer_epochs(store: SharedStore) {
    let first = own_consumer(&store).await;
    let epoch = take(&store, first.id, &claim(LONG)).await;
    store.delete_consumer(&first.settings.name).await.unwrap();
    let second = store.register_consumer(&first.settings, first.topic_id, at(0)).await.unwrap();
    assert!(take(&store, second.id, &claim(LONG)).await > epoch);
    let refused = store.commit_offset(second.id, epoch, at(1)).await;
    assert!(matches!(refused, Err(CommitError::Fenced)), "{refused:?}");
}

/// "Frees every consumer."
pub(super) async fn clearing_frees_every_consumer(store: SharedStore) {
    let consumers = [own_consumer(&store).await.id, own_consumer(&store).await.id];
    let mut holds = Vec::new();
    for consumer in consumers {
        holds.push((consumer, take(&store, consumer, &claim(LONG)).await));
    }
    store.clear_holds().await.unwrap();
    assert_eq!(renew(&store, &holds, LONG).await, [], "what was freed stands");
    for (consumer, epoch) in holds {
        assert_eq!(store.connections(consumer, 10).await.unwrap(), (vec![], 0));
        assert!(take(&store, consumer, &claim(LONG)).await > epoch);
    }
}

/// "The streams that serve a consumer now, oldest first, at most `limit`, and how many there are."
pub(super) async fn connections_are_the_streams_that_serve_now(store: SharedStore) {
    let consumer = own_consumer(&store).await.id;
    assert_eq!(store.connections(consumer, 10).await.unwrap(), (vec![], 0));
    let first = claim(LONG);
    take(&store, consumer, &first).await;
    let second = Claim { take_over: true, peer: "[::1]:9".into(), server_name: "server-2:50051".into(), ..claim(LONG) };
    for claim in [&first, &second] {
        if claim.take_over {
            take(&store, consumer, claim).await;
        }
        let (listed, count) = store.connections(consumer, 10).await.unwrap();
        let connect_time = listed[0].connect_time;
        let expected = Connection {
            subscription: claim.subscription,
            peer: claim.peer.clone(),
            server: claim.server_name.clone(),
            connect_time,
        };
        assert_eq!((listed, count), (vec![expected], 1));
    }
    assert_eq!(store.connections(consumer, 0).await.unwrap(), (vec![], 1));
    let epoch = take(&store, consumer, &Claim { take_over: true, ..claim(LONG) }).await;
    store.release_hold(consumer, epoch).await.unwrap();
    assert_eq!(store.connections(consumer, 10).await.unwrap(), (vec![], 0));
    assert_eq!(store.connections(NO_CONSUMER, 10).await.unwrap(), (vec![], 0));
}

/// "There is no such consumer (any more)."
pub(super) async fn a_missing_consumer_is_refused(store: SharedStore) {
    let refused = store.take_hold(NO_CONSUMER, &claim(LONG)).await;
    assert!(matches!(refused, Err(HoldError::NotFound)), "{refused:?}");
}
