//! MODE_QUEUE, over sockets: deliveries, settling, retries, dead letters, and everything that ends.

mod changing;
mod chaos;
mod dead_letters;
mod delivering;
mod ending;
mod flow;
mod keys;
mod limits;
mod poison;
mod polling;
mod refusals;
mod retries;
mod servers;

use std::time::Duration;

use eventflow::proto::v1::{self, subscribe_response::Frame};
use prost_types::Duration as Span;
use tonic::{Code, Status};

use crate::{
    client::{Client, Stream, as_consumer, assert_refused, event},
    harness::{backend::Backend, databases::Database, patience::eventually, redis::Redis, server::Server},
    observe::hears_others,
};

/// Nothing is expected to come within this time.
const A_WHILE: Duration = Duration::from_millis(700);

fn seconds(seconds: i64) -> Option<Span> {
    Some(Span { seconds, nanos: 0 })
}

fn millis(millis: i32) -> Span {
    Span { seconds: i64::from(millis / 1000), nanos: millis % 1000 * 1_000_000 }
}

/// The consumer `work` of the topic `jobs`, to be registered.
fn work() -> v1::Consumer {
    let backoff = vec![millis(100)];
    v1::Consumer {
        name: "work".into(),
        topic: "jobs".into(),
        mode: v1::Mode::Queue.into(),
        backoff,
        ..Default::default()
    }
}

/// A server with the topic `jobs`, the consumer, and the admin.
async fn jobs(backend: Backend, consumer: v1::Consumer) -> (Server, Client) {
    let server = backend.server().await.start().await;
    let client = Client::admin(&server).await;
    client.create_topic("jobs").await;
    register(&client, consumer).await;
    (server, client)
}

/// Two servers over one Postgres and Redis, with the topic `jobs` and the consumer.
struct Two {
    first: Server,
    here: Client,
    second: Server,
    there: Client,
}

impl Two {
    async fn start(consumer: v1::Consumer) -> Self {
        Self::with(consumer, &[]).await
    }

    /// Two that never look for what nobody told them of.
    async fn without_polls(consumer: v1::Consumer) -> Self {
        Self::with(consumer, &[("--poll-interval", "1h")]).await
    }

    async fn with(consumer: v1::Consumer, flags: &[(&str, &str)]) -> Self {
        let (database, redis) = (Database::fresh().await, Redis::shared().await);
        let start =
            || flags.iter().fold(Server::cluster(&database, redis), |start, (name, value)| start.flag(name, value));
        let (first, second) = (start().start().await, start().start().await);
        let here = Client::admin(&first).await;
        let there = here.on(&second).await;
        here.create_topic("jobs").await;
        register(&here, consumer).await;
        hears_others(&first).await;
        hears_others(&second).await;
        Self { first, here, second, there }
    }
}

async fn register(client: &Client, consumer: v1::Consumer) {
    let request = v1::RegisterConsumerRequest { consumer: Some(consumer), if_not_exists: false };
    client.consumers().register_consumer(request).await.expect("a consumer in MODE_QUEUE can be registered");
}

/// Publishes events with these keys; their texts are their places, from 1 on.
async fn publish_keys(client: &Client, keys: &[&str]) {
    let events =
        keys.iter().enumerate().map(|(n, key)| v1::NewEvent { key: (*key).into(), ..event(&(n + 1).to_string()) });
    client.publish("jobs", events.collect()).await.expect("events can be published");
}

async fn get(client: &Client) -> v1::Consumer {
    let request = v1::GetConsumerRequest { name: "work".into() };
    let response = client.consumers().get_consumer(request).await.expect("the consumer exists");
    response.into_inner().consumer.expect("a consumer")
}

async fn status(client: &Client) -> v1::ConsumerStatus {
    get(client).await.status.expect("a status")
}

/// Position, deliveries in flight, retrying events and dead letters.
async fn numbers(client: &Client) -> (i64, i64, i64, i64) {
    let status = status(client).await;
    let number = |value: Option<i64>| value.expect("it is there in MODE_QUEUE");
    let position = status.position.expect("a position").offset;
    (position, number(status.in_flight), number(status.retrying), number(status.dead_letters))
}

/// Waits for these numbers.
async fn becomes(client: &Client, expected: (i64, i64, i64, i64)) {
    eventually(&format!("the consumer to be at {expected:?}"), async || {
        (numbers(client).await == expected).then_some(())
    })
    .await;
}

/// A request for `work` with a sign of life each second.
fn request() -> v1::SubscribeRequest {
    v1::SubscribeRequest { heartbeat_interval: seconds(1), ..as_consumer("work") }
}

/// As [`request`], with so many deliveries at once.
fn at_once(max_in_flight: i32) -> v1::SubscribeRequest {
    v1::SubscribeRequest { max_in_flight, ..request() }
}

/// A stream that works.
struct Worker {
    client: Client,
    stream: Stream,
}

/// One delivery as tests see it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Got {
    lease: String,
    offset: i64,
    key: String,
    attempt: i32,
}

impl Worker {
    async fn open(client: &Client, request: v1::SubscribeRequest) -> Self {
        let mut stream = client.subscribe(request).await.expect("the stream opens");
        stream.started().await;
        Self { client: client.clone(), stream }
    }

