//! A server stands still in the middle of everything, and goes on later.

use std::time::{Duration, Instant};

use eventflow::proto::v1::{self, closing::Reason, subscribe_response::Frame};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::Connection;
use tokio::{task::JoinHandle, time::sleep};
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

/// The consumer as it was on the server that stood still.
struct Lost {
    epoch: i64,
    /// What it had committed.
    committed: i64,
    /// Offsets of all that it was sent, before and after.
    sent: Vec<i64>,
    end: (Reason, tonic::Status),
}

/// Reads as `billing` to the end of the stream, committing until there are `commits` frames.
async fn hold(client: Client, mut stream: Stream, commits: usize) -> Lost {
    let epoch = stream.started().await.epoch;
    let (mut sent, mut committed, mut reason, mut frames) = (Vec::new(), 0, None, 0);
    loop {
        match stream.next_within(SILENCE).await {
            Ok(Some(Frame::Batch(batch))) => {
                sent.extend(batch.events.iter().map(|event| event.offset));
                frames += 1;
                if frames <= commits {
                    committed = *sent.last().expect("a batch is not empty");
                    commit(&client, epoch, committed).await.expect("the holder may commit");
                }
            }
            Ok(Some(Frame::Closing(closing))) => reason = Some(closing.reason()),
            Ok(Some(Frame::CaughtUp(_) | Frame::Heartbeat(_))) => {}
            Ok(other) => panic!("not what an open stream sends: {other:?}"),
            Err(status) => return Lost { epoch, committed, sent, end: (reason.expect("Closing comes first"), status) },
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
    let stream = here.subscribe(lively(as_consumer("billing"))).await.unwrap();
    let holder = tokio::spawn(hold(here.clone(), stream, 5));
    let waiting = v1::SubscribeRequest { wait: true, ..lively(as_consumer("billing")) };
    let mut waiter = there.subscribe(waiting).await.unwrap();
    // Publishers of both servers, in the middle of which one stops.
    let feed = Feed::over(&[here.clone(), there.clone()], "orders", 8, 5);
    feed.reaches(200).await;

    let process = Pid::from_raw(pair.first.pid());
    kill(process, Signal::SIGSTOP).unwrap();
    let stopped = Instant::now();
    let head = everything(there, "orders").await.len() as i64;
    feed.reaches(feed.acknowledged() + 200).await;
    let taken = served(&mut waiter).await;
    let waited = stopped.elapsed();
    assert!(waited < BY_LEASE, "the consumer was free after {waited:?}");
    sleep(STANDSTILL.saturating_sub(stopped.elapsed())).await;
    let mut postgres = database.connect().await;
    let mut lock = postgres.begin().await.unwrap();
    let locked = sqlx::query("lock table eventflow.consumers in access exclusive mode");
    locked.execute(&mut *lock).await.unwrap();
    kill(process, Signal::SIGCONT).unwrap();
    // It can read, but nobody can tell it that it has lost its consumer: it has to know by its own clock.
    sleep(UNTOLD).await;
    lock.rollback().await.unwrap();

    let lost = holder.await.expect("the stream ends as it must");
    let (reason, status) = lost.end;
    assert_eq!(reason, Reason::TakenOver);
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
        stream.await.expect("an idle stream goes on by itself");
    }
    feed.reaches(feed.acknowledged() + 200).await;
    let acknowledged = feed.stop().await;
    let found = acknowledged.assert_found_once(&everything(here, "orders").await);
    assert_eq!(taken.1, lost.committed, "where the consumer goes on");
    let handled = take_over(there, &mut waiter, taken, found as i64).await;
    println!(
        "the consumer changed hands {waited:?} after its server stopped: {} events sent before, {handled} after offset \
         {}; {found} acknowledged and found once, {} after a lost answer",
        lost.sent.len(),
        taken.1,
        acknowledged.duplicates
    );
}
