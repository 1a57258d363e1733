//! One server after the other is stopped and started while everything goes on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use eventflow::proto::v1::{self, closing::Reason, subscribe_response::Frame};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tonic::Code;

use super::Pair;
use crate::{
    client::{Client, Stream, after, as_consumer, assert_refused},
    feed::{Feed, everything, may_be_repeated},
    harness::patience::eventually,
    observe::hears_others,
};

/// A stop may take this long.
const DRAIN: Duration = Duration::from_secs(25);
/// Less than the 15 s that a hold lasts that nobody gave back.
const AT_ONCE: Duration = Duration::from_secs(9);
/// Commits come after so many frames, so that there is always something that was not committed.
const UNCOMMITTED: usize = 3;

/// What a reader has seen, and how often it went to the other server.
#[derive(Default)]
struct Seen {
    events: Mutex<Vec<v1::Event>>,
    moves: AtomicUsize,
    repeated: AtomicUsize,
}

impl Seen {
    fn count(&self) -> usize {
        self.events.lock().len()
    }
}

/// A reader in a task of its own.
struct Follower {
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

impl Follower {
    /// Reads the topic, and goes to the other server when the one it reads from drains.
    fn of_topic(clients: &[Client; 2]) -> Self {
        let (clients, seen) = (clients.clone(), Arc::<Seen>::default());
        let task = tokio::spawn(follow_topic(clients, seen.clone()));
        Self { seen, task }
    }

    /// The same as the consumer `billing`, which commits now and then.
    fn of_consumer(clients: &[Client; 2]) -> Self {
        let (clients, seen) = (clients.clone(), Arc::<Seen>::default());
        let task = tokio::spawn(follow_consumer(clients, seen.clone()));
        Self { seen, task }
    }

    /// Waits until this holds of it.
    async fn until(&self, what: &str, holds: impl Fn(&Seen) -> bool) {
        let look = async || {
            assert!(!self.task.is_finished(), "a reader gave up, as said above");
            holds(&self.seen).then_some(())
        };
        eventually(what, look).await;
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads the status that must follow Closing.
async fn drained(stream: &mut Stream, closing: &v1::Closing) {
    assert_eq!(closing.reason(), Reason::Draining);
    let refusal = stream.next().await.expect_err("after Closing there is only a status");
    assert_refused(&refusal, Code::Unavailable, "DRAINING");
}

async fn follow_topic(clients: [Client; 2], seen: Arc<Seen>) {
    for client in clients.iter().cycle() {
        let mut stream = client.subscribe(after("orders", seen.count() as i64)).await.expect("the other server serves");
        loop {
            match stream.frame().await {
                Frame::Batch(batch) => seen.events.lock().extend(batch.events),
                Frame::Closing(closing) => break drained(&mut stream, &closing).await,
                _ => {}
            }
        }
        seen.moves.fetch_add(1, Ordering::Relaxed);
    }
}

async fn follow_consumer(clients: [Client; 2], seen: Arc<Seen>) {
    // The last offset whose commit was acknowledged, and the last one sent.
    let (mut committed, mut sent) = (0, 0);
    for (n, client) in clients.iter().cycle().enumerate() {
        let asked = Instant::now();
        let heartbeat_interval = Some(prost_types::Duration { seconds: 1, nanos: 0 });
        let request = v1::SubscribeRequest { wait: true, heartbeat_interval, ..as_consumer("billing") };
        let mut stream = client.subscribe(request).await.expect("the other server serves");
        let (mut next, mut frames, mut epoch) = (0, 0, 0);
        loop {
            match stream.frame().await {
                Frame::Started(started) => {
                    next = started.position.expect("a position").offset + 1;
                    epoch = started.epoch;
                    assert!([committed, sent].contains(&(next - 1)), "it begins at {next}, not after {committed}");
                    assert!(n == 0 || asked.elapsed() < AT_ONCE, "it was free after {:?}", asked.elapsed());
                    committed = next - 1;
                }
                Frame::Batch(batch) => {
                    next = handle(&seen, next, batch.events);
                    frames += 1;
                    if frames % UNCOMMITTED == 0 {
                        sent = next - 1;
                        committed = commit(client, epoch, sent).await.unwrap_or(committed);
                    }
                }
                Frame::Closing(closing) => break drained(&mut stream, &closing).await,
                _ => {}
            }
        }
        seen.moves.fetch_add(1, Ordering::Relaxed);
    }
}

/// Takes events that begin with this offset, new ones and those that were not committed; returns the next offset.
fn handle(seen: &Seen, mut next: i64, events: Vec<v1::Event>) -> i64 {
    let mut known = seen.events.lock();
    for event in events {
        assert_eq!(event.offset, next, "a gap or a repeat");
        match known.get(next as usize - 1) {
            Some(before) => {
                assert_eq!(*before, event);
                seen.repeated.fetch_add(1, Ordering::Relaxed);
            }
            None => known.push(event),
        }
        next += 1;
    }
    next
}

/// Commits; `None` if the server went away before it said whether it has.
async fn commit(client: &Client, epoch: i64, offset: i64) -> Option<i64> {
    let request = v1::CommitOffsetRequest { consumer: "billing".into(), offset, epoch };
    match client.consumers().commit_offset(request).await {
        Ok(response) => Some(response.into_inner().position.expect("a position").offset),
        Err(status) => {
            assert!(may_be_repeated(&status), "{status:?}");
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_nothing_and_repeats_only_what_was_not_committed() {
    let mut pair = Pair::start().await;
    let clients = [pair.here.clone(), pair.there.clone()];
    pair.here.register("billing", "orders").await;
    let mut followers: Vec<_> = (0..3).map(|_| Follower::of_topic(&clients)).collect();
    followers.push(Follower::of_consumer(&clients));
    let feed = Feed::over(&clients, "orders", 4, 5);
    let mut stops = Vec::new();
    for round in 0..2 {
        feed.reaches(feed.acknowledged() + 200).await;
        let server = if round == 0 { &mut pair.first } else { &mut pair.second };
        let began = Instant::now();
        assert_eq!(server.terminate().await, 0);
        stops.push(began.elapsed());
        assert!(began.elapsed() < DRAIN, "the stop took {:?}", began.elapsed());
        feed.reaches(feed.acknowledged() + 200).await;
        for follower in &followers {
            let (moves, count) = (round + 1, feed.acknowledged() as usize);
            follower.until("the other server", |seen| seen.moves.load(Ordering::Relaxed) == moves).await;
            follower.until("what came meanwhile", |seen| seen.count() >= count).await;
        }
        server.restart().await;
        hears_others(server).await;
    }
    let acknowledged = feed.stop().await;
    let events = everything(&pair.there, "orders").await;
    let found = acknowledged.assert_found_once(&events);
    let (mut moves, mut repeated) = (0, 0);
    for follower in &followers {
        follower.until("everything", |seen| seen.count() >= found).await;
        assert!(*follower.seen.events.lock() == events, "a reader saw other events than there are");
        moves += follower.seen.moves.load(Ordering::Relaxed);
        repeated += follower.seen.repeated.load(Ordering::Relaxed);
    }
    println!(
        "2 stops in {stops:?}, {found} acknowledged and found once, {moves} moves of {} readers, {repeated} events \
         repeated that were not committed",
        followers.len()
    );
}
