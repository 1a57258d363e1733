//! Packing and verifying, over sockets and as people with SQL see it.

mod background;
mod faults;
mod immutable;
mod tampering;
mod verifying;

use std::time::Duration;

use eventflow::proto::v1::{self, VerifyTopicResponse, verify_topic_response::NotedHash};
use tonic::Status;

use crate::{
    client::{Client, event},
    harness::{
        patience::eventually_within,
        server::{Server, Start},
    },
    observe::Metrics,
};

/// Packs what is older than this.
const SOON: (&str, &str) = ("--pack-after", "100ms");
/// Until something is packed, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that packs soon.
fn packing(start: Start) -> Start {
    start.flag(SOON.0, SOON.1)
}

/// An event that is packed alone, so that what is before it is packed soon.
fn large() -> v1::NewEvent {
    event(&"x".repeat(300_000))
}

/// Publishes events, each by itself, and a large one behind them.
async fn publish_alone(client: &Client, topic: &str, count: usize) {
    for n in 0..count {
        client.publish(topic, vec![event(&n.to_string())]).await.expect("an event can be published");
    }
    client.publish(topic, vec![large()]).await.expect("an event can be published");
}

/// One part.
async fn part(client: &Client, request: v1::VerifyTopicRequest) -> Result<VerifyTopicResponse, Status> {
    Ok(client.topics().verify_topic(request).await?.into_inner())
}

/// What verifying all parts finds; events are counted over all of them.
async fn verify_noted(client: &Client, topic: &str, hash: &str, offset: i64) -> VerifyTopicResponse {
    let (mut events, mut noted, mut page_token) = (0, NotedHash::Unspecified, String::new());
    loop {
        let (name, noted_hash) = (topic.to_owned(), hash.to_owned());
        let request = v1::VerifyTopicRequest { name, noted_hash, noted_offset: offset, page_token };
        let found = part(client, request).await.expect("a topic can be verified");
        events += found.verified_events;
        if found.noted() != NotedHash::Unspecified {
            noted = found.noted();
        }
        if found.next_page_token.is_empty() {
            return VerifyTopicResponse { verified_events: events, noted: noted.into(), ..found };
        }
        page_token = found.next_page_token;
    }
}

/// As [`verify_noted`], without a noted hash.
async fn verify(client: &Client, topic: &str) -> VerifyTopicResponse {
    verify_noted(client, topic, "", 0).await
}

/// Waits until a topic is packed up to an offset, and nothing of it is altered.
async fn packed_to(client: &Client, topic: &str, offset: i64) -> VerifyTopicResponse {
    eventually_within(PATIENCE, &format!("{topic} to be packed up to {offset}"), async || {
        let found = verify(client, topic).await;
        assert_eq!(found.altered, None);
        (found.packed_offset >= offset).then_some(found)
    })
    .await
}

/// How often a server sent a statement to the store.
async fn sent(server: &Server, statement: &str) -> u64 {
    Metrics::of(server).await.with("eventflow_store_statements_total", &[("statement", statement)])
}
