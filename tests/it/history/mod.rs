//! Looking into a topic's history: single events, and pages of them.

mod listing;
mod model;
mod single;
mod tokens;

use eventflow::proto::v1;
use tonic::Status;

use crate::client::Client;

/// A query for every event of `orders`.
fn all() -> v1::ListEventsRequest {
    v1::ListEventsRequest { topic: "orders".into(), ..Default::default() }
}

/// One page.
async fn page(client: &Client, request: v1::ListEventsRequest) -> Result<v1::ListEventsResponse, Status> {
    client.events().list_events(request).await.map(tonic::Response::into_inner)
}

/// All pages of a query, each as its events.
async fn pages(client: &Client, request: &v1::ListEventsRequest) -> Vec<Vec<v1::Event>> {
    let (mut pages, mut page_token) = (Vec::new(), String::new());
    loop {
        let next = v1::ListEventsRequest { page_token, ..request.clone() };
        let answer = page(client, next).await.expect("a page is listed");
        pages.push(answer.events);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return pages;
        }
        assert!(pages.len() < 10_000, "a listing without an end");
    }
}

/// The offsets of a query's events, over all its pages.
async fn listed(client: &Client, request: &v1::ListEventsRequest) -> Vec<i64> {
    pages(client, request).await.iter().flatten().map(|event| event.offset).collect()
}

/// Removes the events before an offset.
async fn trim(client: &Client, before_offset: i64) -> i64 {
    let request = v1::TrimTopicRequest { name: "orders".into(), before_offset, validate_only: false };
    client.topics().trim_topic(request).await.expect("a topic can be trimmed").into_inner().earliest_offset
}
