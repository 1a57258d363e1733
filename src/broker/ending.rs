//! How a stream ends: what makes it end, and saying so first.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{
    ClosingReason, Frame,
    subscribe::SubscribeError,
    subscription::{LogSubscription, Phase, Reader},
};
use crate::domain::{Offset, Principal, Timestamp};

/// A stream asks so often whether its credential still stands: the end of one is promised to be noticed
/// within 5 s, and the answer comes from a cache.
pub(super) const CREDENTIAL_CHECK: Duration = Duration::from_secs(3);

/// When a stream looks at its credential next: now and then, and when it ends by itself.
pub(super) fn next_credential_check(principal: &Principal, now: Instant) -> Instant {
    let end = principal.expires.map(|end| now + end.since(Timestamp::now()).min(CREDENTIAL_CHECK));
    end.unwrap_or(now + CREDENTIAL_CHECK)
}

impl LogSubscription {
    /// Why the stream must end now, if it must.
    pub(super) async fn closing(&mut self) -> Option<(ClosingReason, SubscribeError)> {
        if self.broker.shutdown().is_draining() {
            return Some((ClosingReason::Draining, SubscribeError::Draining));
        }
        if let Some(end) = self.consumer_end().await {
            return Some(end);
        }
        self.life.over().await
    }

    /// The error to end with if the log lost its tail since the stream began, or is another one.
    pub(super) fn lost_tail(&self) -> Option<SubscribeError> {
        let log_id = self.handle.log.log_id();
        if log_id != self.handle.topic.log_id {
            return Some(SubscribeError::LogReplaced { topic: self.handle.topic.settings.name.clone(), log_id });
        }
        let losses = self.handle.log.losses();
        (losses.count != self.losses).then(|| self.shortened(losses.head))
    }

    pub(super) fn shortened(&self, head: Offset) -> SubscribeError {
        SubscribeError::LogShortened { topic: self.handle.topic.settings.name.clone(), after: self.position, head }
    }

    async fn consumer_end(&self) -> Option<(ClosingReason, SubscribeError)> {
        let moved = || (ClosingReason::ConsumerChanged, SubscribeError::Rotated(ClosingReason::ConsumerChanged));
        let hold = self.reader.hold()?;
        if !hold.is_lost() {
            return hold.is_changed().then(moved);
        }
        let consumer = self.reader.consumer_name()?.clone();
        let found = timeout_at(self.life.soon(), self.broker.store().find_consumer(&consumer)).await;
        match found {
            Ok(Ok(Some(found))) if found.id == hold.consumer() => {
                // A stream that took it since has to be asked for it anew, as all others.
                if found.revision != hold.revision() {
                    return Some(moved());
                }
            }
            Ok(Ok(_)) => return Some((ClosingReason::Deleted, SubscribeError::ConsumerNotFound { consumer })),
            // The store cannot be asked, and what matters is known.
            Ok(Err(_)) | Err(_) => {}
        }
        Some((ClosingReason::TakenOver, SubscribeError::ConsumerFenced { consumer }))
    }

    /// Says that the stream ends, and gives its consumer back at once.
    pub(super) fn close(&mut self, reason: ClosingReason, error: SubscribeError) -> Frame {
        self.phase = Phase::Closing(error);
        if let Reader::Consumer { hold, .. } = &mut self.reader {
            *hold = None;
        }
        Frame::Closing { reason, remaining: Duration::ZERO }
    }

    /// Says that the topic was deleted.
    pub(super) fn deleted(&mut self) -> Frame {
        let topic = self.handle.topic.settings.name.clone();
        self.broker.forget_topic(&topic);
        self.close(ClosingReason::Deleted, SubscribeError::TopicNotFound { topic })
    }

    pub(super) fn end(&mut self) {
        self.phase = Phase::Ended;
        if let Reader::Consumer { hold, .. } = &mut self.reader {
            *hold = None;
        }
    }
}
