//! Reading ahead: what a stream needs next is read while it sends what it has.
//!
//! When a stream waits for a read, the next one begins as soon as the store has answered, before the answer is
//! decoded; otherwise when the stream takes what was read. So no stream has more than two segments that it does not
//! send yet.

use std::sync::{Arc, atomic::Ordering};

use tokio::sync::OwnedSemaphorePermit;

use super::{
    log::{Found, Mark, TopicLog},
    reads::{Answer, Pending},
};
use crate::{
    domain::{Offset, limits},
    store::StoreError,
};

/// A read that began before its stream needed what it brings.
#[derive(Debug)]
pub(super) struct Ahead {
    after: Offset,
    pending: Pending,
    _permit: OwnedSemaphorePermit,
}

impl Ahead {
    /// The events that it brings, and what follows; `None` if it brings none, and the log must be asked.
    async fn events(&self, on: bool) -> Option<(Found, Option<Arc<Self>>)> {
        self.pending.on.fetch_or(on, Ordering::Relaxed);
        let answer = self.pending.answer.clone().wait_for(Option::is_some).await.ok()?.clone();
        let Answer { result, ahead, .. } = answer?;
        result.ok().filter(|found| matches!(found, Found::Events { .. })).map(|found| (found, ahead))
    }
}

impl TopicLog {
    /// As [`read`](Self::read), with what was read ahead, if that is for this offset, and leaves there what follows,
    /// if that is under way; `on` says that the stream wants that. Cancelling it keeps what is there.
    pub(super) async fn read_on(
        self: &Arc<Self>,
        after: Offset,
        mark: Mark,
        on: bool,
        ahead: &mut Option<Arc<Ahead>>,
    ) -> Result<Found, Arc<StoreError>> {
        let mut events = None;
        if let Some(read) = ahead.as_ref().filter(|ahead| ahead.after == after) {
            events = read.events(on).await;
        }
        let (found, next) = match events {
            Some(events) => events,
            None => {
                *ahead = None;
                self.look(after, mark, on).await?
            }
        };
        *ahead = next;
        Ok(found)
    }

    /// Begins to read what a stream needs next, while it sends what it has, if memory allows.
    pub(super) fn read_ahead(self: &Arc<Self>, after: Offset) -> Option<Arc<Ahead>> {
        let share = u32::try_from(limits::SEGMENT_BYTES / 1024).ok()?;
        let permit = self.context.rests.clone().try_acquire_many_owned(share).ok()?;
        let mut state = self.state.lock();
        if state.ring.get(after).is_some() {
            return None;
        }
        let under_way = state.reads.get(&after).cloned();
        let pending = under_way.unwrap_or_else(|| self.begin_read(&mut state, after));
        Some(Arc::new(Ahead { after, pending, _permit: permit }))
    }
}
