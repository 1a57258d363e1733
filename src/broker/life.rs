//! How long a stream may live and be silent.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{
    Broker, ClosingReason,
    ending::next_credential_check,
    subscribe::{CredentialEnd, SubscribeError},
};
use crate::domain::{Principal, Timestamp};

/// The store may be asked for so long.
const STORE_PATIENCE: Duration = Duration::from_secs(1);

/// The times of one stream.
#[derive(Debug)]
pub(super) struct Life {
    broker: Broker,
    principal: Arc<Principal>,
    heartbeat_interval: Duration,
    pub(super) heartbeat_at: Instant,
    ends_at: Instant,
    credential_at: Instant,
}

impl Life {
    pub(super) fn new(broker: Broker, principal: Arc<Principal>, heartbeat_interval: Duration) -> Self {
        let now = Instant::now();
        Self {
            heartbeat_at: now + heartbeat_interval,
            ends_at: now + broker.stream_age(),
            credential_at: next_credential_check(&principal, now),
            broker,
            principal,
            heartbeat_interval,
        }
    }

    /// A frame is sent now.
    pub(super) fn spoke(&mut self) {
        self.heartbeat_at = Instant::now() + self.heartbeat_interval;
    }

    /// Whether a heartbeat is due.
    pub(super) fn is_silent(&self) -> bool {
        Instant::now() >= self.heartbeat_at
    }

    /// When the stream must do something by itself.
    pub(super) fn deadline(&self) -> Instant {
        self.heartbeat_at.min(self.credential_at).min(self.ends_at)
    }

    /// How long the store may be asked without the stream falling silent.
    pub(super) fn soon(&self) -> Instant {
        self.heartbeat_at.min(Instant::now() + STORE_PATIENCE)
    }

    /// Why the stream must end now, if it must: its credential ended, or it is as old as streams may get.
    pub(super) async fn over(&mut self) -> Option<(ClosingReason, SubscribeError)> {
        let now = Instant::now();
        if self.principal.expires.is_some_and(|expires| expires <= Timestamp::now()) {
            return Some((ClosingReason::CredentialEnded, SubscribeError::CredentialEnded(CredentialEnd::Expired)));
        }
        if now >= self.credential_at {
            self.credential_at = next_credential_check(&self.principal, now);
            // A store that does not answer in time says nothing about the credential.
            let asked = timeout_at(self.soon(), self.broker.credential_end(&self.principal)).await;
            if let Ok(Some(end)) = asked {
                return Some((ClosingReason::CredentialEnded, SubscribeError::CredentialEnded(end)));
            }
        }
        (now >= self.ends_at).then_some((ClosingReason::MaxAge, SubscribeError::Rotated(ClosingReason::MaxAge)))
    }
}
