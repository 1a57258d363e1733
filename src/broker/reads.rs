//! Reads of the store for the readers of a topic: each is made once for all who wait for it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use metrics::counter;
use tokio::{sync::watch, task::yield_now};

use super::{
    ahead::Ahead,
    log::{Found, State, TopicLog},
};
use crate::{
    domain::{Offset, ReadCap, limits},
    store::{Fetched, LogRead, StoreError},
    telemetry::metric,
};

/// A read brings about a segment's worth at once.
const CAP: ReadCap = ReadCap { events: limits::SEGMENT_EVENTS, bytes: limits::SEGMENT_BYTES };

/// A read under way.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) answer: watch::Receiver<Option<Answer>>,
    /// A stream waits for it, and will read on.
    pub(super) on: Arc<AtomicBool>,
}

/// The result of a read, for everyone who waited for it.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// The hub's clock before the statement was sent.
    pub(super) asked: u64,
    pub(super) result: Result<Found, Arc<StoreError>>,
    /// What follows, if that was asked for as soon as this one came.
    pub(super) ahead: Option<Arc<Ahead>>,
}

impl TopicLog {
    /// Begins a read that goes on whatever becomes of its caller.
    pub(super) fn begin_read(self: &Arc<Self>, state: &mut State, after: Offset) -> Pending {
        let (sender, answer) = watch::channel(None);
        let pending = Pending { answer, on: Arc::default() };
        state.reads.insert(after, pending.clone());
        let (read, on) = (Read { log: self.clone(), after, sender, answer: None }, pending.on.clone());
        self.context.shutdown.spawn(async move {
            let answer = read.log.read_store(after, &on).await;
            read.finish(answer);
        });
        pending
    }

    async fn read_store(self: &Arc<Self>, after: Offset, on: &AtomicBool) -> Answer {
        let _turn = self.turn_to_read().await;
        let asked = self.context.hub.clock();
        counter!(metric::LOG_READS).increment(1);
        let fetched = match self.fetch_verified(after).await {
            Ok(Some(fetched)) => fetched,
            Ok(None) => return Answer { asked, result: Ok(Found::Deleted), ahead: None },
            Err(error) => return Answer { asked, result: Err(Arc::new(error)), ahead: None },
        };
        let last = fetched.last.filter(|_| fetched.more && on.load(Ordering::Relaxed));
        let ahead = last.and_then(|last| self.read_ahead(last));
        if ahead.is_some() {
            // Lets it send its statement, so that the store works while this one is decoded.
            yield_now().await;
        }
        let result = match fetched.decode() {
            Ok(read) => self.take_in(after, asked, read).await,
            Err(error) => Err(error),
        };
        Answer { asked, result: result.map_err(Arc::new), ahead }
    }

    /// Reads from a server whose log has what is in memory.
    async fn fetch_verified(&self, after: Offset) -> Result<Option<Fetched>, StoreError> {
        loop {
            let incarnation = self.verify().await?;
            let fetched = self.context.store.fetch(self.topic, after, CAP).await?;
            if *self.context.store.incarnation().borrow() == incarnation {
                return Ok(fetched);
            }
        }
    }

    /// Makes an answer of what was read, and keeps it if it joins the ring.
    async fn take_in(&self, after: Offset, asked: u64, read: LogRead) -> Result<Found, StoreError> {
        let Some(segment) = read.segment else { return self.nothing(after, asked, read.trimmed_to).await };
        if segment.first() > after.next() {
            return Ok(match read.trimmed_to >= after.next() {
                true => Found::Trimmed { to: segment.first().previous() },
                false => return Err(StoreError::Corrupt(format!("topic {} has a hole after {after}", self.topic))),
            });
        }
        let more = read.more;
        let segment = Arc::new(segment);
        let incarnation = *self.context.store.incarnation().borrow();
        let mut state = self.state.lock();
        if !state.is_verified(incarnation) {
            // It may have changed since it was read: the next read finds out.
            return Ok(Found::Events { segment, behind: more });
        }
        let behind = more && state.ring.tail() != Some(after);
        // What is beyond the tail is newer than all that is in memory, and what readers want.
        if !more || state.ring.tail().is_some() {
            state.ring.begin(after);
        }
        if state.ring.offer(segment.clone()) && !more && state.ring.tail() == Some(segment.last()) {
            state.reaches_head(asked);
        }
        Ok(Found::Events { segment, behind })
    }

    /// There was nothing after `after`: it is the head, or everything there was trimmed, or the log lost
    /// its tail.
    async fn nothing(&self, after: Offset, asked: u64, trimmed_to: Offset) -> Result<Found, StoreError> {
        if trimmed_to > after {
            return Ok(Found::Trimmed { to: trimmed_to });
        }
        // Before the statement: an append meanwhile must not look like a log that shrank.
        let known = self.known_end();
        let mut newest = None;
        if known.tail != Some(after) {
            let heads = self.context.store.heads(&[self.topic]).await?;
            let Some(head) = heads.first().map(|head| head.bounds.head) else { return Ok(Found::Deleted) };
            self.lost_tail(known, head);
            if head < after {
                self.verify().await?;
                return Ok(Found::Shortened { head });
            }
            newest = self.event_at(after).await?;
        }
        let mut state = self.state.lock();
        state.ring.begin(after);
        if state.ring.tail() == Some(after) {
            state.newest = newest.or(state.newest);
            state.reaches_head(asked);
        }
        Ok(Found::Nothing)
    }
}

/// When a read ends, however it ends, nobody joins it any more, and those who did are told.
struct Read {
    log: Arc<TopicLog>,
    after: Offset,
    sender: watch::Sender<Option<Answer>>,
    answer: Option<Answer>,
}

impl Read {
    fn finish(mut self, answer: Answer) {
        self.answer = Some(answer);
    }
}

impl Drop for Read {
    fn drop(&mut self) {
        self.log.state.lock().reads.remove(&self.after);
        if let Some(answer) = self.answer.take() {
            self.sender.send_replace(Some(answer));
        }
    }
}
