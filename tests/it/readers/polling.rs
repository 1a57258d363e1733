//! Readers get events although no wake-up ever comes, and polling costs one statement for all of them.

use std::time::{Duration, Instant};

use super::{alarms, all_receive, caught_up, two_servers};
use crate::{
    client::Client,
    harness::backend::{Backend, on_both_stores},
    observe::{Metrics, hears_others},
};

const POLLS: &str = "eventflow_polls_total";

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_server_that_wakes_nobody_arrive_on_the_other_by_polling() {
    let (_first, second, client) = two_servers(None).await;
    let mut streams = caught_up(&client, &second, "orders", 0, 3).await;
    for n in 1..=20 {
        client.publish_numbered("orders", n, 1).await;
        streams = all_receive(streams, n as i64, n as i64).await;
    }
    client.publish_numbered("orders", 21, 2000).await;
    all_receive(streams, 21, 2020).await;
    assert!(Metrics::of(&second).await.get(POLLS) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_two_servers_at_once_arrive_on_both_in_one_order() {
    const EACH: usize = 100;
    let (first, second, client) = two_servers(None).await;
    let other = client.on(&second).await;
    let here = caught_up(&client, &first, "orders", 0, 2).await;
    let there = caught_up(&client, &second, "orders", 0, 2).await;
    let publish = async |client: &Client| {
        for n in 0..EACH {
            client.publish_numbered("orders", n, 1).await;
        }
    };
    tokio::join!(publish(&client), publish(&other));
    all_receive(here, 1, 2 * EACH as i64).await;
    all_receive(there, 1, 2 * EACH as i64).await;
}

on_both_stores! {
    async fn idle_streams_are_polled_for_together_once_an_interval(backend: Backend) {
        const INTERVAL: Duration = Duration::from_millis(200);
        let server = backend.server().await.flag("--poll-interval", "200ms").start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        hears_others(&server).await;
        let _streams = caught_up(&client, &server, "orders", 0, 200).await;
        let began = Instant::now();
        let before = Metrics::of(&server).await;
        tokio::time::sleep(INTERVAL * 10).await;
        let after = Metrics::of(&server).await;
        let polls = after.get(POLLS) - before.get(POLLS);
        let intervals = began.elapsed().as_millis() / INTERVAL.as_millis();
        assert!(polls >= 1 && u128::from(polls) <= intervals + 2, "{polls} polls in {intervals} intervals");
        let reads = after.get("eventflow_log_reads_total") - before.get("eventflow_log_reads_total");
        // Should Redis fall silent for a moment, all streams look once more when it is heard again.
        let alarms = alarms(&after) - alarms(&before);
        assert!(reads <= 10 * alarms, "idle streams read nothing: {reads} reads, {alarms} alarms\n{}", after.text());
    }

    async fn without_readers_nothing_is_polled(backend: Backend) {
        let server = backend.server().await.flag("--poll-interval", "50ms").start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        client.publish_numbered("orders", 1, 10).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(Metrics::of(&server).await.get(POLLS), 0);
    }
}
