//! Where consumers in MODE_QUEUE are, what serves them, and what is kept of them.

use std::time::Duration;

use eventflow::{
    domain::{ConsumerId, DeadLetters, Offset, QueuePolicy, QueueStatus, Unsettled},
    store::SharedStore,
};

use super::{
    super::fixtures::{LONG, NO_TOPIC, SHORT, at, claim, consumer, moment, topic},
    Queue, leased, nack, patient, reject, stream,
};

/// "Where consumers are; those that are not in MODE_QUEUE are left out."
pub(in super::super) async fn the_status_counts(store: SharedStore) {
    let mut queue = Queue::new(&store, patient(), &["a", "a", "", "", ""]).await;
    let idle = Queue::of(&store, patient(), 3).await;
    let ordered = consumer(&store, &topic(&store).await).await;
    let lease = queue.take(stream(), 2).await;
    assert_eq!(leased(&lease), [1, 3]);
    queue.settle(lease.lease, &[(1, nack("no"))]).await;
    let other = queue.take(stream(), 2).await;
    assert_eq!(leased(&other), [1, 4]);
    queue.settle(other.lease, &[(1, reject("bad"))]).await;
    queue.last_for(SHORT).await;
    let lost = queue.take(stream(), 2).await;
    assert_eq!(leased(&lost), [2, 5]);
    moment().await;
    let ids = [ConsumerId(i32::MAX), queue.consumer.id, ordered.id, idle.consumer.id];
    let mut found = store.queue_status(&ids).await.unwrap();
    found.sort_by_key(|status| status.consumer);
    let id = queue.consumer.id;
    let expected = QueueStatus { consumer: id, position: at(1), in_flight: 2, retrying: 2, dead_letters: 1 };
    let fresh =
        QueueStatus { consumer: idle.consumer.id, position: Offset::ZERO, in_flight: 0, retrying: 0, dead_letters: 0 };
    assert_eq!(found, [expected, fresh]);
    // What ended by itself is retried, whether it was taken back or not.
    queue.claim(vec![]).await;
    assert_eq!(queue.status().await, expected);
    assert_eq!(store.queue_status(&[]).await.unwrap(), []);
}

/// "Notes streams as connections of their consumers for `lease` from now, or renews them."
pub(in super::super) async fn streams_are_connections(store: SharedStore) {
    let (queue, other) = (Queue::of(&store, patient(), 1).await, Queue::of(&store, patient(), 1).await);
    let id = queue.consumer.id;
    let (one, two, three) = (claim(LONG), claim(LONG), claim(LONG));
    store.attend(&[(id, one.clone())], LONG).await.unwrap();
    moment().await;
    let gone = (ConsumerId(i32::MAX), three.clone());
    store.attend(&[(id, two.clone()), (other.consumer.id, three), gone], LONG).await.unwrap();
    let (listed, total) = store.connections(id, 9).await.unwrap();
    assert_eq!(total, 2);
    assert_eq!(listed.iter().map(|one| one.subscription).collect::<Vec<_>>(), [one.subscription, two.subscription]);
    assert_eq!((&listed[0].peer, &listed[0].server), (&one.peer, &one.server_name));
    assert!(listed[0].connect_time < listed[1].connect_time);
    moment().await;
    store.attend(&[(id, one.clone())], SHORT).await.unwrap();
    store.attend(&[(id, two.clone())], LONG).await.unwrap();
    moment().await;
    let (left, total) = store.connections(id, 9).await.unwrap();
    assert_eq!((left, total), (vec![listed[1].clone()], 1), "renewed, it stays as it was");
    assert_eq!(store.connections(id, 0).await.unwrap(), (vec![], 1));
    store.attend(&[], LONG).await.unwrap();
    store.seek_consumer(id, at(0)).await.unwrap();
    assert_eq!(store.connections(id, 9).await.unwrap().1, 0);
    assert_eq!(store.connections(other.consumer.id, 9).await.unwrap().1, 1);
    store.delete_consumer(&other.consumer.settings.name).await.unwrap();
    assert_eq!(store.connections(other.consumer.id, 9).await.unwrap().1, 0);
}

async fn sweep(store: &SharedStore) {
    while store.sweep_queues(100).await.unwrap() {}
}

