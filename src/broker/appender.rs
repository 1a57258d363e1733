//! Group commit: one append of a topic under way, the next taking everything that waits meanwhile.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use metrics::{counter, histogram};
use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, oneshot},
    time::{sleep, timeout},
};
use tracing::warn;

use super::{
    group::{Group, Job, Room},
    log::TopicLog,
    publish::{Published, Refusal},
};
use crate::{
    domain::{AppendBatch, BatchId, Offset, PendingEvent, Segment, TopicId, limits},
    notify::SharedNotifier,
    shutdown::Shutdown,
    store::{AppendError, Appended, SharedStore, StoreError},
    telemetry::metric,
};

/// A head known for longer is read anew before it bounds the search for a batch.
const SEEN_AGE: Duration = Duration::from_secs(10);
/// How long an append whose outcome is unknown is repeated.
const RETRY_FOR: Duration = Duration::from_secs(30);
/// Pause before the first repetition; it doubles up to [`RETRY_PAUSE_MAX`].
const RETRY_PAUSE: Duration = Duration::from_millis(20);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(1);

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
    topic: TopicId,
    log: Arc<TopicLog>,
    context: Arc<AppendContext>,
    room: Arc<Semaphore>,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Job>,
    running: bool,
    seen: Option<(Offset, Instant)>,
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
    ) -> Result<Vec<Published>, Refusal> {
        counter!(metric::PUBLISH_REQUESTS).increment(1);
        let bytes = events.iter().map(|event| event.body.size()).sum();
        let wait = self.context.queue_timeout;
        let room = match timeout(wait, self.find_room(bytes)).await {
            Ok(room) => room,
            Err(_) => {
                counter!(metric::PUBLISH_OVERLOADED).increment(1);
                return Err(Refusal::Overloaded { retry_in: wait });
            }
        };
        let (reply, answer) = oneshot::channel();
        let events = events.into_iter().map(Some).collect();
        self.push(Job { events, bytes, expected_head, reply, _room: room });
        // A task that ends without an answer was stopped in the middle of an append.
        answer.await.unwrap_or_else(|_| Err(Refusal::OutcomeUnknown(Arc::new(stopped()))))
    }

    /// Waits for room in the topic's queue, then in the one of all topics; both serve in turn.
    async fn find_room(&self, bytes: usize) -> Room {
        let take = |room: &Arc<Semaphore>, limit: usize| {
            let share = u32::try_from(bytes.min(limit)).unwrap_or(u32::MAX);
            room.clone().acquire_many_owned(share)
        };
        let own = take(&self.room, self.context.topic_bytes).await.ok();
        let all = take(&self.context.room, self.context.total_bytes).await.ok();
        Room::new([own, all], bytes)
    }

    fn push(self: &Arc<Self>, job: Job) {
        let mut queue = self.queue.lock();
        queue.waiting.push_back(job);
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
    fn take_group(&self) -> Option<(Group, Option<(Offset, Instant)>)> {
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
    async fn carry_out(&self, group: Group, seen: Option<(Offset, Instant)>) {
        let Err((mut group, error)) = self.store_group(group, seen).await else { return };
        if group.len() <= 1 {
            group.refuse(&Refusal::Failed(error));
            return;
        }
        warn!(topic = %self.topic, requests = group.len(), %error, "the store refused a group; storing its requests one by one");
        for single in group.split() {
            let seen = self.queue.lock().seen;
            if let Err((mut single, error)) = self.store_group(single, seen).await {
                single.refuse(&Refusal::Failed(error));
            }
        }
    }

    /// Stores a group and answers its requests. The error gives the group back, its events put back, if
    /// the store refused it.
    async fn store_group(
        &self,
        mut group: Group,
        seen: Option<(Offset, Instant)>,
    ) -> Result<(), (Group, Arc<StoreError>)> {
        let seen = match self.fresh_head(seen).await {
            Ok(seen) => seen,
            Err(refusal) => {
                group.refuse(&refusal);
                return Ok(());
            }
        };
        loop {
            let events = group.take_new();
            group.answer_known();
            if events.is_empty() {
                return Ok(());
            }
            let batch = AppendBatch { id: BatchId::random(), seen, expected_head: group.expected_head(), events };
            let sent = self.log.clock();
            match self.append_surely(&batch).await {
                Ok(Appended::Stored { first, recorded_time }) => {
                    group.answer_stored(&batch.events, first, recorded_time);
                    self.stored(Segment::recorded(first, recorded_time, batch.events), sent);
                }
                Ok(Appended::Known(known)) => {
                    group.put_back(batch.events);
                    group.learn(known);
                }
                Err(Refusal::Failed(error)) if matches!(*error, StoreError::Refused(_)) => {
                    group.put_back(batch.events);
                    return Err((group, error));
                }
                Err(refusal) => group.refuse(&refusal),
            }
        }
    }

    /// A head that bounds the search for a batch: the newest that this process saw, unless long ago.
    async fn fresh_head(&self, seen: Option<(Offset, Instant)>) -> Result<Offset, Refusal> {
        if let Some((head, at)) = seen
            && at.elapsed() < SEEN_AGE
        {
            return Ok(head);
        }
        let at = Instant::now();
        let heads = self.context.store.heads(&[self.topic]).await.map_err(|error| Refusal::Failed(Arc::new(error)))?;
        let head = heads.first().ok_or(Refusal::TopicNotFound)?.bounds.head;
        self.queue.lock().seen = Some((head, at));
        Ok(head)
    }

    /// Appends a batch; while the outcome is unknown, sends the same batch again.
    async fn append_surely(&self, batch: &AppendBatch) -> Result<Appended, Refusal> {
        let started = Instant::now();
        let mut pause = RETRY_PAUSE;
        let mut uncertain = false;
        loop {
            let error = match self.context.store.append(self.topic, batch).await {
                Ok(appended) => {
                    counter!(metric::APPENDS).increment(1);
                    histogram!(metric::APPEND_SECONDS).record(started.elapsed());
                    histogram!(metric::APPEND_EVENTS).record(batch.events.len() as f64);
                    return Ok(appended);
                }
                Err(AppendError::TopicNotFound) => return Err(Refusal::TopicNotFound),
                Err(AppendError::TopicSealed) => return Err(Refusal::TopicSealed),
                Err(AppendError::HeadMoved { head }) => return Err(Refusal::HeadMoved { head }),
                Err(AppendError::Store(error)) => error,
            };
            if !error.is_retryable() {
                // It says nothing about an earlier attempt, which may have been recorded.
                let refusal = if uncertain { Refusal::OutcomeUnknown } else { Refusal::Failed };
                return Err(refusal(Arc::new(error)));
            }
            uncertain = true;
            if started.elapsed() + pause > RETRY_FOR {
                return Err(Refusal::OutcomeUnknown(Arc::new(error)));
            }
            counter!(metric::APPEND_RETRIES).increment(1);
            warn!(topic = %self.topic, %error, retry_ms = pause.as_millis(), "an append's outcome is unknown; sending the batch again");
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }

    /// Tells readers, here and elsewhere, of a segment that was stored.
    fn stored(&self, segment: Option<Segment>, sent: u64) {
        let Some(segment) = segment.map(Arc::new) else { return };
        self.log.counters.published(&segment);
        self.queue.lock().seen = Some((segment.last(), Instant::now()));
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
