//! Many caught-up streams of a topic cost one read of the store for each commit at most.

use super::{CROWD, alarms, all_receive, caught_up, open, two_servers};
use crate::{
    client::Client,
    harness::{
        backend::{Backend, on_both_stores},
        redis::Redis,
        server::Server,
    },
    observe::Metrics,
};

/// Streams that read.
const STREAMS: usize = 200;
/// Streams that read what another server publishes.
const MANY: usize = 1000;
/// Commits, one after the other.
const COMMITS: usize = 50;
const READS: &str = "eventflow_log_reads_total";

async fn commits(client: &Client) {
    for n in 1..=COMMITS {
        client.publish_numbered("orders", n, 1).await;
    }
}

async fn reads(server: &Server) -> u64 {
    Metrics::of(server).await.get(READS)
}

/// What one server publishes reaches all streams of another, by few reads there and none here.
async fn fans_out(redis: Option<&Redis>) {
    let _alone = CROWD.lock().await;
    let (first, second, client) = two_servers(redis).await;
    let mut streams = caught_up(&client, &second, "orders", 0, MANY).await;
    let (first_before, second_before) = (reads(&first).await, Metrics::of(&second).await);
    for n in 1..=COMMITS {
        client.publish_numbered("orders", n, 1).await;
        streams = all_receive(streams, n as i64, n as i64).await;
    }
    let (here, after) = (reads(&first).await - first_before, Metrics::of(&second).await);
    let there = after.get(READS) - second_before.get(READS);
    let woken = |cause| {
        let of = |metrics: &Metrics| metrics.with("eventflow_wake_ups_total", &[("cause", cause)]);
        of(&after) - of(&second_before)
    };
    // A poll that finds a commit before its wake-up arrives costs a read more. Should Redis fall silent for a moment, all
    // streams look once more when it is heard again.
    let (redis, poll, alarms) = (woken("redis"), woken("poll"), woken("everything"));
    let said = format!(
        "{there} reads for {COMMITS} commits; woken {redis} times by Redis, {poll} by polls, {alarms} by alarms"
    );
    println!("{MANY} streams: {said}");
    assert!(redis <= COMMITS as u64, "{said}");
    assert!(poll <= COMMITS as u64, "{said}");
    assert!(there <= redis + poll + 10 + 10 * alarms, "{said}\n{}", after.text());
    assert_eq!(here, 0, "a server without readers reads nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_of_another_server_cost_one_read_each_for_all_streams() {
    fans_out(Some(Redis::shared().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_of_another_server_cost_one_read_each_also_by_polling() {
    fans_out(None).await;
}

on_both_stores! {
    async fn commits_of_the_same_server_reach_all_streams_from_memory(backend: Backend) {
        // No poll comes between an append and its wake-up, which could cost a read.
        let server = backend.server().await.flag("--poll-interval", "1h").start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        let _alone = CROWD.lock().await;
        let streams = caught_up(&client, &server, "orders", 0, STREAMS).await;
        let before = Metrics::of(&server).await;
        let (_, ()) = tokio::join!(all_receive(streams, 1, COMMITS as i64), commits(&client));
        let after = Metrics::of(&server).await;
        let alarms = alarms(&after) - alarms(&before);
        let reads = after.get(READS) - before.get(READS);
        assert!(reads <= 10 * alarms, "what was just appended is in memory: {reads} reads, {alarms} alarms");
        let hits = after.get("eventflow_ring_hits_total") - before.get("eventflow_ring_hits_total");
        assert!(hits >= STREAMS as u64, "{hits} ring hits for {STREAMS} streams");
        let delivered = after.get("eventflow_delivered_events_total") - before.get("eventflow_delivered_events_total");
        assert_eq!(delivered, (STREAMS * COMMITS) as u64);
    }

    async fn readers_of_the_same_old_events_share_reads(backend: Backend) {
        const EVENTS: usize = 200;
        let server = backend.server().await.flag("--ring-bytes", "1").start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        for n in 0..EVENTS {
            client.publish_numbered("orders", n, 1).await;
        }
        let before = Metrics::of(&server).await;
        let readers: Vec<_> = (0..50).map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                let request = crate::client::from_earliest("orders");
                open(&client, request).await.events(EVENTS).await.len()
            })
        }).collect();
        for reader in readers {
            assert_eq!(reader.await.unwrap(), EVENTS);
        }
        let after = Metrics::of(&server).await;
        let grown = |name| after.get(name) - before.get(name);
        assert!(grown("eventflow_shared_reads_total") > 0, "{} reads, none shared", grown(READS));
    }
}
