//! "Moves the stored offset up to `offset` and returns it."

use eventflow::{
    domain::{Consumer, ConsumerId, Epoch},
    store::{Claim, CommitError, SharedStore},
};

use super::fixtures::{LONG, append, at, batch_of, claim, consumer, topic};

/// A consumer of five events, held.
async fn held(store: &SharedStore) -> Consumer {
    let topic = topic(store).await;
    append(store, topic.id, &batch_of(5)).await;
    let registered = consumer(store, &topic).await;
    store.take_hold(registered.id, &claim(LONG)).await.unwrap().consumer
}

async fn stored(store: &SharedStore, consumer: &Consumer) -> i64 {
    store.find_consumer(&consumer.settings.name).await.unwrap().unwrap().stored.get()
}

/// "At or below the stored one it changes nothing."
pub(super) async fn a_commit_moves_forward_only(store: SharedStore) {
    let held = held(&store).await;
    for (offset, expected) in [(0, 0), (2, 2), (2, 2), (1, 2), (0, 2), (4, 4), (3, 4), (5, 5)] {
        let committed = store.commit_offset(held.id, held.epoch, at(offset)).await.unwrap();
        assert_eq!((committed.get(), stored(&store, &held).await), (expected, expected), "after {offset}");
    }
}

/// "An epoch that is not the consumer's newest is `CommitError::Fenced`."
pub(super) async fn a_stale_epoch_is_fenced(store: SharedStore) {
    let held = held(&store).await;
    store.commit_offset(held.id, held.epoch, at(2)).await.unwrap();
    let newer = store.take_hold(held.id, &Claim { take_over: true, ..claim(LONG) }).await.unwrap().consumer.epoch;
    for epoch in [held.epoch, Epoch(newer.0 + 1), Epoch(0)] {
        for offset in [1, 3] {
            let refused = store.commit_offset(held.id, epoch, at(offset)).await;
            assert!(matches!(refused, Err(CommitError::Fenced)), "{epoch:?}: {refused:?}");
        }
    }
    assert_eq!(stored(&store, &held).await, 2);
    assert_eq!(store.commit_offset(held.id, newer, at(3)).await.unwrap(), at(3));
}

/// "An offset beyond the topic's head is `CommitError::BeyondHead`."
pub(super) async fn an_offset_beyond_the_head_is_refused(store: SharedStore) {
    let held = held(&store).await;
    for offset in [6, i64::MAX] {
        let refused = store.commit_offset(held.id, held.epoch, at(offset)).await;
        assert!(matches!(refused, Err(CommitError::BeyondHead { head }) if head == at(5)), "{refused:?}");
    }
    assert_eq!(stored(&store, &held).await, 0);
    append(&store, held.topic_id, &batch_of(1)).await;
    assert_eq!(store.commit_offset(held.id, held.epoch, at(6)).await.unwrap(), at(6));
    // What was trimmed counts as below the head.
    store.trim(held.topic_id, at(6)).await.unwrap();
    assert_eq!(store.commit_offset(held.id, held.epoch, at(6)).await.unwrap(), at(6));
}

/// A fenced stream learns that first: it must stop, whatever it asked.
pub(super) async fn fencing_is_looked_at_before_the_head(store: SharedStore) {
    let held = held(&store).await;
    store.take_hold(held.id, &Claim { take_over: true, ..claim(LONG) }).await.unwrap();
    let refused = store.commit_offset(held.id, held.epoch, at(100)).await;
    assert!(matches!(refused, Err(CommitError::Fenced)), "{refused:?}");
}

/// The next stream goes on where the one before committed.
pub(super) async fn the_stored_offset_outlives_the_hold(store: SharedStore) {
    let held = held(&store).await;
    store.commit_offset(held.id, held.epoch, at(4)).await.unwrap();
    store.release_hold(held.id, held.epoch).await.unwrap();
    let next = store.take_hold(held.id, &claim(LONG)).await.unwrap().consumer;
    assert_eq!(next.stored, at(4));
}

/// "There is no such consumer (any more)."
pub(super) async fn a_missing_consumer_is_refused(store: SharedStore) {
    let refused = store.commit_offset(ConsumerId(i32::MAX), Epoch(1), at(0)).await;
    assert!(matches!(refused, Err(CommitError::NotFound)), "{refused:?}");
}
