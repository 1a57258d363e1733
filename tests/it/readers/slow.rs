//! A reader far behind gets everything, and costs the server little memory.

use std::time::Duration;

use eventflow::proto::v1::subscribe_response::Frame;

use super::heavy;
use crate::{
    client::{Client, Stream, from_earliest},
    harness::backend::{Backend, on_both_stores},
    observe::{Metrics, resident, resident_peak},
};

const MEBIBYTE: usize = 1 << 20;
/// Bytes of an event's text.
const EVENT: usize = 64 << 10;
/// Events that make 64 MiB.
const BEHIND: usize = 64 * MEBIBYTE / EVENT;
const EVICTED: &str = "eventflow_ring_evicted_segments_total";
/// Events in one request.
const REQUEST: usize = 32;

async fn publish(client: &Client, topic: &str, count: usize) {
    for _ in 0..count / REQUEST {
        let events = (0..REQUEST).map(|_| heavy(EVENT)).collect();
        client.publish(topic, events).await.unwrap();
    }
}

/// Reads events from `first` on, in order, up to `last` or a few more in its frame; returns the next offset.
async fn read(stream: &mut Stream, first: i64, last: i64) -> i64 {
    let mut next = first;
    while next <= last {
        match stream.frame().await {
            Frame::Batch(batch) => {
                for event in batch.events {
                    assert_eq!(event.offset, next);
                    assert_eq!(crate::client::text(&event).len(), EVENT);
                    next += 1;
                }
            }
            Frame::CaughtUp(_) | Frame::Heartbeat(_) => {}
            other => panic!("neither events nor a sign of life: {other:?}"),
        }
    }
    next
}

on_both_stores! {
    async fn a_reader_64_mib_behind_gets_every_event_from_a_server_that_stays_small(backend: Backend) {
        let server = backend.server().await.flag("--ring-bytes", "2097152").start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        // As much goes through another topic first: what the store keeps in its own caches, whoever
        // reads, is not what is measured.
        client.create_topic("before").await;
        publish(&client, "before", BEHIND).await;
        let mut before = client.subscribe(from_earliest("before")).await.unwrap();
        before.started().await;
        read(&mut before, 1, BEHIND as i64).await;
        drop(before);

        let mut stream = client.subscribe(from_earliest("orders")).await.unwrap();
        stream.started().await;
        let before = resident(&server);
        let evicted = Metrics::of(&server).await.get(EVICTED);
        publish(&client, "orders", BEHIND).await;
        let evicted = Metrics::of(&server).await.get(EVICTED) - evicted;
        assert!(evicted > 0, "everything is still in memory");

        let last = BEHIND as i64;
        let next = read(&mut stream, 1, last / 2).await;
        // It stops reading for a while, and more is published meanwhile.
        let (next, ()) = tokio::join!(
            async {
                tokio::time::sleep(Duration::from_secs(3)).await;
                next
            },
            publish(&client, "orders", 2 * REQUEST),
        );
        let next = read(&mut stream, next, last + 2 * REQUEST as i64).await;
        assert_eq!(next, last + 2 * REQUEST as i64 + 1, "more came than was published");
        let grown = resident_peak(&server).saturating_sub(before);
        println!("{backend:?}: resident memory grew by {} KiB at most", grown / 1024);
        assert!(grown < 64 * MEBIBYTE as u64, "resident memory grew by {grown} bytes");
        assert!(Metrics::of(&server).await.get("eventflow_log_reads_total") > 0);

        client.publish("orders", vec![heavy(EVENT)]).await.unwrap();
        read(&mut stream, next, next).await;
    }

    async fn a_slow_reader_does_not_hold_up_a_quick_one(backend: Backend) {
        let server = backend.server().await.flag("--ring-bytes", "1048576").start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        // On a connection of its own, whose window it fills.
        let slow_client = client.on(&server).await;
        let mut slow = slow_client.subscribe(from_earliest("orders")).await.unwrap();
        slow.started().await;
        let mut quick = client.subscribe(from_earliest("orders")).await.unwrap();
        quick.started().await;
        let count = 16 * MEBIBYTE / EVENT;
        let (_, ()) = tokio::join!(read(&mut quick, 1, count as i64), publish(&client, "orders", count));
        read(&mut slow, 1, count as i64).await;
    }
}
