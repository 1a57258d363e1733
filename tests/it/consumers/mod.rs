//! Consumers, over sockets: registering, seeing, holding, committing, deleting.

mod deleting;
mod holding;
mod looking;
mod managing;
mod offsets;
mod polling;
mod registering;
mod renewing;
mod servers;
mod starts;
mod taking_over;
mod waiting;

use std::time::Duration;

use eventflow::proto::v1::{self, subscribe_response::Frame};
use tonic::{Code, Status};

use crate::{
    client::{Client, Stream, as_consumer, assert_refused},
    harness::{backend::Backend, server::Server},
};

/// Less than a hold lasts that nobody gave back.
const AT_ONCE: Duration = Duration::from_secs(9);

/// A server with the topic `orders` of `count` numbered events, and its admin.
async fn orders(backend: Backend, count: usize) -> (Server, Client) {
    let server = backend.server().await.start().await;
    let client = Client::admin(&server).await;
    client.create_topic("orders").await;
    client.publish_numbered("orders", 1, count).await;
    (server, client)
}

/// A consumer of `orders` to be registered.
fn billing() -> v1::Consumer {
    v1::Consumer { name: "billing".into(), topic: "orders".into(), ..Default::default() }
}

async fn register(client: &Client, consumer: v1::Consumer) -> Result<v1::Consumer, Status> {
    let request = v1::RegisterConsumerRequest { consumer: Some(consumer), if_not_exists: false };
    Ok(client.consumers().register_consumer(request).await?.into_inner().consumer.expect("a consumer"))
}

async fn get(client: &Client, name: &str) -> Result<v1::Consumer, Status> {
    let request = v1::GetConsumerRequest { name: name.into() };
    Ok(client.consumers().get_consumer(request).await?.into_inner().consumer.expect("a consumer"))
}

async fn delete(client: &Client, name: &str) -> Result<(), Status> {
    let request = v1::DeleteConsumerRequest { name: name.into() };
    client.consumers().delete_consumer(request).await.map(drop)
}

/// Commits, and returns what is stored then.
async fn commit(client: &Client, name: &str, epoch: i64, offset: i64) -> Result<i64, Status> {
    let request = v1::CommitOffsetRequest { consumer: name.into(), offset, epoch };
    let response = client.consumers().commit_offset(request).await?.into_inner();
    Ok(response.position.expect("a position").offset)
}

/// The status of a consumer that exists.
async fn status(client: &Client, name: &str) -> v1::ConsumerStatus {
    get(client, name).await.expect("the consumer exists").status.expect("a consumer has a status")
}

/// The offset that is stored for a consumer.
async fn stored(client: &Client, name: &str) -> i64 {
    status(client, name).await.position.expect("a status has a position").offset
}

/// A request for `billing` with a sign of life each second.
fn lively() -> v1::SubscribeRequest {
    let heartbeat_interval = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    v1::SubscribeRequest { heartbeat_interval, ..as_consumer("billing") }
}

/// A request for `billing` that waits for it to be free.
fn waiting() -> v1::SubscribeRequest {
    v1::SubscribeRequest { wait: true, ..lively() }
}

/// A request for `billing` that takes it from whoever has it.
fn taking_over() -> v1::SubscribeRequest {
    v1::SubscribeRequest { take_over: true, ..lively() }
}

/// Opens a stream, which must have what it asks for at once; returns its epoch and first position too.
async fn open(client: &Client, request: v1::SubscribeRequest) -> (Stream, i64, i64) {
    let mut stream = client.subscribe(request).await.expect("the stream opens");
    let started = stream.started().await;
    (stream, started.epoch, started.position.expect("a position").offset)
}

/// Reads heartbeats of a waiting stream until it has the consumer; returns its epoch and position.
async fn served(stream: &mut Stream) -> (i64, i64) {
    loop {
        match stream.frame().await {
            Frame::Heartbeat(heartbeat) => assert!(heartbeat.waiting, "a heartbeat before Started says waiting"),
            Frame::Started(started) => return (started.epoch, started.position.expect("a position").offset),
            other => panic!("neither a heartbeat nor Started: {other:?}"),
        }
    }
}

/// Reads a stream to its end, which must be Closing with this reason and then this refusal; returns the
/// offsets that came before.
async fn ends(stream: &mut Stream, reason: v1::closing::Reason, code: Code, status: &str) -> Vec<i64> {
    let mut offsets = Vec::new();
    loop {
        match stream.frame().await {
            Frame::Batch(batch) => offsets.extend(batch.events.iter().map(|event| event.offset)),
            Frame::Closing(closing) => {
                assert_eq!(closing.reason(), reason);
                break;
            }
            Frame::CaughtUp(_) | Frame::Heartbeat(_) => {}
            other => panic!("not an end: {other:?}"),
        }
    }
    let refusal = stream.next().await.expect_err("after Closing there is only a status");
    assert_refused(&refusal, code, status);
    offsets
}

fn offsets(events: &[v1::Event]) -> Vec<i64> {
    events.iter().map(|event| event.offset).collect()
}
