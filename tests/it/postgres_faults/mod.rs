//! Postgres breaks in the ways of a production week.

mod disk_full;
mod failover;
mod follower;
mod freezing;
mod locks;
mod lost_tail;
mod partition;
mod replaced;
mod restarting;
mod restored;
mod snapshot;
mod stopping;

use eventflow::proto::v1;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{
    client::{Client, assert_refused},
    harness::server::Server,
};

/// A server on a database, and its admin.
async fn server_on(url: &str) -> (Server, Client) {
    let server = Server::embedded().environment("EVENTFLOW_DATABASE_URL", url).start().await;
    let client = Client::admin(&server).await;
    (server, client)
}

/// Asserts that a call was refused for want of the database, that nothing happened, and that the caller is
/// told when to call again.
#[track_caller]
fn assert_unavailable(status: &Status) {
    assert_refused(status, Code::Unavailable, "STORAGE_UNAVAILABLE");
    let retry = status.get_details_retry_info().expect("RetryInfo");
    assert!(retry.retry_delay.is_some_and(|delay| !delay.is_zero()), "{status:?}");
}

async fn get_topic(client: &Client, name: &str) -> Result<v1::Topic, Status> {
    let response = client.topics().get_topic(v1::GetTopicRequest { name: name.into() }).await?;
    Ok(response.into_inner().topic.expect("a topic is told"))
}

/// The newest offset of a topic.
async fn head(client: &Client, topic: &str) -> i64 {
    get_topic(client, topic).await.expect("a topic can be looked at").head_offset
}

async fn commit(client: &Client, consumer: &str, epoch: i64, offset: i64) -> Result<(), Status> {
    let request = v1::CommitOffsetRequest { consumer: consumer.into(), offset, epoch };
    client.consumers().commit_offset(request).await.map(drop)
}
