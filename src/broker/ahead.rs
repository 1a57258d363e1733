//! Reading ahead: what a stream needs next is read while it sends what it has.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, watch};

use super::log::{Answer, Found, Mark, TopicLog};
use crate::{
    domain::{Offset, limits},
    store::StoreError,
};

/// A read that began before its stream needed what it brings.
#[derive(Debug)]
pub(super) struct Ahead {
    after: Offset,
    pending: watch::Receiver<Option<Answer>>,
    _permit: OwnedSemaphorePermit,
}

impl Ahead {
    /// The events that it brings; `None` if it brings none, and the log must be asked.
    async fn events(&mut self) -> Option<Found> {
        let answer = self.pending.wait_for(Option::is_some).await.ok()?.clone()?;
        answer.result.ok().filter(|found| matches!(found, Found::Events { .. }))
    }
}

impl TopicLog {
    /// As [`read`](Self::read), with what was read ahead, if that is for this offset. Cancelling it keeps that.
    pub(super) async fn read_on(
        self: &Arc<Self>,
        after: Offset,
        mark: Mark,
        ahead: &mut Option<Ahead>,
    ) -> Result<Found, Arc<StoreError>> {
        if let Some(read) = ahead.as_mut().filter(|ahead| ahead.after == after) {
            let events = read.events().await;
            *ahead = None;
            if let Some(events) = events {
                return Ok(events);
            }
        }
        self.read(after, mark).await
    }

    /// Begins to read what a stream needs next, while it sends what it has, if memory allows.
    pub(super) fn read_ahead(self: &Arc<Self>, after: Offset) -> Option<Ahead> {
        let share = u32::try_from(limits::SEGMENT_BYTES / 1024).ok()?;
        let permit = self.context.rests.clone().try_acquire_many_owned(share).ok()?;
        let mut state = self.state.lock();
        if state.ring.get(after).is_some() {
            return None;
        }
        let under_way = state.reads.get(&after).cloned();
        let pending = under_way.unwrap_or_else(|| self.begin_read(&mut state, after));
        Some(Ahead { after, pending, _permit: permit })
    }
}
