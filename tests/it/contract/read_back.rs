//! "Reads a run of events backwards: contiguous, the last one at `up_to`, or at the head if that is lower."

use eventflow::{
    domain::{Event, ReadCap, TopicId},
    store::SharedStore,
};

use super::fixtures::{ALL, NO_TOPIC, append, at, batch_of, offsets, read, topic};

/// All events up to an offset that one read returns, and whether older ones are kept.
async fn read_back(store: &SharedStore, topic: TopicId, up_to: i64, cap: ReadCap) -> (Vec<Event>, bool) {
    let found = store.read_back(topic, at(up_to), cap).await.unwrap().unwrap();
    (found.segment.map(|segment| segment.events().to_vec()).unwrap_or_default(), found.more)
}

/// "The last one at `up_to`", also in the middle of a stored run, "or at the head if that is lower".
pub(super) async fn a_run_ends_anywhere(store: SharedStore) {
    let topic = topic(&store).await.id;
    for count in [10, 1, 5] {
        append(&store, topic, &batch_of(count)).await;
    }
    let forward = read(&store, topic, 0, ALL).await;
    for up_to in (1..=18).chain([i64::MAX]) {
        let (events, more) = read_back(&store, topic, up_to, ALL).await;
        let last = up_to.min(16);
        assert_eq!((offsets(&events), more), ((1..=last).collect::<Vec<_>>(), false));
        assert!(events.iter().zip(&forward).all(|(back, forward)| back.body == forward.body), "not what was stored");
        let (one, more) = read_back(&store, topic, up_to, ReadCap { events: 1, bytes: 1 }).await;
        let (first, end) = (one[0].offset.get(), one[one.len() - 1].offset.get());
        assert_eq!((end, more), (last, first > 1), "up to {up_to}");
    }
}

/// "The cap is counted from the new end, in whole stored runs, of which what lies after `up_to` is left out."
pub(super) async fn a_cap_of_events_stops_at_a_run(store: SharedStore) {
    let topic = topic(&store).await.id;
    for _ in 0..10 {
        append(&store, topic, &batch_of(10)).await;
    }
    for events in [1, 9, 10, 11, 25, 99, 100] {
        let (run, more) = read_back(&store, topic, 100, ReadCap { events, bytes: 1 << 30 }).await;
        assert!(run.len() >= events && run.len() < events + 10, "{events} asked for, {} read", run.len());
        assert_eq!(offsets(&run), (101 - run.len() as i64..=100).collect::<Vec<_>>());
        assert_eq!(more, run.len() < 100);
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
        let (run, _) = read_back(&store, topic, 50, ReadCap { events: 1_000_000, bytes: runs * size }).await;
        assert!(run.len() >= runs.div_ceil(8) && run.len() <= runs * 8, "{runs} asked for, {} read", run.len());
        assert_eq!(run[run.len() - 1].offset, at(50));
    }
}

/// At least one run is read, whatever the cap.
pub(super) async fn at_least_one_run_is_read(store: SharedStore) {
    let topic = topic(&store).await.id;
    append(&store, topic, &batch_of(1)).await;
    for cap in [ReadCap { events: 0, bytes: 0 }, ReadCap { events: 1, bytes: 0 }, ReadCap { events: 0, bytes: 9 }] {
        assert_eq!(offsets(&read_back(&store, topic, 1, cap).await.0), [1], "{cap:?}");
    }
}

/// "Empty if nothing is kept there."
pub(super) async fn nothing_is_before_the_first(store: SharedStore) {
    let topic = topic(&store).await.id;
    for up_to in [0, 1, i64::MAX] {
        assert!(read_back(&store, topic, up_to, ALL).await.0.is_empty(), "an empty topic has something at {up_to}");
    }
    append(&store, topic, &batch_of(3)).await;
    let (events, more) = read_back(&store, topic, 0, ALL).await;
    assert!(events.is_empty() && !more);
}

/// "`trimmed_to` belongs to the same instant as the events", and nothing up to it is read.
pub(super) async fn trimmed_events_are_not_read(store: SharedStore) {
    let topic = topic(&store).await.id;
    for _ in 0..3 {
        append(&store, topic, &batch_of(5)).await;
    }
    let trimmed_to = store.trim(topic, at(5)).await.unwrap().unwrap().trimmed_to;
    assert_eq!(trimmed_to, at(5));
    let (events, more) = read_back(&store, topic, 15, ALL).await;
    assert_eq!((offsets(&events), more), ((6..=15).collect::<Vec<_>>(), false));
    let (events, more) = read_back(&store, topic, 15, ReadCap { events: 5, bytes: 1 << 30 }).await;
    assert_eq!((offsets(&events), more), ((11..=15).collect::<Vec<_>>(), true));
    for up_to in [0, 1, 4, 5] {
        let found = store.read_back(topic, at(up_to), ALL).await.unwrap().unwrap();
        assert!(found.segment.is_none() && !found.more, "there is something up to {up_to}");
        assert_eq!(found.trimmed_to, trimmed_to);
    }
    store.trim(topic, at(15)).await.unwrap();
    assert!(read_back(&store, topic, i64::MAX, ALL).await.0.is_empty());
    append(&store, topic, &batch_of(1)).await;
    assert_eq!(offsets(&read_back(&store, topic, i64::MAX, ALL).await.0), [16]);
}

/// "A topic that does not exist is `None`."
pub(super) async fn a_missing_topic_is_none(store: SharedStore) {
    assert!(store.read_back(NO_TOPIC, at(9), ALL).await.unwrap().is_none());
}

/// Reading on from before the first event, whatever the cap, misses nothing and repeats nothing.
pub(super) async fn pages_make_up_the_topic(store: SharedStore) {
    let topic = topic(&store).await.id;
    for count in [1, 300, 7, 90, 1, 1, 100] {
        append(&store, topic, &batch_of(count)).await;
    }
    for cap in [ReadCap { events: 7, bytes: 1 << 20 }, ReadCap { events: 1000, bytes: 3000 }] {
        let (mut seen, mut more) = (Vec::<i64>::new(), true);
        while more {
            let up_to = seen.last().map_or(i64::MAX, |oldest| oldest - 1);
            let page;
            (page, more) = read_back(&store, topic, up_to, cap).await;
            seen.extend(offsets(&page).into_iter().rev());
        }
        assert_eq!(seen, (1..=500).rev().collect::<Vec<_>>(), "{cap:?}");
    }
}
