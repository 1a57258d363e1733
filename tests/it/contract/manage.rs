//! Changing, moving and pausing consumers while streams hold them.

use std::time::Duration;

use eventflow::{
    domain::{Consumer, ConsumerChange, ConsumerId, ConsumerName, Filter, RenewedHold, TypePattern},
    store::{CommitError, SharedStore},
};

use super::fixtures::{LONG, SHORT, append, at, batch_of, claim, consumer, moment, topic};

/// A consumer of five events, held.
async fn held(store: &SharedStore) -> Consumer {
    let topic = topic(store).await;
    append(store, topic.id, &batch_of(5)).await;
    let registered = consumer(store, &topic).await;
    store.take_hold(registered.id, &claim(LONG)).await.unwrap().consumer
}

async fn renewed(store: &SharedStore, held: &Consumer) -> Option<RenewedHold> {
    store.renew_holds(&[(held.id, held.epoch)], LONG).await.unwrap().pop()
}

fn nobody() -> ConsumerName {
    ConsumerName::parse("nobody").unwrap()
}

/// "Changes a consumer, raises its revision, and returns it as it is then."
pub(super) async fn a_change_shows_in_the_next_renewal(store: SharedStore) {
    let held = held(&store).await;
    let filter = Filter { types: vec![TypePattern::new("order.*")], ..Filter::default() };
    let change = ConsumerChange { filter: Some(filter.clone()), ..ConsumerChange::default() };
    let changed = store.update_consumer(&held.settings.name, &change).await.unwrap().unwrap();
    assert_eq!((&changed.settings.filter, changed.revision), (&filter, held.revision + 1));
    assert_eq!((changed.epoch, changed.stored), (held.epoch, held.stored), "the stream keeps it");
    assert_eq!(store.find_consumer(&held.settings.name).await.unwrap(), Some(changed.clone()));
    let seen = renewed(&store, &held).await.unwrap();
    assert_eq!((seen.revision, seen.paused), (changed.revision, false));
    store.commit_offset(held.id, held.epoch, at(1)).await.unwrap();
    let same = store.update_consumer(&held.settings.name, &ConsumerChange::default()).await.unwrap().unwrap();
    assert_eq!(same.settings.filter, filter, "what is not named stays");
    assert_eq!(store.update_consumer(&nobody(), &change).await.unwrap(), None);
}

/// "Stops or restarts delivery. Asking for what is so already changes nothing."
pub(super) async fn a_pause_shows_in_the_next_renewal(store: SharedStore) {
    let held = held(&store).await;
    for paused in [true, true, false, false] {
        let seen = store.pause_consumer(&held.settings.name, paused).await.unwrap().unwrap();
        assert_eq!(seen, Consumer { paused, ..held.clone() });
        assert_eq!(renewed(&store, &held).await.unwrap().paused, paused);
    }
    assert_eq!(store.pause_consumer(&nobody(), true).await.unwrap(), None);
}

/// "Moves the stored offset, also back, and gives the consumer a new epoch."
pub(super) async fn a_seek_takes_the_consumer_from_its_stream(store: SharedStore) {
    let held = held(&store).await;
    for offset in [4, 0, 5] {
        let before = store.find_consumer(&held.settings.name).await.unwrap().unwrap();
        let moved = store.seek_consumer(held.id, at(offset)).await.unwrap().unwrap();
        assert_eq!(moved.stored, at(offset));
        assert!(moved.epoch > before.epoch && moved.revision == before.revision + 1);
        assert_eq!(store.find_consumer(&held.settings.name).await.unwrap(), Some(moved));
    }
    assert_eq!(renewed(&store, &held).await, None);
    let refused = store.commit_offset(held.id, held.epoch, at(5)).await;
    assert!(matches!(refused, Err(CommitError::Fenced)), "{refused:?}");
    assert_eq!(store.connections(held.id, 10).await.unwrap().1, 0);
    store.take_hold(held.id, &claim(LONG)).await.expect("it is free");
    assert_eq!(store.seek_consumer(ConsumerId(i32::MAX), at(1)).await.unwrap(), None);
}

/// "Those that were counted before do not count again."
pub(super) async fn trimmed_events_count_once(store: SharedStore) {
    let held = held(&store).await;
    let counted = async || store.find_consumer(&held.settings.name).await.unwrap().unwrap().trimmed_events;
    for (from, to, expected) in [(1, 2, 2), (1, 2, 2), (2, 4, 4), (3, 3, 4), (6, 9, 8)] {
        store.skip_trimmed(held.id, held.epoch, at(from), at(to)).await.unwrap();
        assert_eq!(counted().await, expected, "after {from} to {to}");
    }
    let stale = held.epoch;
    store.seek_consumer(held.id, at(0)).await.unwrap();
    store.skip_trimmed(held.id, stale, at(1), at(100)).await.unwrap();
    assert_eq!(counted().await, 8, "an old stream counted");
}

/// "How long the hold of the stream that has a consumer lasts; `None` if none has it."
pub(super) async fn a_hold_says_how_long_it_lasts(store: SharedStore) {
    let held = held(&store).await;
    let remaining = store.held_for(held.id).await.unwrap().unwrap();
    assert!(remaining > Duration::ZERO && remaining <= LONG, "{remaining:?}");
    store.renew_holds(&[(held.id, held.epoch)], SHORT).await.unwrap();
    moment().await;
    assert_eq!(store.held_for(held.id).await.unwrap(), None, "it ran out");
    store.renew_holds(&[(held.id, held.epoch)], LONG).await.unwrap();
    store.release_hold(held.id, held.epoch).await.unwrap();
    assert_eq!(store.held_for(held.id).await.unwrap(), None);
    assert_eq!(store.held_for(ConsumerId(i32::MAX)).await.unwrap(), None);
}
