//! A stream that is opened once and never again, and how it fares.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use eventflow::proto::v1::{self, subscribe_response::Frame};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tonic::{Code, Status};

use crate::{
    client::{Client, Stream},
    harness::patience::eventually_within,
};

/// How often its stream gives a sign of life.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long it may take to receive what is there, or to be ended.
const PATIENCE: Duration = Duration::from_secs(60);

/// A stream, and what came on it.
pub(super) struct Follower {
    /// How it began.
    pub(super) started: v1::Started,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<Status>,
}

#[derive(Default)]
struct Seen {
    events: Vec<v1::Event>,
    caught_up: bool,
    heartbeats: usize,
    longest_silence: Duration,
}

impl Follower {
    /// Opens a stream and reads whatever comes on it.
    pub(super) async fn start(client: &Client, request: v1::SubscribeRequest) -> Self {
        let heartbeat_interval = Some(HEARTBEAT.try_into().expect("a short time"));
        let request = v1::SubscribeRequest { heartbeat_interval, ..request };
        // A database that has just come back may keep the server waiting for a connection.
        let opened = async || match client.subscribe(request.clone()).await {
            Err(status) if status.code() == Code::Unavailable => None,
            opened => Some(opened.expect("the stream opens")),
        };
        let mut stream = eventually_within(PATIENCE, "a stream to open", opened).await;
        let started = stream.started().await;
        let position = started.position.as_ref().expect("a start has a position").offset;
        let seen = Arc::<Mutex<Seen>>::default();
        let task = tokio::spawn(follow(stream, position, seen.clone()));
        Self { started, seen, task }
    }

    /// How many signs of life came that were not needed for anything else.
    pub(super) fn heartbeats(&self) -> usize {
        self.seen.lock().heartbeats
    }

    /// The longest time without a frame so far.
    pub(super) fn longest_silence(&self) -> Duration {
        self.seen.lock().longest_silence
    }

    /// The last offset that came.
    pub(super) fn last(&self) -> i64 {
        self.seen.lock().events.last().map_or(0, |event| event.offset)
    }

    /// Waits until this offset came; the stream must not have ended.
    pub(super) async fn reaches(&mut self, offset: i64) {
        let there = async || (self.last() >= offset || self.task.is_finished()).then_some(());
        eventually_within(PATIENCE, "a stream to go on", there).await;
        self.lives().await;
    }

    /// Waits until the server said that the stream has everything that there is.
    pub(super) async fn catches_up(&mut self) {
        let there = async || (self.seen.lock().caught_up || self.task.is_finished()).then_some(());
        eventually_within(PATIENCE, "a stream to catch up", there).await;
        self.lives().await;
    }

    /// Fails if the stream has ended.
    pub(super) async fn lives(&mut self) {
        if self.task.is_finished() {
            panic!("the stream ended after {}: {:?}", self.last(), (&mut self.task).await);
        }
    }

    /// Everything that came until this offset came on the one stream.
    pub(super) async fn until(mut self, offset: i64) -> Vec<v1::Event> {
        self.reaches(offset).await;
        self.task.abort();
        std::mem::take(&mut self.seen.lock().events)
    }

    /// Everything that came until the stream was ended, and why it was.
    pub(super) async fn ends(mut self) -> (Vec<v1::Event>, Status) {
        let status = tokio::time::timeout(PATIENCE, &mut self.task).await.expect("the stream is ended");
        let events = std::mem::take(&mut self.seen.lock().events);
        (events, status.expect("a stream is contiguous"))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads until the stream ends, which it must not do with OK.
async fn follow(mut stream: Stream, mut position: i64, seen: Arc<Mutex<Seen>>) -> Status {
    let mut last = Instant::now();
    loop {
        let frame = stream.next().await;
        let silence = last.elapsed();
        last = Instant::now();
        let mut seen = seen.lock();
        seen.longest_silence = seen.longest_silence.max(silence);
        match frame {
            Ok(Some(Frame::Batch(batch))) => {
                for event in &batch.events {
                    assert_eq!(event.offset, position + 1, "a gap or a repeat on one stream");
                    position = event.offset;
                }
                seen.events.extend(batch.events);
            }
            Ok(Some(Frame::CaughtUp(_))) => seen.caught_up = true,
            Ok(Some(Frame::Heartbeat(_))) => seen.heartbeats += 1,
            Ok(Some(_)) => {}
            Ok(None) => panic!("a stream without a stop ended with OK"),
            Err(status) => return status,
        }
    }
}
