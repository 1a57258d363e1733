//! A server stands still in the middle of everything, and goes on later.

use std::time::{Duration, Instant};

use eventflow::proto::v1::{self, closing::Reason, subscribe_response::Frame};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::Connection;
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use tonic::Code;

use super::Pair;
use crate::{
    client::{self, Client, Stream, as_consumer, assert_refused, event, from_earliest},
    feed::{Feed, everything},
    harness::databases::Database,
};

/// How long the server stands still at least: longer than a hold of 15 s.
const STANDSTILL: Duration = Duration::from_secs(20);
/// A hold of 15 s, and 2 s until the waiting stream asks again; here with some patience.
const BY_LEASE: Duration = Duration::from_secs(25);
/// How long the server is not told that it lost its consumer.
const UNTOLD: Duration = Duration::from_secs(1);
/// A stream of the server may be silent for this long.
const SILENCE: Duration = Duration::from_secs(60);

/// With a sign of life each second.
fn lively(request: v1::SubscribeRequest) -> v1::SubscribeRequest {
    v1::SubscribeRequest { heartbeat_interval: Some(prost_types::Duration { seconds: 1, nanos: 0 }), ..request }
}

/// Commits as `billing`.
async fn commit(client: &Client, epoch: i64, offset: i64) -> Result<(), tonic::Status> {
    let request = v1::CommitOffsetRequest { consumer: "billing".into(), offset, epoch };
    client.consumers().commit_offset(request).await.map(drop)
}

/// The consumer on the server that stands still.
struct Holder {
    stream: Stream,
    epoch: i64,
    /// Offsets of all that it was sent.
    sent: Vec<i64>,
    /// What it has committed.
    committed: i64,
}

impl Holder {
    /// Takes the consumer.
    async fn start(client: &Client) -> Self {
        let mut stream = client.subscribe(lively(as_consumer("billing"))).await.unwrap();
        let epoch = stream.started().await.epoch;
        Self { stream, epoch, sent: Vec::new(), committed: 0 }
    }

    /// Reads so many frames with events, and commits each.
    async fn work(&mut self, client: &Client, mut frames: usize) {
        while frames > 0 {
            let Frame::Batch(batch) = self.stream.frame().await else { continue };
            self.sent.extend(batch.events.iter().map(|event| event.offset));
            self.committed = *self.sent.last().expect("a batch is not empty");
            commit(client, self.epoch, self.committed).await.expect("the holder may commit");
            frames -= 1;
        }
    }

    /// Reads to the end of the stream, and returns how it ended.
    async fn rest(mut self) -> (Self, Option<Reason>, tonic::Status) {
        let mut reason = None;
        loop {
            match self.stream.next_within(SILENCE).await {
                Ok(Some(Frame::Batch(batch))) => self.sent.extend(batch.events.iter().map(|event| event.offset)),
                Ok(Some(Frame::Closing(closing))) => reason = Some(closing.reason()),
                Ok(Some(Frame::CaughtUp(_) | Frame::Heartbeat(_))) => {}
                Ok(other) => panic!("not what an open stream sends: {other:?}"),
                Err(status) => return (self, reason, status),
            }
        }
    }
}

/// Waits, with heartbeats, until the stream has the consumer; returns its epoch and position.
async fn served(stream: &mut Stream) -> (i64, i64) {
    loop {
        match stream.frame().await {
            Frame::Heartbeat(heartbeat) => assert!(heartbeat.waiting),
            Frame::Started(started) => return (started.epoch, started.position.expect("a position").offset),
            other => panic!("neither a heartbeat nor Started: {other:?}"),
        }
    }
}

/// Reads as `billing` up to this offset, and commits it; returns how many events that were.
async fn take_over(client: &Client, stream: &mut Stream, (epoch, position): (i64, i64), head: i64) -> usize {
    let mut next = position + 1;
    while next <= head {
        if let Frame::Batch(batch) = stream.frame().await {
            for event in batch.events {
                assert_eq!(event.offset, next, "a gap or a repeat");
                next += 1;
            }
        }
    }
    commit(client, epoch, next - 1).await.expect("the new holder may commit");
    (next - 1 - position) as usize
}

