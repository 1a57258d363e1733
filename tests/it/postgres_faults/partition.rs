//! The network between the server and Postgres swallows everything for a while, and then goes on.

use std::time::{Duration, Instant};

use tonic::Code;

use super::{
    commit,
    follower::{Follower, HEARTBEAT},
    head, server_on,
};
use crate::{
    client::{Client, as_consumer, assert_refused, from_earliest},
    feed::{Feed, everything},
    harness::{
        chaos::{Flow, Proxy},
        databases::Database,
        patience::eventually_within,
        postgres::Postgres,
        server::Server,
    },
    observe::{is_ready, serves},
};

/// Longer than a statement may take.
const PARTITION: Duration = Duration::from_secs(15);
/// How long a hold of a consumer lasts that nobody can renew, and what a busy machine may add.
const HOLD: Duration = Duration::from_secs(15 + 20);

/// A server on a database behind a proxy, its admin, and another server on the same database without one.
async fn two_ways() -> (Server, Client, Proxy, Server) {
    let database = Database::fresh().await;
    let proxy = Proxy::to_unix(Postgres::shared().await.socket()).await;
    let (server, client) = server_on(&database.url_through(proxy.address())).await;
    client.create_topic("orders").await;
    let other = Server::embedded().environment("EVENTFLOW_DATABASE_URL", &database.url()).start().await;
    (server, client, proxy, other)
}

fn part(proxy: &Proxy) {
    proxy.stop(Flow::ToTarget);
    proxy.stop(Flow::ToClient);
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_and_streams_go_on_after_a_partition_and_streams_are_never_silent() {
    let (server, client, proxy, other) = two_ways().await;
    let mut follower = Follower::start(&client, from_earliest("orders")).await;
    let feed = Feed::start(&client, "orders", 4, 5);
    feed.reaches(100).await;
    let (heartbeats, parted) = (follower.heartbeats(), Instant::now());
    part(&proxy);
    // Others publish meanwhile; what is stuck comes after them.
    let elsewhere = Feed::named(&client.on(&other).await, "orders", "elsewhere", 2, 5);
    eventually_within(PARTITION, "health to be NOT_SERVING", async || (!serves(&server, "").await).then_some(())).await;
    assert!(!is_ready(&server).await);
    tokio::time::sleep(PARTITION.saturating_sub(parted.elapsed())).await;
    let heartbeats = follower.heartbeats() - heartbeats;
    follower.lives().await;
    let others = elsewhere.stop().await;
    let before = feed.acknowledged();
    proxy.flow();
    feed.reaches(before + 100).await;

    let mut acknowledged = feed.stop().await;
    assert!(others.offsets.len() > 10, "the other server was not parted");
    let (mine, theirs) = (acknowledged.offsets.len(), others.offsets.len());
    acknowledged.offsets.extend(others.offsets);
    let events = everything(&client, "orders").await;
    acknowledged.assert_found_once(&events);
    let silence = follower.longest_silence();
    assert!(follower.until(events.len() as i64).await == events, "the stream saw other events than there are");
    // Without heartbeats of its own, a stream would be silent for as long as a statement takes.
    assert!(heartbeats >= 3 && silence < 3 * HEARTBEAT, "{heartbeats} heartbeats, silent for {silence:?}");
    println!(
        "parted for {PARTITION:?}: {heartbeats} heartbeats, at most {silence:?} of silence, {mine} acknowledged here and \
         {theirs} elsewhere, {} found",
        events.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parted_server_loses_its_consumer_to_another_and_delivers_nothing_of_what_that_one_does() {
    let (_server, client, proxy, other) = two_ways().await;
    client.register("billing", "orders").await;
    client.publish_numbered("orders", 1, 10).await;
    let mut here = Follower::start(&client, as_consumer("billing")).await;
    here.reaches(10).await;
    let epoch = here.started.epoch;
    commit(&client, "billing", epoch, 4).await.unwrap();

    part(&proxy);
    let parted = Instant::now();
    let elsewhere = client.on(&other).await;
    let opens = async || elsewhere.subscribe(as_consumer("billing")).await.ok();
    let mut there = eventually_within(HOLD, "the hold of a parted server to run out", opens).await;
    let taken = parted.elapsed();
    let started = there.started().await;
    assert_eq!(started.position.unwrap().offset, 4);
    elsewhere.publish_numbered("orders", 11, 10).await;
    assert_eq!(there.events(16).await.last().unwrap().offset, 20);
    commit(&elsewhere, "billing", started.epoch, 20).await.unwrap();
    here.lives().await;
    proxy.flow();

    let (events, end) = here.ends().await;
    assert_refused(&end, Code::Aborted, "CONSUMER_FENCED");
    assert_eq!(events.len(), 10, "a stream without its consumer delivered events");
    // The first server answers again, and refuses the old epoch.
    let refused = async || match commit(&client, "billing", epoch, 10).await {
        Ok(()) => panic!("an old epoch commits"),
        Err(status) => (status.code() != Code::Unavailable).then_some(status),
    };
    let refusal = eventually_within(HOLD, "an answer after the partition", refused).await;
    assert_refused(&refusal, Code::Aborted, "CONSUMER_FENCED");
    assert_eq!(head(&client, "orders").await, 20);
    println!("the consumer was free {taken:?} after the partition began; the parted stream ended with CONSUMER_FENCED");
}
