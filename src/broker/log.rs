//! A topic as readers see it: recent events from memory, older ones from the store.
//!
//! The ring answers with events, never with "nothing" and never with the head: those come from a look
//! at the store that was sent after the caller's [`Mark`]. So a caller sees everything that was
//! acknowledged anywhere before it called, and everything whose wake-up it has seen.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use metrics::counter;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::{
    ahead::Ahead,
    reads::{Answer, Pending},
    ring::{Ring, RingBudget},
    topic_counters::TopicCounters,
};
use crate::{
    domain::{Incarnation, LogId, Offset, Segment, Timestamp, TopicId},
    notify::{Cause, Hub},
    shutdown::Shutdown,
    store::{SharedStore, StoreError},
    telemetry::metric,
};

/// What "nothing" must take into account, in readings of the hub's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    /// When the call began.
    pub(super) began: u64,
    /// The newest wake-up that the caller has seen.
    pub(super) woken: u64,
}

/// What is after an offset.
#[derive(Debug, Clone)]
pub(super) enum Found {
    /// Events. `behind` says that they came from storage and that more is known to follow.
    Events { segment: Arc<Segment>, behind: bool },
    /// Nothing yet.
    Nothing,
    /// Events that are gone, up to this one.
    Trimmed { to: Offset },
    /// The topic was deleted.
    Deleted,
    /// The log ends before the offset: it lost its tail.
    Shortened { head: Offset },
}

/// What all logs of a process share.
#[derive(Debug)]
pub(super) struct LogContext {
    pub(super) store: SharedStore,
    pub(super) hub: Arc<Hub>,
    pub(super) shutdown: Shutdown,
    pub(super) budget: Arc<RingBudget>,
    /// Reads under way at once, so that their results fit in memory.
    pub(super) reads: Semaphore,
    /// KiB of segments that streams may keep between two frames.
    pub(super) rests: Arc<Semaphore>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct TopicLog {
    pub(super) topic: TopicId,
    pub(super) counters: TopicCounters,
    pub(super) context: Arc<LogContext>,
    pub(super) state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    /// Which log it is, as far as is known.
    log_id: LogId,
    pub(super) ring: Ring,
    /// The event at the tail of the ring, if that began there: by it the log is known again.
    pub(super) newest: Option<(Offset, Timestamp)>,
    /// The tail of the ring was the head of the log at this reading of the clock.
    looked: u64,
    /// And nothing announced up to this wake-up lies beyond it.
    explained: u64,
    /// What is in memory was found in the log of this incarnation of the store's server.
    pub(super) verified: Incarnation,
    /// Somebody found less than that.
    pub(super) suspect: bool,
    /// Times that the log was found to have lost its tail, and where it ended then.
    pub(super) losses: Losses,
    /// Reads under way, by the offset that they go after.
    pub(super) reads: HashMap<Offset, Pending>,
}

/// How often a log was found to have lost its tail.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Losses {
    pub(super) count: u64,
    /// Its head at the last time.
    pub(super) head: Offset,
}

/// A segment of which a stream has sent a part.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) segment: Arc<Segment>,
    _permit: OwnedSemaphorePermit,
}

impl TopicLog {
    pub(super) fn new(topic: TopicId, log_id: LogId, counters: TopicCounters, context: Arc<LogContext>) -> Arc<Self> {
        let ring = Ring::new(context.budget.clone());
        let verified = *context.store.incarnation().borrow();
        let losses = Losses::default();
        let state = State {
            log_id,
            ring,
            newest: None,
            looked: 0,
            explained: 0,
            verified,
            suspect: false,
            losses,
            reads: HashMap::new(),
        };
        Arc::new(Self { topic, counters, context, state: Mutex::new(state) })
    }

    /// Which log it is, as far as is known.
    pub(super) fn log_id(&self) -> LogId {
        self.state.lock().log_id
    }

    /// Somebody found that it is this log. If it was another one, as before a backup was restored, what is in
    /// memory is forgotten, and readers are woken, whose streams end.
    pub(super) fn is_now(&self, log_id: LogId) {
        let mut state = self.state.lock();
        if state.log_id != log_id {
            state.log_id = log_id;
            state.forget();
            self.context.hub.wake(self.topic, 0, Cause::Poll);
        }
    }

    /// What is after `after`. Cancelling it leaves a read under way to the others who wait for it.
    pub(super) async fn read(self: &Arc<Self>, after: Offset, mark: Mark) -> Result<Found, Arc<StoreError>> {
        self.look(after, mark, false).await.map(|(found, _)| found)
    }