/// A stream that sees this text and nothing else.
fn waits_for(mut stream: Stream, text: &'static str) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            match stream.next_within(SILENCE).await.expect("the stream goes on").expect("the stream goes on") {
                Frame::Batch(batch) => {
                    break assert_eq!(batch.events.iter().map(client::text).collect::<Vec<_>>(), [text]);
                }
                Frame::Started(_) | Frame::CaughtUp(_) | Frame::Heartbeat(_) => {}
                other => panic!("neither events nor a sign of life: {other:?}"),
            }
        }
    })
}

/// Waits for what goes on by itself after the standstill.
async fn in_time<T>(task: JoinHandle<T>) -> T {
    timeout(SILENCE, task).await.expect("a stream goes on, or ends, by itself").expect("it goes on as it must")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stood_still_loses_its_consumer_and_nothing_else() {
    let database = Database::fresh().await;
    let pair = Pair::over(&database, &[]).await;
    let (here, there) = (&pair.here, &pair.there);
    here.create_topic("quiet").await;
    here.register("billing", "orders").await;
    let idle: Vec<_> = [
        here.subscribe(lively(from_earliest("quiet"))).await.unwrap(),
        here.subscribe(lively(from_earliest("quiet"))).await.unwrap(),
    ]
    .map(|stream| waits_for(stream, "after it all"))
    .into();
    let mut holder = Holder::start(here).await;
    let waiting = v1::SubscribeRequest { wait: true, ..lively(as_consumer("billing")) };
    let mut waiter = there.subscribe(waiting).await.unwrap();
    // Publishers of both servers, in the middle of which one stops.
    let feed = Feed::over(&[here.clone(), there.clone()], "orders", 8, 5);
    holder.work(here, 5).await;
    let holder = tokio::spawn(holder.rest());
    feed.reaches(200).await;

    let process = Pid::from_raw(pair.first.pid());
    kill(process, Signal::SIGSTOP).unwrap();
    let stopped = Instant::now();
    let head = everything(there, "orders").await.len() as i64;
    feed.reaches(feed.acknowledged() + 200).await;
    let taken = timeout(BY_LEASE, served(&mut waiter)).await.expect("a lost consumer is free when its lease ends");
    let waited = stopped.elapsed();
    sleep(STANDSTILL.saturating_sub(stopped.elapsed())).await;
    let mut postgres = database.connect().await;
    let mut lock = postgres.begin().await.unwrap();
    let locked = sqlx::query("lock table eventflow.consumers in access exclusive mode");
    locked.execute(&mut *lock).await.unwrap();
    kill(process, Signal::SIGCONT).unwrap();
    // It can read, but nobody can tell it that it has lost its consumer: it has to know by its own clock.
    sleep(UNTOLD).await;
    lock.rollback().await.unwrap();

    let (lost, reason, status) = in_time(holder).await;
    assert_eq!(reason, Some(Reason::TakenOver));
    assert_refused(&status, Code::Aborted, "CONSUMER_FENCED");
    assert!(lost.sent.iter().copied().eq(1..=lost.sent.len() as i64), "a gap or a repeat");
    let last = *lost.sent.last().expect("it was sent something");
    assert!(last <= head, "event {last} was recorded while the server stood still, after {head}");
    for client in [here, there] {
        let refusal = commit(client, lost.epoch, last).await.expect_err("another stream has the consumer");
        assert_refused(&refusal, Code::Aborted, "CONSUMER_FENCED");
    }
    there.publish("quiet", vec![event("after it all")]).await.unwrap();
    for stream in idle {
        in_time(stream).await;
    }
    feed.reaches(feed.acknowledged() + 200).await;
    let acknowledged = feed.stop().await;
    let found = acknowledged.assert_found_once(&everything(here, "orders").await);
    assert_eq!(taken.1, lost.committed, "where the consumer goes on");
    let handled = take_over(there, &mut waiter, taken, found as i64);
    let handled = timeout(SILENCE, handled).await.expect("the new holder gets everything");
    println!(
        "the consumer changed hands {waited:?} after its server stopped: {} events sent before, {handled} after offset \
         {}; {found} acknowledged and found once, {} after a lost answer",
        lost.sent.len(),
        taken.1,
        acknowledged.duplicates
    );
}
