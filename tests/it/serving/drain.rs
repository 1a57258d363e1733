//! SIGTERM.

use std::time::{Duration, Instant};

use eventflow::proto::v1::{closing, subscribe_response::Frame};
use tonic::Code;

use crate::{
    client::{Client, as_consumer, assert_refused, event, from_earliest},
    harness::{
        backend::{Backend, on_both_stores},
        patience::eventually,
    },
};

/// As `--drain-timeout` below.
const DRAIN: Duration = Duration::from_secs(15);

on_both_stores! {
    async fn idle_connections_do_not_hold_up_a_stop(backend: Backend) {
        let mut server = backend.server().await.flag("--drain-timeout", "15s").start().await;
        let admin = Client::admin(&server).await;
        admin.create_topic("orders").await;
        let _idle = [Client::anonymous(&server).await, Client::anonymous(&server).await];
        let _http = tokio::net::TcpStream::connect(server.http_listen()).await.unwrap();
        let begun = Instant::now();
        assert_eq!(server.terminate().await, 0);
        assert!(begun.elapsed() < DRAIN, "it took {:?}", begun.elapsed());
        assert!(!server.log().contains("ended in time; stopping anyway"), "{}", server.log());
        assert!(!server.data_dir().join("server.json").exists(), "commands would look for a server that is gone");
    }

    async fn a_watched_health_check_says_not_serving_and_holds_up_no_stop(backend: Backend) {
        use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

        let mut server = backend.server().await.flag("--drain-timeout", "15s").start().await;
        let request = HealthCheckRequest { service: String::new() };
        let mut watch = HealthClient::new(server.channel().await).watch(request).await.unwrap().into_inner();
        let serving = watch.message().await.unwrap().unwrap().status;
        let begun = Instant::now();
        let (code, (last, end)) = tokio::join!(server.terminate(), async {
            let mut last = serving;
            loop {
                match watch.message().await {
                    Ok(Some(response)) => last = response.status,
                    Ok(None) => panic!("the watch ended as if it were complete"),
                    Err(status) => return (last, status),
                }
            }
        });
        assert_eq!(code, 0);
        assert_ne!(last, serving, "nobody was told");
        assert_refused(&end, Code::Unavailable, "DRAINING");
        assert!(begun.elapsed() < DRAIN / 2, "it took {:?}", begun.elapsed());
    }

    async fn open_streams_are_told_and_ended(backend: Backend) {
        let mut server = backend.server().await.flag("--drain-timeout", "15s").start().await;
        let admin = Client::admin(&server).await;
        admin.create_topic("orders").await;
        let mut stream = admin.subscribe(from_earliest("orders")).await.unwrap();
        stream.started().await;
        let reader = tokio::spawn(async move {
            let mut told = None;
            loop {
                match stream.next().await {
                    Ok(Some(Frame::Closing(closing))) => told = Some(closing.reason()),
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("the stream ended as if it were complete"),
                    Err(status) => return (told, status),
                }
            }
        });
        let begun = Instant::now();
        assert_eq!(server.terminate().await, 0);
        assert!(begun.elapsed() < DRAIN, "it took {:?}", begun.elapsed());
        let (told, status) = reader.await.unwrap();
        assert_eq!(told, Some(closing::Reason::Draining));
        assert_refused(&status, Code::Unavailable, "DRAINING");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_says_nothing_or_half_a_greeting_does_not_hold_up_a_stop() {
    let mut server = Backend::Sqlite.server().await.flag("--drain-timeout", "15s").start().await;
    let _silent = tokio::net::TcpStream::connect(server.listen()).await.unwrap();
    let mut half = tokio::net::TcpStream::connect(server.listen()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut half, b"PRI * HTTP/2.0\r\n").await.unwrap();
    // Both are accepted before a later one is served.
    eventually("the server to answer", async || Some(Client::admin(&server).await)).await;
    let begun = Instant::now();
    assert_eq!(server.terminate().await, 0);
    assert!(begun.elapsed() < DRAIN + Duration::from_secs(5), "it took {:?}", begun.elapsed());
}

on_both_stores! {
    async fn clients_that_do_not_read_hold_up_a_stop_no_longer_than_allowed(backend: Backend) {
        const STUCK: Duration = Duration::from_secs(6);
        let mut server = backend.server().await.flag("--drain-timeout", "6s").start().await;
        let admin = Client::admin(&server).await;
        admin.create_topic("orders").await;
        admin.register("billing", "orders").await;
        for _ in 0..16 {
            admin.publish("orders", vec![event(&"x".repeat(1 << 20))]).await.unwrap();
        }
        // Windows of 64 KiB that nobody empties: the server cannot even say that it closes.
        let mut stuck = Vec::new();
        for request in [from_earliest("orders"), as_consumer("billing"), from_earliest("orders")] {
            stuck.push(admin.on(&server).await.subscribe(request).await.unwrap());
        }
        let mut reading = admin.on(&server).await.subscribe(from_earliest("orders")).await.unwrap();
        assert_eq!(reading.events(16).await.len(), 16);
        let reader = tokio::spawn(async move {
            let (_, end) = reading.rest().await;
            end.unwrap_err()
        });
        let begun = Instant::now();
        assert_eq!(server.terminate().await, 0);
        assert!(begun.elapsed() < STUCK + Duration::from_secs(5), "it took {:?}", begun.elapsed());
        // Who reads is told, whatever the others do.
        assert_refused(&reader.await.unwrap(), Code::Unavailable, "DRAINING");
        drop(stuck);

        server.restart().await;
        let mut stream = admin.on(&server).await.subscribe(as_consumer("billing")).await.unwrap();
        assert_eq!(stream.started().await.position.unwrap().offset, 0, "nothing was committed");
    }
}