    /// The same; if the caller reads on, with what follows, when that is under way already.
    pub(super) async fn look(
        self: &Arc<Self>,
        after: Offset,
        mark: Mark,
        on: bool,
    ) -> Result<(Found, Option<Arc<Ahead>>), Arc<StoreError>> {
        loop {
            let mut pending = {
                let mut state = self.state.lock();
                if let Some(found) = state.answer(after, mark) {
                    return Ok((found, None));
                }
                match state.reads.get(&after) {
                    Some(pending) => {
                        counter!(metric::SHARED_READS).increment(1);
                        pending.clone()
                    }
                    None => self.begin_read(&mut state, after),
                }
            };
            pending.on.fetch_or(on, Ordering::Relaxed);
            let answer = match pending.answer.wait_for(Option::is_some).await {
                Ok(answer) => answer.clone(),
                // The task ended without an answer: it was stopped with the process, or panicked.
                Err(_) => return Err(Arc::new(StoreError::Unavailable("the read was stopped".into()))),
            };
            let Some(Answer { asked, result, ahead }) = answer else { continue };
            match result? {
                // Sent before the caller's mark: it may have missed what the caller must see.
                Found::Nothing | Found::Shortened { .. } if asked < mark.began.max(mark.woken) => {}
                found => return Ok((found, ahead)),
            }
        }
    }

    /// A turn to read from the store, among all reads of the process, so that what they bring fits in memory.
    pub(super) async fn turn_to_read(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.context.reads.acquire().await.ok()
    }

    /// The hub's clock, to be read before an append is sent, for [`appended`](Self::appended).
    pub(super) fn clock(&self) -> u64 {
        self.context.hub.clock()
    }

    /// Takes in what this process appended, and wakes the topic's readers.
    pub(super) fn appended(&self, segment: Arc<Segment>, sent: u64) {
        let incarnation = *self.context.store.incarnation().borrow();
        let mut state = self.state.lock();
        let joined = match state.ring.tail() {
            // What is in memory may be of a log that lost its tail; behind that, this would hide the loss.
            _ if !state.is_verified(incarnation) => false,
            // Nobody has read the topic yet: what was appended is its tail.
            None => {
                state.ring.begin(segment.first().previous());
                state.ring.offer(segment.clone())
            }
            Some(_) => state.ring.offer(segment.clone()),
        };
        let alone = self.context.hub.wake(self.topic, sent, Cause::Append);
        if joined && state.ring.tail() == Some(segment.last()) {
            state.looked = state.looked.max(sent);
            state.explained = state.explained.max(alone.unwrap_or(sent));
        }
    }

    /// Keeps the rest of a segment for the next frame of a stream, if memory allows: a client that does
    /// not read must not hold it for ever. Without it, the next frame reads anew.
    pub(super) fn keep_rest(&self, segment: Arc<Segment>) -> Option<Rest> {
        let share = u32::try_from(segment.bytes() / 1024 + 1).ok()?;
        let permit = self.context.rests.clone().try_acquire_many_owned(share).ok()?;
        Some(Rest { segment, _permit: permit })
    }

    /// The newest offset that readers of this process know of.
    pub(super) fn tail(&self) -> Option<Offset> {
        self.state.lock().ring.tail()
    }

    /// The segment with an event, if it is in memory.
    pub(super) fn in_memory(&self, offset: Offset) -> Option<Arc<Segment>> {
        let state = self.state.lock();
        (!state.suspect).then(|| state.ring.get(offset.previous()).cloned()).flatten()
    }
}

impl State {
    /// Forgets what is in memory.
    pub(super) fn forget(&mut self) {
        self.ring.clear();
        self.newest = None;
        (self.looked, self.explained) = (0, 0);
    }

    /// A look that began at `asked` found the head at the tail of the ring.
    pub(super) fn reaches_head(&mut self, asked: u64) {
        self.looked = self.looked.max(asked);
        self.explained = self.explained.max(asked);
    }

    /// What memory knows about what is after `after`; `None` if the store must be asked.
    fn answer(&self, after: Offset, mark: Mark) -> Option<Found> {
        if self.suspect {
            return None;
        }
        if let Some(segment) = self.ring.get(after) {
            counter!(metric::RING_HITS).increment(1);
            return Some(Found::Events { segment: segment.clone(), behind: false });
        }
        let current = self.looked >= mark.began && self.explained >= mark.woken;
        (self.ring.tail() == Some(after) && current).then_some(Found::Nothing)
    }
}
