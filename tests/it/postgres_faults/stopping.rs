//! Postgres is stopped for a while, as for an update of its machine.

use std::time::{Duration, Instant};

use eventflow::proto::v1;

use super::{assert_unavailable, commit, follower::Follower, get_topic, head, server_on};
use crate::{
    client::{Client, as_consumer, event, from_earliest},
    feed::{Feed, everything},
    harness::{patience::eventually, postgres::Postgres, server::Server},
    observe::{is_ready, serves},
};

/// Longer than health waits before it says so.
const AWAY: Duration = Duration::from_secs(8);
/// After this, no connection is trusted to be alive without asking.
const SETTLED: Duration = Duration::from_millis(1500);
/// A store that is away for less is no reason not to serve: 5 s, less what a busy machine may hide.
const GRACE: Duration = Duration::from_secs(2);

/// Calls for which there is no way to the database, each refused. Returns how many there were.
async fn calls_are_refused(client: &Client, epoch: i64) -> usize {
    let new = v1::Topic { name: "new".into(), ..Default::default() };
    let create = v1::CreateTopicRequest { topic: Some(new), if_not_exists: false };
    let mut topics = client.topics();
    let (got, created, published, committed) = tokio::join!(
        get_topic(client, "quiet"),
        topics.create_topic(create),
        client.publish("quiet", vec![event("refused")]),
        commit(client, "billing", epoch, 1),
    );
    let refusals = [got.map(drop), created.map(drop), published.map(drop), committed];
    for refusal in &refusals {
        assert_unavailable(refusal.as_ref().expect_err("there is no way to the database"));
    }
    refusals.len()
}

/// Waits until nothing says that the server serves; returns how long that took.
async fn stops_serving(server: &Server, since: Instant) -> Duration {
    eventually("the store to be said to be away", async || (!serves(server, "eventflow.store").await).then_some(()))
        .await;
    eventually("health to be NOT_SERVING", async || (!serves(server, "").await).then_some(())).await;
    let after = since.elapsed();
    assert!(!serves(server, "eventflow.v1.EventService").await && !is_ready(server).await);
    after
}

#[tokio::test(flavor = "multi_thread")]
async fn open_streams_and_publishers_go_on_by_themselves_after_a_stop() {
    let mut postgres = Postgres::private().await;
    let (server, client) = server_on(&postgres.url("postgres")).await;
    client.create_topic("orders").await;
    client.create_topic("quiet").await;
    client.publish("quiet", vec![event("first")]).await.unwrap();
    client.register("billing", "orders").await;
    let mut quiet = Follower::start(&client, from_earliest("quiet")).await;
    quiet.reaches(1).await;
    let orders = Follower::start(&client, from_earliest("orders")).await;
    let billing = Follower::start(&client, as_consumer("billing")).await;
    let epoch = billing.started.epoch;
    let feed = Feed::start(&client, "orders", 4, 5);
    feed.reaches(200).await;

    postgres.stop().await;
    let stopped = Instant::now();
    tokio::time::sleep(SETTLED).await;
    let (refused, unserved) = tokio::join!(
        async { calls_are_refused(&client, epoch).await + calls_are_refused(&client, epoch).await },
        stops_serving(&server, stopped),
    );
    assert!(unserved > GRACE, "health gave up after {unserved:?}");
    tokio::time::sleep(AWAY.saturating_sub(stopped.elapsed())).await;
    let before = feed.acknowledged();
    postgres.start_again().await;
    let away = stopped.elapsed();

    feed.reaches(before + 200).await;
    eventually("health to be SERVING", async || (serves(&server, "").await && is_ready(&server).await).then_some(()))
        .await;
    assert!(serves(&server, "eventflow.store").await);
    client.publish("quiet", vec![event("second")]).await.unwrap();
    assert_eq!(head(&client, "quiet").await, 2, "what was refused is there");
    assert_eq!(quiet.until(2).await.len(), 2);
    assert_eq!(get_topic(&client, "new").await.unwrap_err().code(), tonic::Code::NotFound);

    let acknowledged = feed.stop().await;
    let events = everything(&client, "orders").await;
    let last = events.len() as i64;
    let found = acknowledged.assert_found_once(&events);
    assert!(orders.until(last).await == events, "the stream saw other events than there are");
    let mut billing = billing;
    billing.reaches(last).await;
    commit(&client, "billing", epoch, last).await.expect("the stream still has its consumer");
    assert!(billing.until(last).await == events, "the consumer saw other events than there are");
    println!(
        "away for {away:?}, NOT_SERVING after {unserved:?}, {refused} calls refused, {found} acknowledged and found, \
         3 streams went on"
    );
}
