//! Topics, over sockets: deleting, retention, trimming, and the names of logs.

mod deleting;
mod deleting_races;
mod in_use;
mod removing;
mod retention;
mod trimming;

use std::time::Duration;

use eventflow::proto::v1::{self, closing::Reason, subscribe_response::Frame};
use tonic::{Code, Status};

use crate::{
    client::{Client, Stream, assert_refused},
    harness::{
        backend::Backend,
        databases::Database,
        redis::Redis,
        server::{Server, Start},
    },
    observe::{Metrics, hears_others},
};

/// How often servers look for what is to be removed.
const OFTEN: (&str, &str) = ("--retention-interval", "50ms");
/// Less than the minute after which a server would look by default.
const SOON: Duration = Duration::from_secs(40);

/// A server that removes soon what is due, and its admin.
async fn server(backend: Backend) -> (Server, Client) {
    let server = backend.server().await.flag(OFTEN.0, OFTEN.1).start().await;
    let client = Client::admin(&server).await;
    (server, client)
}

/// One of the servers over a database, which removes soon what is due.
fn member(database: &Database, redis: Option<&Redis>) -> Start {
    let start = match redis {
        Some(redis) => Server::cluster(database, redis),
        None => Server::embedded().environment("EVENTFLOW_DATABASE_URL", &database.url()),
    };
    start.flag(OFTEN.0, OFTEN.1)
}

/// Two servers over a database that wake each other, and an admin of each.
async fn pair(database: &Database, flags: &[(&str, &str)]) -> ([Server; 2], [Client; 2]) {
    let redis = Redis::shared().await;
    let start = || flags.iter().fold(member(database, Some(redis)), |start, (name, value)| start.flag(name, value));
    let servers = [start().start().await, start().start().await];
    let here = Client::admin(&servers[0]).await;
    let there = here.on(&servers[1]).await;
    for server in &servers {
        hears_others(server).await;
    }
    (servers, [here, there])
}

async fn create(client: &Client, topic: v1::Topic) -> v1::Topic {
    let request = v1::CreateTopicRequest { topic: Some(topic), if_not_exists: false };
    client.topics().create_topic(request).await.expect("a topic can be created").into_inner().topic.expect("a topic")
}

async fn get(client: &Client, name: &str) -> Result<v1::Topic, Status> {
    let response = client.topics().get_topic(v1::GetTopicRequest { name: name.into() }).await?;
    Ok(response.into_inner().topic.expect("a topic"))
}

async fn delete(client: &Client, name: &str) -> Result<(), Status> {
    client.topics().delete_topic(v1::DeleteTopicRequest { name: name.into() }).await.map(drop)
}

/// Reads a stream to its end, which must say that the topic is gone; returns the offsets that came before.
async fn ends_deleted(stream: &mut Stream) -> Vec<i64> {
    let mut offsets = Vec::new();
    loop {
        match stream.frame().await {
            Frame::Batch(batch) => offsets.extend(batch.events.iter().map(|event| event.offset)),
            Frame::Closing(closing) => {
                assert_eq!(closing.reason(), Reason::Deleted);
                break;
            }
            Frame::CaughtUp(_) | Frame::Heartbeat(_) => {}
            other => panic!("not an end: {other:?}"),
        }
    }
    let refusal = stream.next().await.expect_err("after Closing there is only a status");
    assert_refused(&refusal, Code::NotFound, "TOPIC_NOT_FOUND");
    offsets
}

/// Events that a server removed in the background for this cause.
async fn removed(server: &Server, cause: &str) -> u64 {
    Metrics::of(server).await.with("eventflow_removed_events_total", &[("cause", cause)])
}
