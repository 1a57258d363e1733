//! A log that lost its tail: the store's server was replaced by one that lacks the newest events, or was
//! restored from a backup. It is noticed as soon as anything of the log is looked at, and everyone who
//! reads it is told: nobody can say which of the lost events a reader has seen.

use metrics::counter;
use tracing::error;

use super::log::{Losses, State, TopicLog};
use crate::{
    domain::{Incarnation, Offset, ReadCap, Timestamp},
    store::StoreError,
    telemetry::metric,
};

/// What was known of a log's end at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct KnownEnd {
    pub(super) tail: Option<Offset>,
    losses: u64,
}

impl TopicLog {
    /// How often the log was found to have lost its tail.
    pub(super) fn losses(&self) -> Losses {
        self.state.lock().losses
    }

    /// What is known now, for [`lost_tail`](Self::lost_tail).
    pub(super) fn known_end(&self) -> KnownEnd {
        let state = self.state.lock();
        KnownEnd { tail: state.ring.tail(), losses: state.losses.count }
    }

    /// Somebody found that the log ends at `head`. If more was `known` before they looked, it lost its
    /// tail, unless that has been found since: what is in memory by now is the new log.
    pub(super) fn lost_tail(&self, known: KnownEnd, head: Offset) {
        let mut state = self.state.lock();
        if known.tail.is_some_and(|tail| tail > head) && known.losses == state.losses.count {
            self.lose(&mut state, head);
        }
    }

    fn lose(&self, state: &mut State, head: Offset) {
        let tail = state.ring.tail().unwrap_or_default();
        state.forget();
        state.losses = Losses { count: state.losses.count + 1, head };
        counter!(metric::LOGS_SHORTENED).increment(1);
        error!(topic = %self.topic, known_head = %tail, %head, "a log lost its tail: events that were recorded are gone");
        self.context.hub.wake(self.topic, 0);
    }

    /// Makes sure that what is in memory is in the log of the server that answers now, and returns that
    /// server's incarnation. It asks only after the server changed.
    pub(super) async fn verify(&self) -> Result<Incarnation, StoreError> {
        loop {
            let incarnation = *self.context.store.incarnation().borrow();
            let (tail, newest, losses) = {
                let mut state = self.state.lock();
                if state.verified == incarnation {
                    return Ok(incarnation);
                }
                let Some(tail) = state.ring.tail() else {
                    state.verified = incarnation;
                    return Ok(incarnation);
                };
                let newest = state.ring.newest().map(|event| (event.offset, event.recorded_time)).or(state.newest);
                (tail, newest, state.losses.count)
            };
            let lost = self.compare(tail, newest).await?;
            if *self.context.store.incarnation().borrow() != incarnation {
                continue;
            }
            let mut state = self.state.lock();
            // Another reader may have been quicker.
            if state.verified < incarnation {
                state.verified = incarnation;
                if let Some(head) = lost
                    && state.losses.count == losses
                {
                    self.lose(&mut state, head);
                }
            }
        }
    }

    /// Where the log ends, if it is not the one that has this newest event.
    async fn compare(&self, tail: Offset, newest: Option<(Offset, Timestamp)>) -> Result<Option<Offset>, StoreError> {
        let heads = self.context.store.heads(&[self.topic]).await?;
        // A topic that is gone is noticed by the read.
        let Some(bounds) = heads.first().map(|head| head.bounds) else { return Ok(None) };
        if bounds.head < tail {
            return Ok(Some(bounds.head));
        }
        let Some(newest) = newest.filter(|(offset, _)| *offset > bounds.trimmed_to) else { return Ok(None) };
        // Trimmed meanwhile, it cannot be compared, and need not be.
        let same = self.event_at(newest.0).await?.is_none_or(|found| found == newest);
        Ok((!same).then_some(newest.0.previous()))
    }

    /// The event at an offset and when it was recorded; `None` if it was trimmed.
    pub(super) async fn event_at(&self, offset: Offset) -> Result<Option<(Offset, Timestamp)>, StoreError> {
        if offset == Offset::ZERO {
            return Ok(None);
        }
        let one = ReadCap { events: 1, bytes: 1 };
        let read = self.context.store.read(self.topic, offset.previous(), one).await?;
        let found = read.and_then(|read| read.segment);
        let found = found.as_ref().and_then(|segment| segment.after(offset.previous()).first());
        Ok(found.filter(|event| event.offset == offset).map(|event| (event.offset, event.recorded_time)))
    }
}
