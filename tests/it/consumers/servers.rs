//! Two servers on one Postgres: a consumer is held across both.

use std::time::{Duration, Instant};

use eventflow::proto::v1::closing::Reason;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tonic::Code;

use super::{
    AT_ONCE, billing, commit, delete, ends, lively, offsets, open, register, served, status, stored, taking_over,
    waiting,
};
use crate::{
    client::{Client, as_consumer, assert_refused},
    harness::{databases::Database, redis::Redis, server::Server},
};

/// A renewal every 5 s tells a server without wake-ups that it lost a consumer; here with some patience,
/// but before a hold could run out.
const BY_RENEWAL: Duration = Duration::from_secs(10);
/// A hold of 15 s, and 2 s until the waiting stream asks again; here with some patience.
const BY_LEASE: Duration = Duration::from_secs(25);

/// Two servers, a client of each, and the consumer `billing` of a topic with five events.
async fn two() -> (Server, Client, Server, Client) {
    let (database, redis) = (Database::fresh().await, Redis::shared().await);
    let first = Server::cluster(&database, redis).start().await;
    let second = Server::cluster(&database, redis).start().await;
    let here = Client::admin(&first).await;
    let there = here.on(&second).await;
    here.create_topic("orders").await;
    here.publish_numbered("orders", 1, 5).await;
    register(&here, billing()).await.unwrap();
    (first, here, second, there)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_held_on_one_server_is_busy_on_the_other() {
    let (first, here, _second, there) = two().await;
    let (_holder, epoch, _) = open(&here, lively()).await;
    let refusal = there.subscribe(as_consumer("billing")).await.unwrap_err();
    assert_refused(&refusal, Code::FailedPrecondition, "CONSUMER_BUSY");
    let seen = status(&there, "billing").await;
    assert_eq!((seen.epoch, seen.connection_count), (epoch, 1));
    assert_eq!(seen.connections[0].server, first.listen().to_string());
    assert_eq!(commit(&there, "billing", epoch, 3).await.unwrap(), 3, "any server takes a commit");
    assert_eq!(stored(&here, "billing").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_from_another_server_ends_the_stream_on_the_first() {
    let (_first, here, second, there) = two().await;
    let (mut holder, old_epoch, _) = open(&here, lively()).await;
    let began = Instant::now();
    let (mut taker, epoch, _) = open(&there, taking_over()).await;
    assert!(epoch > old_epoch);
    // From now on, whatever the first server knows.
    let refusal = commit(&here, "billing", old_epoch, 5).await.unwrap_err();
    assert_refused(&refusal, Code::Aborted, "CONSUMER_FENCED");
    ends(&mut holder, Reason::TakenOver, Code::Aborted, "CONSUMER_FENCED").await;
    assert!(began.elapsed() < BY_RENEWAL, "{:?}", began.elapsed());

    assert_eq!(offsets(&taker.events(5).await), [1, 2, 3, 4, 5]);
    assert_eq!(commit(&here, "billing", epoch, 5).await.unwrap(), 5);
    let now = status(&here, "billing").await;
    assert_eq!((now.connection_count, now.connections[0].server.clone()), (1, second.listen().to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_waits_on_another_server_begins_soon_after_the_holder_leaves() {
    let (_first, here, _second, there) = two().await;
    let (holder, epoch, _) = open(&here, lively()).await;
    let mut waiter = there.subscribe(waiting()).await.unwrap();
    commit(&here, "billing", epoch, 3).await.unwrap();
    drop(holder);
    let left = Instant::now();
    let (next_epoch, position) = served(&mut waiter).await;
    assert!(left.elapsed() < AT_ONCE, "{:?}", left.elapsed());
    assert!(next_epoch > epoch);
    assert_eq!(position, 3);
    assert_eq!(offsets(&waiter.events(2).await), [4, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_server_is_killed_a_waiting_stream_on_another_gets_its_consumer() {
    let (mut first, here, _second, there) = two().await;
    let (_holder, epoch, _) = open(&here, lively()).await;
    commit(&here, "billing", epoch, 2).await.unwrap();
    let mut waiter = there.subscribe(waiting()).await.unwrap();
    first.kill().await;
    let killed = Instant::now();
    let (next_epoch, position) = served(&mut waiter).await;
    assert!(killed.elapsed() < BY_LEASE, "{:?}", killed.elapsed());
    assert!(next_epoch > epoch);
    assert_eq!(position, 2);
    let refusal = commit(&there, "billing", epoch, 4).await.unwrap_err();
    assert_refused(&refusal, Code::Aborted, "CONSUMER_FENCED");
    assert_eq!(offsets(&waiter.events(3).await), [3, 4, 5]);
    let now = status(&there, "billing").await;
    assert_eq!((now.epoch, now.connection_count), (next_epoch, 1), "a killed server's stream is not listed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stood_still_sends_nothing_after_it_lost_its_consumer() {
    let (first, here, _second, there) = two().await;
    let (mut holder, epoch, _) = open(&here, lively()).await;
    holder.until_caught_up().await;
    let mut waiter = there.subscribe(waiting()).await.unwrap();
    let first_process = Pid::from_raw(first.pid());
    kill(first_process, Signal::SIGSTOP).unwrap();
    let (next_epoch, _) = served(&mut waiter).await;
    assert!(next_epoch > epoch);
    waiter.events(5).await;
    there.publish_numbered("orders", 6, 3).await;
    assert_eq!(offsets(&waiter.events(3).await), [6, 7, 8]);

    // It finds the new events and the loss of its hold in any order, and has to know by its own clock.
    kill(first_process, Signal::SIGCONT).unwrap();
    let late = ends(&mut holder, Reason::TakenOver, Code::Aborted, "CONSUMER_FENCED").await;
    assert!(late.is_empty(), "events {late:?} were sent to two streams");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_deleted_on_another_server_ends_its_stream() {
    let (_first, here, _second, there) = two().await;
    let (mut holder, ..) = open(&here, lively()).await;
    let began = Instant::now();
    delete(&there, "billing").await.unwrap();
    ends(&mut holder, Reason::Deleted, Code::NotFound, "CONSUMER_NOT_FOUND").await;
    assert!(began.elapsed() < BY_RENEWAL, "{:?}", began.elapsed());
}
