//! Connections are limited in number, and must say soon what they want.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    client::Client,
    harness::{patience::eventually, server::Server},
    observe::Metrics,
};

/// A connection that has not said what it wants is closed after 10 s; here with some patience.
const PATIENCE: Duration = Duration::from_secs(25);

/// Everything that comes until the server closes the connection.
async fn last_words(stream: &mut TcpStream) -> Vec<u8> {
    let mut words = Vec::new();
    // Being cut off is an end as well.
    let _end = timeout(PATIENCE, stream.read_to_end(&mut words)).await.expect("the server closes the connection");
    words
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_does_not_greet_is_closed_and_others_go_on() {
    let server = Server::embedded().start().await;
    let client = Client::admin(&server).await;
    let began = Instant::now();
    let mut silent = TcpStream::connect(server.listen()).await.unwrap();
    let mut slow = TcpStream::connect(server.listen()).await.unwrap();
    let mut http = TcpStream::connect(server.http_listen()).await.unwrap();
    slow.write_all(b"PRI * HTTP/2.0\r\n\r\n").await.unwrap();
    tokio::join!(last_words(&mut silent), last_words(&mut slow), last_words(&mut http));
    assert!(began.elapsed() >= Duration::from_secs(9), "closed after {:?}", began.elapsed());
    assert_eq!(Metrics::of(&server).await.get("eventflow_greeting_timeouts_total"), 3);
    client.create_topic("orders").await;
    eventually("the closed ones to be forgotten", async || {
        (Metrics::of(&server).await.get("eventflow_connections") == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_told_so_and_makes_no_difference_to_the_others() {
    let server = Server::embedded().flag("--max-connections", "2").start().await;
    let first = Client::admin(&server).await;
    let second = first.on(&server).await;
    for refused in 1..=100 {
        let mut third = TcpStream::connect(server.listen()).await.unwrap();
        // As a real client, which greets without waiting.
        third.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let words = last_words(&mut third).await;
        if refused == 1 {
            assert!(words.ends_with(b"\0\0\0\x0btoo many connections"), "{words:?}");
        }
    }
    assert_eq!(Metrics::of(&server).await.get("eventflow_connections_refused_total"), 100);
    assert_eq!(server.log().matches("no room for more gRPC connections").count(), 1, "each refusal is logged");
    first.create_topic("orders").await;
    drop(second);
    let third = eventually("room for another", async || {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", server.listen())).unwrap();
        let channel = endpoint.connect().await.ok()?;
        let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
        health.check(tonic_health::pb::HealthCheckRequest::default()).await.ok()
    });
    third.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_probes_have_room_for_256_connections() {
    let server = Server::embedded().start().await;
    let mut held = Vec::new();
    for _ in 0..256 {
        held.push(TcpStream::connect(server.http_listen()).await.unwrap());
    }
    let mut refused = TcpStream::connect(server.http_listen()).await.unwrap();
    let words = last_words(&mut refused).await;
    assert!(words.starts_with(b"HTTP/1.1 503 "), "{}", String::from_utf8_lossy(&words));
    drop(held);
    eventually("room for another", async || {
        let mut stream = TcpStream::connect(server.http_listen()).await.ok()?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        answer.starts_with("HTTP/1.1 200 ").then_some(())
    })
    .await;
}
