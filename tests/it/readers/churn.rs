//! Streams that come and go leave nothing behind.

use std::time::Duration;

use super::open;
use crate::{
    client::{Client, as_consumer, from_earliest},
    harness::{
        backend::{Backend, on_both_stores},
        patience::{eventually, eventually_within},
        server::Server,
    },
    observe::{Metrics, descriptors},
};

/// Streams opened and left, in all.
const STREAMS: usize = 300;
/// And at once.
const AT_ONCE: usize = 30;

/// Opens streams on new connections and leaves each in one of several ways.
async fn churn(client: &Client, server: &Server) {
    for _ in 0..STREAMS / AT_ONCE {
        let client = client.on(server).await;
        let visits: Vec<_> = (0..AT_ONCE).map(|n| tokio::spawn(visit(client.clone(), n))).collect();
        for visit in visits {
            visit.await.unwrap();
        }
    }
}

/// Opens a stream and leaves it: before it opened, at once, once caught up, or in the middle of events.
async fn visit(client: Client, n: usize) {
    let open = open(&client, from_earliest("orders"));
    match n % 4 {
        0 => drop(tokio::time::timeout(Duration::from_millis(n as u64 / 4), open).await),
        1 => drop(open.await),
        2 => drop(open.await.until_caught_up().await),
        _ => {
            let mut stream = open.await;
            stream.started().await;
            stream.frame().await;
        }
    }
}

async fn none_open(server: &Server) {
    eventually("no open streams", async || {
        (Metrics::of(server).await.get("eventflow_subscriptions") == 0).then_some(())
    })
    .await;
}

on_both_stores! {
    async fn streams_that_come_and_go_leave_no_stream_and_no_descriptor(backend: Backend) {
        let server = backend.server().await.start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        client.publish_numbered("orders", 1, 3000).await;
        // Once, so that pools of connections have their size.
        churn(&client, &server).await;
        none_open(&server).await;
        let before = descriptors(&server);
        let stream = client.subscribe(from_earliest("orders")).await.unwrap();
        assert_eq!(Metrics::of(&server).await.get("eventflow_subscriptions"), 1, "open streams are counted");
        drop(stream);

        churn(&client, &server).await;
        none_open(&server).await;
        // A pool may have grown by a connection or two; a leak would show by hundreds.
        let most = before + 10;
        eventually(&format!("{most} descriptors at most"), async || (descriptors(&server) <= most).then_some(())).await;
        let mut stream = client.subscribe(from_earliest("orders")).await.unwrap();
        assert_eq!(stream.events(3000).await.len(), 3000);
    }

    async fn refused_streams_are_not_counted_as_open(backend: Backend) {
        let server = backend.server().await.start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        client.register("billing", "orders").await;
        let mut holder = client.subscribe(as_consumer("billing")).await.unwrap();
        holder.started().await;
        for _ in 0..20 {
            client.subscribe(as_consumer("billing")).await.unwrap_err();
            client.subscribe(from_earliest("nowhere")).await.unwrap_err();
        }
        assert_eq!(Metrics::of(&server).await.get("eventflow_subscriptions"), 1);
        drop(holder);
        none_open(&server).await;
    }

    async fn a_consumers_streams_that_come_and_go_leave_it_free(backend: Backend) {
        let server = backend.server().await.start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        client.register("billing", "orders").await;
        let visits: Vec<_> = (0..100).map(|n| {
            let client = client.clone();
            tokio::spawn(async move {
                let request = as_consumer("billing");
                drop(tokio::time::timeout(Duration::from_millis(n), client.subscribe(request)).await);
            })
        }).collect();
        for visit in visits {
            visit.await.unwrap();
        }
        none_open(&server).await;
        // Sooner than a hold could run out.
        let soon = Duration::from_secs(9);
        let mut stream = eventually_within(soon, "a free consumer", async || client.subscribe(as_consumer("billing")).await.ok()).await;
        assert_eq!(stream.started().await.position.unwrap().offset, 0);
    }
}
