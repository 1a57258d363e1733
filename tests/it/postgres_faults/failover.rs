//! The primary is demoted and its synchronous replica takes its place; nothing is lost, and nobody cuts the
//! connections to the old one.

use super::{follower::Follower, server_on};
use crate::{
    client::from_earliest,
    feed::{Feed, Reader, everything},
    harness::{chaos::Proxy, postgres::Postgres, server::Server},
    observe::Metrics,
};

/// Acknowledged before the failover, and after it.
const EVENTS: u64 = 300;

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_to_a_synchronous_replica_loses_nothing_and_ends_no_stream() {
    let primary = Postgres::private().await;
    let proxy = Proxy::to_unix(primary.socket()).await;
    let url = primary.url_through(proxy.address());
    let (server, client) = server_on(&url).await;
    // It only reads: none of its statements is refused by a server that became read-only.
    let reading = Server::embedded().environment("EVENTFLOW_DATABASE_URL", &url).start().await;
    client.create_topic("orders").await;
    let replica = primary.replica().await;
    primary.commit_on_replica().await;
    let here = Follower::start(&client, from_earliest("orders")).await;
    let there = Follower::start(&client.on(&reading).await, from_earliest("orders")).await;
    let reader = Reader::start(&client, "orders");
    let feed = Feed::start(&client, "orders", 4, 5);
    feed.reaches(EVENTS).await;

    primary.set("default_transaction_read_only = on").await;
    server.logged("the database server became read-only").await;
    let before = feed.acknowledged();
    replica.promote().await;
    proxy.retarget(replica.socket());
    feed.reaches(before + EVENTS).await;

    let acknowledged = feed.stop().await;
    let events = everything(&client, "orders").await;
    let found = acknowledged.assert_found_once(&events);
    assert!(here.until(found as i64).await == events, "the stream saw other events than there are");
    assert!(there.until(found as i64).await == events, "the stream of the reading server saw others than there are");
    assert!(reader.until(found as i64).await == events, "the reader saw other events than there are");
    for server in [&server, &reading] {
        server.logged("the database server was started again or replaced").await;
        assert_eq!(Metrics::of(server).await.get("eventflow_logs_shortened_total"), 0);
    }
    println!(
        "{before} acknowledged before the failover, {} in all ({} after a lost answer), {found} found; 2 streams went on",
        acknowledged.offsets.len(),
        acknowledged.duplicates
    );
}
