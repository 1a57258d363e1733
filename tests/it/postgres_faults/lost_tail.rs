//! A failover to a replica that lacks the newest events.

use tonic::Code;
use tonic_types::StatusExt;

use super::{assert_unavailable, follower::Follower, head, server_on};
use crate::{
    client::{Client, after, assert_refused, event, from_earliest, text},
    feed::everything,
    harness::{
        chaos::Proxy,
        patience::{DEADLINE, eventually_within},
        postgres::Postgres,
        server::Server,
    },
    observe::Metrics,
};

/// Events of `orders` that the replica has.
const KEPT: i64 = 20;
/// Events of `orders` that were delivered and then lost.
const LOST: i64 = 10;
/// Events of `calm`, of which none is lost.
const CALM: i64 = 5;

/// A server whose primary is gone, before its proxy leads to the replica that took its place.
struct Failover {
    server: Server,
    client: Client,
    proxy: Proxy,
    replica: Postgres,
    orders: Follower,
    calm: Follower,
    /// Another server, which has only seen where `orders` ends, and its stream from there on.
    newcomer: (Server, Follower),
}

async fn failover() -> Failover {
    let mut primary = Postgres::private().await;
    let proxy = Proxy::to_unix(primary.socket()).await;
    let url = primary.url_through(proxy.address());
    let (server, client) = server_on(&url).await;
    for (topic, count) in [("orders", KEPT), ("calm", CALM)] {
        client.create_topic(topic).await;
        client.publish_numbered(topic, 1, count as usize).await;
    }
    let mut orders = Follower::start(&client, from_earliest("orders")).await;
    let mut calm = Follower::start(&client, from_earliest("calm")).await;
    let replica = primary.replica().await;
    primary.is_copied_to(&replica).await;
    replica.detach().await;
    client.publish("orders", vec![event("lost"); LOST as usize]).await.unwrap();
    orders.reaches(KEPT + LOST).await;
    calm.reaches(CALM).await;
    let newcomer = Server::embedded().environment("EVENTFLOW_DATABASE_URL", &url).start().await;
    let mut at_the_end = Follower::start(&client.on(&newcomer).await, after("orders", KEPT + LOST)).await;
    at_the_end.catches_up().await;
    primary.kill().await;
    replica.promote().await;
    Failover { server, client, proxy, replica, orders, calm, newcomer: (newcomer, at_the_end) }
}

/// The stream ends because its log lost its tail, and delivered no event beyond `last`, which would be of what
/// came in the place of that. Returns where the log ended, as the end says.
async fn ends_shortened(orders: Follower, last: Option<i64>) -> i64 {
    let (events, end) = orders.ends().await;
    assert_eq!(events.last().map(|event| event.offset), last, "events of another log");
    assert_refused(&end, Code::DataLoss, "LOG_SHORTENED");
    let info = end.get_details_error_info().expect("ErrorInfo");
    assert_eq!(info.metadata["topic"], "orders");
    info.metadata["head_offset"].parse().expect("an offset")
}

/// Publishes until the server has found its way to the database; returns the offset.
async fn publish(client: &Client, topic: &str, text: &str) -> i64 {
    let publish = async || match client.publish(topic, vec![event(text)]).await {
        Ok(published) => Some(published[0].offset),
        Err(status) => {
            assert_unavailable(&status);
            None
        }
    };
    eventually_within(3 * DEADLINE, "a publish to be acknowledged", publish).await
}

/// A new stream sees the new log, whole, and goes on; that of a topic that lost nothing has never ended.
async fn go_on(server: &Server, client: &Client, mut calm: Follower) {
    let before = head(client, "orders").await;
    let mut again = Follower::start(client, from_earliest("orders")).await;
    again.reaches(before).await;
    assert_eq!(publish(client, "orders", "new").await, before + 1);
    assert_eq!(publish(client, "calm", "new").await, CALM + 1);
    calm.reaches(CALM + 1).await;
    let events = everything(client, "orders").await;
    assert_eq!(events.len() as i64, before + 1);
    assert_eq!(events.iter().filter(|event| text(event) == "lost").count(), 0);
    assert!(again.until(before + 1).await == events, "the new stream saw other events than there are");
    assert_eq!(Metrics::of(server).await.get("eventflow_logs_shortened_total"), 1, "losses that were counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_that_lost_the_tail_ends_the_streams_that_may_have_seen_it() {
    let Failover { server, client, proxy, replica, orders, calm, newcomer } = failover().await;
    proxy.retarget(replica.socket());
    // Nobody publishes: the server looks by itself.
    assert_eq!(ends_shortened(orders, Some(KEPT + LOST)).await, KEPT);
    // Its server has seen no event but the last, and cannot tell how many before it are gone.
    assert!((0..=KEPT).contains(&ends_shortened(newcomer.1, None).await));
    assert_eq!(publish(&client, "orders", "first after the loss").await, KEPT + 1);
    go_on(&server, &client, calm).await;
    println!("{LOST} events lost behind {KEPT}: the stream ended with LOG_SHORTENED, publishing and others went on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_tail_is_noticed_by_a_publisher_too() {
    let Failover { server, client, proxy, replica, orders, calm, newcomer: _ } = failover().await;
    proxy.retarget(replica.socket());
    assert_eq!(publish(&client, "orders", "first after the loss").await, KEPT + 1);
    assert_eq!(ends_shortened(orders, Some(KEPT + LOST)).await, KEPT);
    go_on(&server, &client, calm).await;
    println!(
        "{LOST} events lost behind {KEPT}: the next one published is {}, and LOG_SHORTENED names {KEPT}",
        KEPT + 1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_tail_is_noticed_by_who_publishes_more_at_once_than_was_lost() {
    let Failover { server, client, proxy, replica, orders, calm, newcomer: _ } = failover().await;
    proxy.retarget(replica.socket());
    let others = || vec![event("in the place of what was lost"); 3 * LOST as usize];
    let publish = async || client.publish("orders", others()).await.ok();
    let published = eventually_within(3 * DEADLINE, "a publish to be acknowledged", publish).await;
    assert_eq!(published[0].offset, KEPT + 1);
    assert_eq!(ends_shortened(orders, Some(KEPT + LOST)).await, KEPT);
    go_on(&server, &client, calm).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_tail_is_noticed_when_others_have_published_more_than_was_lost() {
    let Failover { server, client, proxy, replica, orders, calm, newcomer } = failover().await;
    let url = replica.url("postgres");
    let other = Server::embedded().environment("EVENTFLOW_DATABASE_URL", &url).start().await;
    let elsewhere = client.on(&other).await;
    elsewhere.publish_numbered("orders", 1000, 3 * LOST as usize).await;
    assert_eq!(head(&elsewhere, "orders").await, KEPT + 3 * LOST);
    proxy.retarget(replica.socket());

    let end = ends_shortened(orders, Some(KEPT + LOST)).await;
    assert!((1..=KEPT).contains(&end), "what is after {KEPT} is not what was there, and not only after {end}");
    ends_shortened(newcomer.1, None).await;
    assert_eq!(head(&client, "orders").await, KEPT + 3 * LOST);
    go_on(&server, &client, calm).await;
    println!("{LOST} events lost behind {KEPT}, {} others in their place: LOG_SHORTENED at {end}", 3 * LOST);
}
