//! Group commit: one append of a topic under way, the next taking everything that waits meanwhile.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use metrics::counter;
use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};
use tracing::warn;

use super::{
    group::{Group, Job, Refused, Room},
    log::TopicLog,
    publish::{Published, Refusal},
};
use crate::{
    domain::{AppendBatch, BatchId, Offset, PendingEvent, SeenHead, Segment, TopicId, limits},
    notify::SharedNotifier,
    shutdown::Shutdown,
    store::{Appended, SharedStore, StoreError},
    telemetry::metric,
};

/// What all appenders of a process share.
#[derive(Debug)]
pub(super) struct AppendContext {
    pub(super) store: SharedStore,
    pub(super) notifier: SharedNotifier,
    pub(super) shutdown: Shutdown,
    /// Bytes that may wait for one topic.
    pub(super) topic_bytes: usize,
    /// Room for bytes that wait for any topic.
    pub(super) room: Arc<Semaphore>,
    /// Bytes of that room in all.
    pub(super) total_bytes: usize,
    /// How long a request waits for room.
    pub(super) queue_timeout: Duration,
}

/// The queue of one topic in this process. Its task lives only while something waits.
#[derive(Debug)]
pub(super) struct Appender {
    pub(super) topic: TopicId,
    pub(super) log: Arc<TopicLog>,
    pub(super) context: Arc<AppendContext>,
    room: Arc<Semaphore>,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Job>,
    running: bool,
    seen: Option<Seen>,
}

/// The answer to a request in the queue.
#[derive(Debug)]
pub(super) struct Answer(pub(super) oneshot::Receiver<Result<Vec<Published>, Refused>>);

impl Answer {
    /// Looks for it.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<Published>, Refused>> {
        // A task that ends without an answer was stopped in the middle of an append.
        let stopped = |_| Err(Refusal::OutcomeUnknown(Arc::new(stopped())).into());
        Pin::new(&mut self.0).poll(cx).map(|answer| answer.unwrap_or_else(stopped))
    }

    /// Waits for it.
    async fn wait(mut self) -> Result<Vec<Published>, Refused> {
        poll_fn(|cx| self.poll(cx)).await
    }
}

/// A head, and when it was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) head: SeenHead,
    pub(super) at: Instant,
}