/// "For two lease periods after its whole lease was settled; after that it counts as lost."
pub(in super::super) async fn old_leases_are_swept(store: SharedStore) {
    let mut queue = Queue::of(&store, QueuePolicy { lease: Duration::from_secs(5), ..patient() }, 5).await;
    let (old, open, newest) =
        (queue.take(stream(), 2).await, queue.take(stream(), 1).await, queue.take(stream(), 2).await);
    queue.ack(&old).await;
    queue.ack(&newest).await;
    sweep(&store).await;
    assert_eq!(queue.refusal(&old).await, Unsettled::AlreadySettled);
    queue.last_for(Duration::from_millis(10)).await;
    moment().await;
    moment().await;
    sweep(&store).await;
    assert_eq!(queue.refusal(&old).await, Unsettled::Lost);
    // It knows where it is.
    assert_eq!((queue.position().await, queue.is_quiet().await.dispatched), (2, at(5)));
    queue.ack(&open).await;
    moment().await;
    moment().await;
    sweep(&store).await;
    assert_eq!((queue.position().await, queue.is_quiet().await.dispatched), (5, at(5)));
}

/// "What deleted consumers had": it goes, and what others have stays.
pub(in super::super) async fn deleted_consumers_leave_nothing(store: SharedStore) {
    let (gone, stays) =
        (Queue::new(&store, patient(), &["a"; 9]).await, Queue::new(&store, patient(), &["a"; 9]).await);
    for queue in [&gone, &stays] {
        let lease = queue.take(stream(), 9).await;
        queue.settle_all(&lease, reject("bad")).await;
        let lease = queue.take(stream(), 9).await;
        queue.settle_all(&lease, nack("no")).await;
    }
    let id = gone.consumer.id;
    store.delete_consumer(&gone.consumer.settings.name).await.unwrap();
    assert_eq!(store.queue_status(&[id]).await.unwrap(), []);
    let nothing = store.redrive(id, &DeadLetters::All, 9, false).await.unwrap();
    assert_eq!((nothing.changed, nothing.remaining), (0, 0));
    let mut steps = 0;
    while store.sweep_queues(1).await.unwrap() {
        steps += 1;
        assert!(steps < 100, "it never ends");
    }
    assert!(steps > 1, "{steps} steps for some of 9 events");
    assert_eq!(store.dead_letters(id, Offset::ZERO, 9).await.unwrap(), []);
    assert_eq!(stays.dead().await, [1]);
    assert_eq!(stays.status().await.retrying, 1);
    assert_eq!(leased(&stays.take(stream(), 9).await), [2]);
}

/// "The events at some offsets, as far as they are kept: of the first ones, until their stored runs have `bytes`."
pub(in super::super) async fn events_are_picked(store: SharedStore) {
    let mut queue = Queue::new(&store, patient(), &["a", "b"]).await;
    queue.publish(&["c", "d", "e"]).await;
    queue.publish(&["f"]).await;
    let id = queue.topic.id;
    let all = 1 << 20;
    let picked = async |offsets: &[i64], bytes: usize| {
        let offsets: Vec<_> = offsets.iter().map(|&offset| at(offset)).collect();
        let picked = store.pick(id, &offsets, bytes).await.unwrap().unwrap();
        let events: Vec<_> =
            picked.events.iter().map(|event| (event.offset.get(), event.body.key.to_string())).collect();
        (events, picked.up_to, picked.trimmed_to.get())
    };
    let event = |offset, key: &str| (offset, key.to_owned());
    let (events, up_to, trimmed) = picked(&[1, 4, 5, 6, 99], all).await;
    assert_eq!(events, [event(1, "a"), event(4, "d"), event(5, "e"), event(6, "f")]);
    assert!(up_to >= at(99) && trimmed == 0, "{up_to}");
    assert_eq!(picked(&[], all).await.0, []);
    // In steps, if it must be, each of at least one run.
    let (mut wanted, mut found) = (vec![1, 3, 4, 6], Vec::new());
    while !wanted.is_empty() {
        let (events, up_to, _) = picked(&wanted, 1).await;
        assert!(!events.is_empty() && events.len() <= 2, "{events:?}");
        assert!(events.iter().all(|(offset, _)| at(*offset) <= up_to));
        wanted.retain(|&offset| at(offset) > up_to);
        found.extend(events);
    }
    assert_eq!(found, [event(1, "a"), event(3, "c"), event(4, "d"), event(6, "f")]);
    store.trim(id, at(2)).await.unwrap();
    let (events, up_to, trimmed) = picked(&[1, 2, 3], all).await;
    assert_eq!((events, trimmed), (vec![event(3, "c")], 2));
    assert!(up_to >= at(3));
    assert!(store.pick(NO_TOPIC, &[at(1)], all).await.unwrap().is_none());
    let read = super::super::fixtures::read(&store, id, 2, super::super::fixtures::ALL).await;
    let fifth = store.pick(id, &[at(5)], all).await.unwrap().unwrap().events.remove(0);
    assert_eq!((fifth.offset, fifth.recorded_time, &fifth.body), (at(5), read[2].recorded_time, &read[2].body));
}
