//! "Reads a run of events: contiguous, the first one at `after.next()`."

use eventflow::{domain::ReadCap, store::SharedStore};

use super::fixtures::{ALL, NO_TOPIC, append, at, batch_of, offsets, read, topic};

/// "The first one at `after.next()`", also in the middle of a stored run.
pub(super) async fn a_run_is_contiguous_from_anywhere(store: SharedStore) {
    let topic = topic(&store).await.id;
    for count in [10, 1, 5] {
        append(&store, topic, &batch_of(count)).await;
    }
    for after in 0..16 {
        assert_eq!(offsets(&read(&store, topic, after, ALL).await), (after + 1..=16).collect::<Vec<_>>());
        let one = read(&store, topic, after, ReadCap { events: 1, bytes: 1 }).await;
        assert_eq!(one[0].offset, at(after + 1));
    }
}

/// "It stops at the first one that reaches a cap, so it may exceed a cap by one run."
pub(super) async fn a_cap_of_events_stops_at_a_run(store: SharedStore) {
    let topic = topic(&store).await.id;
    for _ in 0..10 {
        append(&store, topic, &batch_of(10)).await;
    }
    for events in [1, 9, 10, 11, 25, 99, 100] {
        let run = read(&store, topic, 0, ReadCap { events, bytes: 1 << 30 }).await;
        assert!(run.len() >= events && run.len() < events + 10, "{events} asked for, {} read", run.len());
        assert_eq!(offsets(&run), (1..=run.len() as i64).collect::<Vec<_>>());
    }
}

/// The same with bytes.
pub(super) async fn a_cap_of_bytes_stops_at_a_run(store: SharedStore) {
    let topic = topic(&store).await.id;
    for _ in 0..50 {
        append(&store, topic, &batch_of(1)).await;
    }
    let size = read(&store, topic, 0, ALL).await[0].body.size();
    for runs in [1, 2, 20, 49] {
        // What an event takes as stored may differ from what it takes in memory, within reason.
        let run = read(&store, topic, 0, ReadCap { events: 1_000_000, bytes: runs * size }).await;
        assert!(run.len() >= runs.div_ceil(8) && run.len() <= runs * 8, "{runs} asked for, {} read", run.len());
    }
}

/// "And returns at least one run if there is any."
pub(super) async fn at_least_one_run_is_read(store: SharedStore) {
    let topic = topic(&store).await.id;
    append(&store, topic, &batch_of(1)).await;
    for cap in [ReadCap { events: 0, bytes: 0 }, ReadCap { events: 1, bytes: 0 }, ReadCap { events: 0, bytes: 9 }] {
        assert_eq!(offsets(&read(&store, topic, 0, cap).await), [1], "{cap:?}");
    }
}

/// "Empty if there is none."
pub(super) async fn nothing_is_after_the_head(store: SharedStore) {
    let topic = topic(&store).await.id;
    assert!(read(&store, topic, 0, ALL).await.is_empty());
    append(&store, topic, &batch_of(3)).await;
    for after in [3, 4, 1_000_000, i64::MAX] {
        let found = store.read(topic, at(after), ALL).await.unwrap().unwrap();
        assert!(found.segment.is_none(), "there is something after {after}");
        assert_eq!(found.trimmed_to, at(0));
    }
}

/// "A topic that does not exist is `None`."
pub(super) async fn a_missing_topic_is_none(store: SharedStore) {
    assert!(store.read(NO_TOPIC, at(0), ALL).await.unwrap().is_none());
}

/// Reading on from the last offset, whatever the cap, misses nothing and repeats nothing.
pub(super) async fn pages_make_up_the_topic(store: SharedStore) {
    let topic = topic(&store).await.id;
    for count in [1, 300, 7, 90, 1, 1, 100] {
        append(&store, topic, &batch_of(count)).await;
    }
    for cap in [ReadCap { events: 7, bytes: 1 << 20 }, ReadCap { events: 1000, bytes: 3000 }] {
        let mut seen = Vec::new();
        loop {
            let page = read(&store, topic, seen.last().copied().unwrap_or(0), cap).await;
            if page.is_empty() {
                break;
            }
            seen.extend(offsets(&page));
        }
        assert_eq!(seen, (1..=500).collect::<Vec<_>>(), "{cap:?}");
    }
}
