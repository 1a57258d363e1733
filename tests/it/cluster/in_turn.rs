//! Two servers append to one topic, in turn and at once, and each wakes the readers of the other.

use std::time::Instant;

use eventflow::proto::v1;

use super::Pair;
use crate::{
    client::{after, event, text},
    feed::{Witness, all_reach, everything},
    observe::Metrics,
};

/// Readers on each server.
const READERS: usize = 2;
/// Times at which both servers are published to at once.
const BURSTS: usize = 20;

/// Readers of `orders` on both servers.
async fn witnesses(pair: &Pair) -> Vec<Witness> {
    let mut witnesses = Vec::new();
    for _ in 0..READERS {
        witnesses.push(Witness::start(&pair.here, "orders").await);
        witnesses.push(Witness::start(&pair.there, "orders").await);
    }
    witnesses
}

/// Publishes the event with this number, which must come next in the topic.
async fn publish(pair: &Pair, number: usize) {
    let client = if number.is_multiple_of(2) { &pair.here } else { &pair.there };
    let published = client.publish("orders", vec![event(&number.to_string())]).await.unwrap();
    assert_eq!((published.len(), published[0].offset), (1, number as i64));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_two_servers_in_turn_reach_readers_on_both_without_polling() {
    const AWAITED: usize = 40;
    const REQUESTS: usize = 240;
    let pair = Pair::without_polls().await;
    let mut witnesses = witnesses(&pair).await;
    let began = Instant::now();
    // Each alone, so that no later wake-up stands in for one that was lost.
    for number in 1..=AWAITED {
        publish(&pair, number).await;
        all_reach(&mut witnesses, number as i64).await;
    }
    for number in AWAITED + 1..=REQUESTS {
        publish(&pair, number).await;
    }
    all_reach(&mut witnesses, REQUESTS as i64).await;
    for witness in &witnesses {
        assert!(witness.seen().iter().map(text).eq((1..=REQUESTS).map(|number| number.to_string())), "another order");
    }
    assert_never_polled(&pair).await;
    println!("{REQUESTS} requests to two servers in turn reached {} readers in {:?}", 2 * READERS, began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_two_servers_at_once_reach_readers_on_both_without_polling() {
    let pair = Pair::without_polls().await;
    let mut witnesses = witnesses(&pair).await;
    let mut head = 0;
    // Each end of a burst is a moment at which a reader that missed a wake-up is left behind.
    for _ in 0..BURSTS {
        head += burst(&pair).await;
        all_reach(&mut witnesses, head).await;
    }
    let events = everything(&pair.here, "orders").await;
    assert_eq!(events.len() as i64, head);
    assert!(witnesses.iter().all(|witness| witness.seen() == events), "readers saw different events");
    assert_never_polled(&pair).await;
    println!("{head} events in {BURSTS} bursts over two servers reached {} readers", 2 * READERS);
}

/// Publishes at once on both servers; returns how many events.
async fn burst(pair: &Pair) -> i64 {
    let publishers = (0..8).map(|publisher| {
        let client = if publisher % 2 == 0 { pair.here.clone() } else { pair.there.clone() };
        tokio::spawn(async move {
            for count in 1..=3 {
                client.publish_numbered("orders", publisher, count).await;
            }
        })
    });
    for publisher in publishers.collect::<Vec<_>>() {
        publisher.await.unwrap();
    }
    8 * (1 + 2 + 3)
}

/// That nothing was found by looking for it in vain.
async fn assert_never_polled(pair: &Pair) {
    for server in [&pair.first, &pair.second] {
        assert_eq!(Metrics::of(server).await.get("eventflow_polls_total"), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_server_acknowledged_is_seen_by_the_next_read_on_another() {
    const ROUNDS: i64 = 100;
    let pair = Pair::without_polls().await;
    let (mut reader, mut writer) = (&pair.here, &pair.there);
    for offset in 1..=ROUNDS {
        std::mem::swap(&mut reader, &mut writer);
        writer.publish("orders", vec![event("new")]).await.unwrap();
        let request = v1::SubscribeRequest { stop_at: v1::StopAt::Head.into(), ..after("orders", offset - 1) };
        let (events, end) = reader.subscribe(request).await.unwrap().rest().await;
        end.unwrap();
        assert!(events.iter().map(|event| event.offset).eq([offset]), "after {offset}: {events:?}");
    }
    println!("{ROUNDS} events were seen by reads on the other server");
}
