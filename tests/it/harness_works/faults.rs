//! The proxy breaks what it is told to break, and nothing else.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixListener},
    time::timeout,
};

use crate::harness::{
    chaos::{Flow, Proxy},
    databases::Database,
    folder,
    postgres::Postgres,
    redis::Redis,
};

/// Longer than anything takes over loopback, short enough to wait for in a test.
const SILENCE: Duration = Duration::from_millis(300);

/// A connection to the run's Redis by way of a proxy.
async fn redis_through(proxy: &Proxy) -> TcpStream {
    Redis::shared().await.connect_through(proxy.address()).await
}

/// Reads exactly this.
async fn expect(stream: &mut TcpStream, answer: &str) {
    let mut bytes = vec![0; answer.len()];
    stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_cut_and_refused() {
    let proxy = Proxy::to_redis(Redis::shared().await.address()).await;
    let mut stream = redis_through(&proxy).await;
    proxy.cut();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0, "the connection lives");

    redis_through(&proxy).await;
    assert_eq!(proxy.accepted(), 2);
    proxy.refuse(true);
    let mut refused = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(refused.read(&mut [0; 1]).await.unwrap_or(0), 0, "a refused connection lives");
    assert_eq!(proxy.accepted(), 2);
    proxy.refuse(false);
    redis_through(&proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_connections_stand_still_without_an_end_and_new_ones_pass() {
    let proxy = Proxy::to_tcp(Redis::shared().await.address()).await;
    let mut frozen = redis_through(&proxy).await;
    frozen.write_all(b"PING\r\n").await.unwrap();
    expect(&mut frozen, "+PONG\r\n").await;
    proxy.freeze();
    let mut fresh = redis_through(&proxy).await;
    frozen.write_all(b"PING\r\n").await.unwrap();
    fresh.write_all(b"PING\r\n").await.unwrap();
    expect(&mut fresh, "+PONG\r\n").await;
    proxy.flow();
    assert!(timeout(SILENCE, frozen.read(&mut [0; 1])).await.is_err(), "a frozen connection moves");
    proxy.cut();
    assert_eq!(frozen.read(&mut [0; 1]).await.unwrap_or(0), 0, "the connection lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_leads_elsewhere_leaves_the_connections_that_there_are() {
    let folder = folder::fresh("sockets");
    let [here, there] = ["here", "there"].map(|name| {
        let path = folder.path().join(name);
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    while stream.read_u8().await.is_ok() && stream.write_all(name.as_bytes()).await.is_ok() {}
                });
            }
        });
        path
    });
    let proxy = Proxy::to_unix(here).await;
    let mut old = TcpStream::connect(proxy.address()).await.unwrap();
    old.write_u8(0).await.unwrap();
    expect(&mut old, "here").await;
    proxy.retarget(there);
    let mut new = TcpStream::connect(proxy.address()).await.unwrap();
    for (stream, answer) in [(&mut old, "here"), (&mut new, "there")] {
        stream.write_u8(0).await.unwrap();
        expect(stream, answer).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_flow_goes_on_later() {
    let proxy = Proxy::to_tcp(Redis::shared().await.address()).await;
    let mut stream = redis_through(&proxy).await;
    for flow in [Flow::ToClient, Flow::ToTarget] {
        proxy.stop(flow);
        stream.write_all(b"PING\r\n").await.unwrap();
        let silent = timeout(SILENCE, stream.read(&mut [0; 1])).await;
        assert!(silent.is_err(), "{flow:?} did not stop");
        proxy.flow();
        expect(&mut stream, "+PONG\r\n").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_redis_answers_when_it_goes_on() {
    let redis = Redis::private().await;
    let mut stream = redis.connect().await;
    redis.pause();
    stream.write_all(b"PING\r\n").await.unwrap();
    assert!(timeout(SILENCE, stream.read(&mut [0; 1])).await.is_err(), "a paused Redis answers");
    redis.resume();
    expect(&mut stream, "+PONG\r\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn published_messages_are_swallowed_by_channel_and_pings_are_answered() {
    let proxy = Proxy::to_redis(Redis::shared().await.address()).await;
    let mut stream = redis_through(&proxy).await;
    stream.write_all(b"HELLO 3\r\nSUBSCRIBE faults:lost faults:kept\r\n").await.unwrap();
    let mut greeting = Vec::new();
    while !greeting.ends_with(b"faults:kept\r\n:2\r\n") {
        assert_ne!(stream.read_buf(&mut greeting).await.unwrap(), 0);
    }
    proxy.swallow(Some(":lost"));
    let redis = Redis::shared().await;
    redis.publish(&[("faults:lost", b"x"), ("faults:kept", b"y")]).await;
    expect(&mut stream, ">3\r\n$7\r\nmessage\r\n$11\r\nfaults:kept\r\n$1\r\ny\r\n").await;
    stream.write_all(b"PING\r\n").await.unwrap();
    expect(&mut stream, "+PONG\r\n").await;
    assert_eq!(proxy.swallowed(), 1);

    proxy.swallow(None);
    redis.publish(&[("faults:lost", b"z")]).await;
    expect(&mut stream, ">3\r\n$7\r\nmessage\r\n$11\r\nfaults:lost\r\n$1\r\nz\r\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_reached_through_a_proxy() {
    use sqlx::Connection;
    let database = Database::fresh().await;
    let proxy = Proxy::to_unix(Postgres::shared().await.socket()).await;
    let mut connection = sqlx::PgConnection::connect(&database.url_through(proxy.address())).await.unwrap();
    connection.ping().await.unwrap();
    proxy.cut();
    assert!(connection.ping().await.is_err(), "the connection lives");
}