    /// The next frame with deliveries.
    async fn batch(&mut self) -> v1::DeliveryBatch {
        loop {
            match self.stream.frame().await {
                Frame::Deliveries(batch) => return batch,
                Frame::Heartbeat(_) | Frame::CaughtUp(_) => {}
                other => panic!("no deliveries: {other:?}"),
            }
        }
    }

    /// The next so many deliveries, in whatever frames they come.
    async fn take(&mut self, count: usize) -> Vec<Got> {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(got(&self.batch().await));
        }
        assert_eq!(all.len(), count, "more came than was expected: {all:?}");
        all
    }

    /// Nothing but signs of life comes for a while.
    async fn gets_nothing(&mut self) {
        let end = tokio::time::Instant::now() + A_WHILE;
        while let Ok(frame) = tokio::time::timeout_at(end, self.stream.next()).await {
            match frame {
                Ok(Some(Frame::Heartbeat(_) | Frame::CaughtUp(_))) => {}
                other => panic!("nothing should come: {other:?}"),
            }
        }
    }

    /// As [`take`](Self::take), each acknowledged when it comes; and whether it came alone.
    async fn work_off(&mut self, count: usize) -> Vec<(Got, bool)> {
        let mut all = Vec::new();
        while all.len() < count {
            let came = got(&self.batch().await);
            self.ack(&came).await;
            let alone = came.len() == 1;
            all.extend(came.into_iter().map(|one| (one, alone)));
        }
        assert_eq!(all.len(), count, "more came than was expected: {all:?}");
        all
    }

    /// Reads to the end, which must be Closing with this reason and then this refusal; what came before.
    async fn ends(&mut self, reason: v1::closing::Reason, code: Code, refusal: &str) -> Vec<Got> {
        let mut all = Vec::new();
        loop {
            match self.stream.frame().await {
                Frame::Deliveries(batch) => all.extend(got(&batch)),
                Frame::Closing(closing) => {
                    assert_eq!(closing.reason(), reason);
                    break;
                }
                Frame::CaughtUp(_) | Frame::Heartbeat(_) => {}
                other => panic!("not an end: {other:?}"),
            }
        }
        let status = self.stream.next().await.expect_err("after Closing there is only a status");
        assert_refused(&status, code, refusal);
        all
    }

    /// Acknowledges deliveries, which must go well.
    async fn ack(&self, deliveries: &[Got]) {
        for (lease, offsets) in by_lease(deliveries) {
            assert_eq!(settle(&self.client, v1::SettleRequest { ack: offsets, ..of(&lease) }).await.unwrap(), []);
        }
    }

    /// Says that one failed, which must go well.
    async fn nack(&self, delivery: &Got, nack: v1::Nack) {
        let nack = vec![v1::Nack { offset: delivery.offset, ..nack }];
        assert_eq!(settle(&self.client, v1::SettleRequest { nack, ..of(&delivery.lease) }).await.unwrap(), []);
    }
}

/// The deliveries of a frame.
fn got(batch: &v1::DeliveryBatch) -> Vec<Got> {
    let one = |delivery: &v1::Delivery| {
        let event = delivery.event.as_ref().expect("an event");
        Got { lease: batch.lease_id.clone(), offset: event.offset, key: event.key.clone(), attempt: delivery.attempt }
    };
    batch.deliveries.iter().map(one).collect()
}

fn by_lease(deliveries: &[Got]) -> Vec<(String, Vec<i64>)> {
    let mut leases: Vec<(String, Vec<i64>)> = Vec::new();
    for delivery in deliveries {
        match leases.iter_mut().find(|(lease, _)| *lease == delivery.lease) {
            Some((_, offsets)) => offsets.push(delivery.offset),
            None => leases.push((delivery.lease.clone(), vec![delivery.offset])),
        }
    }
    leases
}

fn offsets(deliveries: &[Got]) -> Vec<i64> {
    deliveries.iter().map(|one| one.offset).collect()
}

fn attempts(deliveries: &[Got]) -> Vec<i32> {
    deliveries.iter().map(|one| one.attempt).collect()
}

/// A request to settle deliveries of a lease, without any yet.
fn of(lease: &str) -> v1::SettleRequest {
    v1::SettleRequest { consumer: "work".into(), lease_id: lease.into(), ..Default::default() }
}

/// Settles, and returns what did not go as asked.
async fn settle(client: &Client, request: v1::SettleRequest) -> Result<Vec<(i64, v1::settle_failure::Cause)>, Status> {
    let response = client.consumers().settle(request).await?.into_inner();
    Ok(response.failures.iter().map(|failure| (failure.offset, failure.cause())).collect())
}

/// Publishes so many events and has them given up at once.
async fn take_dead(client: &Client, count: usize) {
    client.publish_numbered("jobs", 1, count).await;
    let mut worker = Worker::open(client, at_once(1000)).await;
    for one in worker.take(count).await {
        let hopeless =
            v1::Nack { error: format!("failure of {}", one.offset), dead_letter: true, ..Default::default() };
        worker.nack(&one, hopeless).await;
    }
}

async fn dead_letters(client: &Client) -> Vec<v1::DeadLetter> {
    let request = v1::ListDeadLettersRequest { consumer: "work".into(), ..Default::default() };
    client.consumers().list_dead_letters(request).await.expect("they can be listed").into_inner().dead_letters
}
