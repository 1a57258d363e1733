//! Streams are limited in number: on a connection, for a principal, and in all.

use std::time::Duration;

use tokio::time::timeout;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt;

use crate::{
    client::{Client, Stream, as_consumer, assert_refused, from_earliest},
    harness::{patience::eventually, server::Server},
    observe::Metrics,
};

async fn open(client: &Client) -> Stream {
    let mut stream = client.subscribe(from_earliest("orders")).await.unwrap();
    stream.started().await;
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn one_stream_too_many_of_a_principal_is_refused_until_another_ends() {
    let server = Server::embedded().flag("--max-streams-per-principal", "2").start().await;
    let admin = Client::admin(&server).await;
    admin.create_topic("orders").await;
    let (first, _second) = (open(&admin).await, open(&admin).await);
    // On another connection too: it is the principal that counts.
    let status = admin.on(&server).await.subscribe(from_earliest("orders")).await.unwrap_err();
    assert_refused(&status, Code::ResourceExhausted, "TOO_MANY_STREAMS");
    let details = status.get_error_details();
    assert!(details.retry_info().is_some_and(|retry| retry.retry_delay > Some(Duration::ZERO)), "{status:?}");
    assert_eq!(details.quota_failure().unwrap().violations[0].subject, "users/admin");
    // One that waits for its consumer counts, as it is open.
    admin.register("billing", "orders").await;
    let status = admin.subscribe(as_consumer("billing")).await.unwrap_err();
    assert_refused(&status, Code::ResourceExhausted, "TOO_MANY_STREAMS");
    assert_eq!(Metrics::of(&server).await.get("eventflow_streams_refused_total"), 2);

    drop(first);
    eventually("room for another", async || admin.subscribe(from_earliest("orders")).await.ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_stream_too_many_of_a_server_is_refused_whoever_asks_and_refusals_take_no_room() {
    let server = Server::embedded().flag("--max-streams", "2").start().await;
    let admin = Client::admin(&server).await;
    admin.create_topic("orders").await;
    for _ in 0..10 {
        let status = admin.subscribe(from_earliest("nowhere")).await.unwrap_err();
        assert_refused(&status, Code::NotFound, "TOPIC_NOT_FOUND");
    }
    let _open = (open(&admin).await, open(&admin).await);
    let status = admin.subscribe(from_earliest("orders")).await.unwrap_err();
    assert_refused(&status, Code::ResourceExhausted, "TOO_MANY_STREAMS");
    assert_eq!(status.get_error_details().quota_failure().unwrap().violations[0].subject, "server");
    // Calls that are no streams go on.
    admin.publish_numbered("orders", 1, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_has_128_streams_and_the_next_one_waits() {
    let server = Server::embedded().start().await;
    let admin = Client::admin(&server).await;
    admin.create_topic("orders").await;
    let mut streams = Vec::new();
    for _ in 0..128 {
        streams.push(open(&admin).await);
    }
    let mut consumers = admin.consumers();
    let next = consumers.subscribe(from_earliest("orders"));
    tokio::pin!(next);
    assert!(timeout(Duration::from_millis(700), &mut next).await.is_err(), "a 129th stream was opened");
    assert_eq!(Metrics::of(&server).await.get("eventflow_subscriptions"), 128);
    streams.pop();
    timeout(Duration::from_secs(20), next).await.expect("it opens when another ends").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn watched_health_checks_are_limited_and_checks_are_not() {
    let server = Server::embedded().start().await;
    let mut watches = Vec::new();
    let mut health = HealthClient::new(server.channel().await);
    for n in 0..1000 {
        if n % 100 == 0 {
            health = HealthClient::new(server.channel().await);
        }
        let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
        watch.message().await.unwrap().expect("a watch begins with what is");
        watches.push(watch);
    }
    let mut health = HealthClient::new(server.channel().await);
    let status = health.watch(HealthCheckRequest::default()).await.unwrap_err();
    assert_refused(&status, Code::ResourceExhausted, "TOO_MANY_STREAMS");
    health.check(HealthCheckRequest::default()).await.unwrap();
    watches.truncate(900);
    eventually("room for another", async || health.watch(HealthCheckRequest::default()).await.ok()).await;
}
