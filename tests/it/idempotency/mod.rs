//! Events with ids are stored once, whatever is repeated, refused, or broken meanwhile.

mod cuts;
mod refusals;
mod repeats;
mod together;
mod unknown;

use eventflow::proto::v1;

use crate::{
    client::{Client, event},
    harness::{backend::Backend, server::Server},
};

/// A server with the topic `orders`, and its admin.
async fn with_topic(backend: Backend) -> (Server, Client) {
    let server = backend.server().await.start().await;
    let client = Client::admin(&server).await;
    client.create_topic("orders").await;
    (server, client)
}

/// An event with an id and a text.
fn keyed(id: &str, text: &str) -> v1::NewEvent {
    v1::NewEvent { id: id.into(), ..event(text) }
}

/// Events whose ids are `prefix` and a number, with texts of their own.
fn batch(prefix: &str, count: usize) -> Vec<v1::NewEvent> {
    (0..count).map(|n| keyed(&format!("{prefix}-{n}"), &format!("text {n}"))).collect()
}

/// A request for `orders`.
fn request(events: Vec<v1::NewEvent>) -> v1::PublishRequest {
    v1::PublishRequest { topic: "orders".into(), events, ..Default::default() }
}

/// Where events are, and whether they had been there before.
fn places(published: &[v1::Published]) -> Vec<(i64, bool)> {
    published.iter().map(|published| (published.offset, published.duplicate)).collect()
}

/// The head of a topic.
async fn head(client: &Client, topic: &str) -> i64 {
    let request = v1::GetTopicRequest { name: topic.into() };
    let response = client.topics().get_topic(request).await.expect("a topic can be looked at").into_inner();
    response.topic.expect("a topic is told").head_offset
}
