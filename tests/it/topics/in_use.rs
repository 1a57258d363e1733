//! Topics in use are looked up together, which keeps nothing that is gone.

use std::time::Duration;

use tonic::Code;

use super::delete;
use crate::{
    client::{Client, assert_refused, event},
    harness::{
        backend::{Backend, on_both_stores},
        patience::eventually,
    },
    observe::Metrics,
};

/// Topics that are published to all the time.
const TOPICS: usize = 20;
/// Between two rounds: longer than an append takes.
const PAUSE: Duration = Duration::from_millis(200);

async fn publish_to_all(client: &Client) {
    for n in 0..TOPICS {
        client.publish(&format!("orders-{n}"), vec![event("x")]).await.unwrap();
    }
    tokio::time::sleep(PAUSE).await;
}

on_both_stores! {
    async fn topics_in_use_are_looked_up_together(backend: Backend) {
        let server = backend.server().await.start().await;
        let client = Client::admin(&server).await;
        for n in 0..TOPICS {
            client.create_topic(&format!("orders-{n}")).await;
        }
        let sent = async || {
            let metrics = Metrics::of(&server).await;
            metrics.with("eventflow_store_statements_total", &[("statement", "find_topics")])
        };
        eventually("the topics to be looked up together", async || {
            publish_to_all(&client).await;
            (sent().await > 0).then_some(())
        })
        .await;
        // What is gone is not kept by it.
        delete(&client, "orders-0").await.unwrap();
        let refusal = client.publish("orders-0", vec![event("x")]).await.unwrap_err();
        assert_refused(&refusal, Code::NotFound, "TOPIC_NOT_FOUND");
        client.create_topic("orders-0").await;
        publish_to_all(&client).await;
    }
}