impl Appender {
    pub(super) fn new(topic: TopicId, log: Arc<TopicLog>, context: Arc<AppendContext>) -> Arc<Self> {
        let room = Arc::new(Semaphore::new(context.topic_bytes.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { topic, log, context, room, queue: Mutex::default() })
    }

    /// Appends a request's events, all or none, after waiting for room. Once it has room, the request
    /// is carried out even if the caller is dropped.
    pub(super) async fn append(
        self: &Arc<Self>,
        events: Vec<PendingEvent>,
        expected_head: Option<Offset>,
    ) -> Result<Vec<Published>, Refused> {
        counter!(metric::PUBLISH_REQUESTS).increment(1);
        let (mut job, answer) = Job::new(events, expected_head, None);
        let wait = self.context.queue_timeout;
        let Ok(room) = timeout(wait, self.find_room(1, job.bytes)).await else {
            counter!(metric::PUBLISH_OVERLOADED).increment(1);
            return Err(Refused { refusal: Refusal::Overloaded { retry_in: wait }, events: job.into_events() });
        };
        job.room = Some(room);
        self.push([job]);
        answer.wait().await
    }

    /// As [`append`](Self::append), for requests of a stream that came together: they wait for room for as long as
    /// that takes, and are answered later. Requests that are submitted one after the other are appended in that
    /// order.
    pub(super) async fn submit(self: &Arc<Self>, mut jobs: Vec<Job>) {
        counter!(metric::PUBLISH_REQUESTS).increment(jobs.len() as u64);
        let room = self.find_room(jobs.len(), jobs.iter().map(|job| job.bytes).sum()).await;
        for job in &mut jobs {
            job.room = Some(room.clone());
        }
        self.push(jobs);
    }

    /// Waits for room in the topic's queue, then in the one of all topics; both serve in turn.
    async fn find_room(&self, requests: usize, bytes: usize) -> Arc<Room> {
        let take = |room: &Arc<Semaphore>, limit: usize| {
            let share = u32::try_from(bytes.min(limit)).unwrap_or(u32::MAX);
            room.clone().acquire_many_owned(share)
        };
        let own = take(&self.room, self.context.topic_bytes).await.ok();
        let all = take(&self.context.room, self.context.total_bytes).await.ok();
        Arc::new(Room::new([own, all], requests, bytes))
    }

    /// The newest head that this queue saw.
    pub(super) fn seen(&self) -> Option<Seen> {
        self.queue.lock().seen
    }

    /// Notes a head.
    pub(super) fn see(&self, seen: Seen) {
        self.queue.lock().seen = Some(seen);
    }

    fn push(self: &Arc<Self>, jobs: impl IntoIterator<Item = Job>) {
        let mut queue = self.queue.lock();
        queue.waiting.extend(jobs);
        if !queue.running {
            queue.running = true;
            let appender = self.clone();
            self.context.shutdown.spawn(async move { appender.run().await });
        }
    }

    async fn run(&self) {
        // Should a group panic, the next request starts a new task; those that wait are told.
        let reset = Reset(self);
        while let Some((group, seen)) = self.take_group() {
            self.carry_out(group, seen).await;
        }
        std::mem::forget(reset);
    }

    /// Everything that waits, up to the limits of a segment; a request with an expected head by itself.
    fn take_group(&self) -> Option<(Group, Option<Seen>)> {
        let mut queue = self.queue.lock();
        let (mut jobs, mut events, mut bytes) = (Vec::new(), 0, 0);
        while let Some(next) = queue.waiting.front() {
            let fits =
                events + next.events.len() <= limits::SEGMENT_EVENTS && bytes + next.bytes <= limits::SEGMENT_BYTES;
            let alone = next.expected_head.is_some();
            if !jobs.is_empty() && (!fits || alone) {
                break;
            }
            (events, bytes) = (events + next.events.len(), bytes + next.bytes);
            jobs.extend(queue.waiting.pop_front());
            if alone {
                break;
            }
        }
        if jobs.is_empty() {
            queue.running = false;
            return None;
        }
        Some((Group::new(jobs), queue.seen))
    }

    /// Stores a group, or, if the store refuses it, its requests one by one, so that only the guilty
    /// one fails.
    async fn carry_out(&self, group: Group, seen: Option<Seen>) {
        let Err((mut group, error)) = self.store_group(group, seen).await else { return };
        if group.len() <= 1 {
            group.refuse(&Refusal::Failed(error));
            return;
        }
        warn!(topic = %self.topic, requests = group.len(), %error, "the store refused a group; storing its requests one by one");
        for single in group.split() {
            let seen = self.seen();
            if let Err((mut single, error)) = self.store_group(single, seen).await {
                single.refuse(&Refusal::Failed(error));
            }
        }
    }

    /// Stores a group and answers its requests. The error gives the group back, its events put back, if
    /// the store refused it.
    async fn store_group(&self, mut group: Group, seen: Option<Seen>) -> Result<(), (Group, Arc<StoreError>)> {
        let mut seen = seen;
        loop {
            let events = group.take_new();
            group.answer_known();
            if events.is_empty() {
                return Ok(());
            }
            let sent = self.log.clock();
            let expected_head = group.expected_head();
            let mut batch = AppendBatch { id: BatchId::random(), seen: SeenHead::default(), expected_head, events };
            let appended = self.append_surely(&mut batch, seen).await;
            seen = self.seen();
            match appended {
                Ok(Appended::Stored { first, recorded_time }) => {
                    group.answer_stored(&batch.events, first, recorded_time);
                    self.stored(Segment::recorded(first, recorded_time, batch.events), sent);
                }
                Ok(Appended::Known(known)) => {
                    group.put_back(batch.events);
                    group.learn(known);
                }
                // A smaller request may fit where the group did not.
                Err(Refusal::Failed(error)) if matches!(*error, StoreError::Refused(_) | StoreError::Full(_)) => {
                    group.put_back(batch.events);
                    return Err((group, error));
                }
                Err(Refusal::Failed(error)) if error.is_retryable() => {
                    let refusal = Refusal::Failed(error);
                    group.refuse(&refusal);
                    self.refuse_waiting(&refusal);
                }
                Err(refusal) => {
                    group.put_back(batch.events);
                    group.refuse(&refusal);
                }
            }
        }
    }

    /// Refuses everything that waits: the store has been away for longer than callers should wait.
    fn refuse_waiting(&self, refusal: &Refusal) {
        let waiting: Vec<_> = self.queue.lock().waiting.drain(..).collect();
        if !waiting.is_empty() {
            warn!(topic = %self.topic, requests = waiting.len(), "the store is away; refusing what waits for it");
            Group::new(waiting).refuse(refusal);
        }
    }

    /// Tells readers, here and elsewhere, of a segment that was stored.
    fn stored(&self, segment: Option<Segment>, sent: u64) {
        let Some(segment) = segment.map(Arc::new) else { return };
        self.log.counters.published(&segment);
        let incarnation = self.seen().map(|seen| seen.head.incarnation).unwrap_or_default();
        self.see(Seen { head: SeenHead { head: segment.last(), incarnation }, at: Instant::now() });
        self.log.appended(segment, sent);
        self.context.notifier.announce(self.topic);
    }
}

fn stopped() -> StoreError {
    StoreError::Unavailable("the append was stopped".into())
}

/// Lets the queue be taken up again, and drops what waits, if its task panics.
struct Reset<'a>(&'a Appender);

impl Drop for Reset<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.queue.lock();
        queue.running = false;
        queue.waiting.clear();
        queue.seen = None;
    }
}
