//! When a stream of publish requests must end.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::{Broker, ClosingReason, PublishStreamError, ending::CREDENTIAL_CHECK};
use crate::{
    auth::AuthError,
    domain::{Principal, Timestamp},
};

/// The times of one stream.
#[derive(Debug)]
pub struct PublishLife {
    broker: Broker,
    principal: Arc<Principal>,
    ends_at: Instant,
    credential_at: Instant,
}

impl PublishLife {
    pub(super) fn new(broker: Broker, principal: Arc<Principal>) -> Self {
        let now = Instant::now();
        Self { ends_at: now + broker.stream_age(), credential_at: now + CREDENTIAL_CHECK, broker, principal }
    }

    /// Completes when the stream must end, and says why. Cancelling it loses nothing.
    pub async fn over(&mut self) -> (ClosingReason, PublishStreamError) {
        loop {
            if self.broker.shutdown().is_draining() {
                return (ClosingReason::Draining, PublishStreamError::Draining);
            }
            let now = Instant::now();
            if now >= self.ends_at {
                return (ClosingReason::MaxAge, PublishStreamError::Rotated);
            }
            let left = self.principal.expires.map(time_until);
            if left.is_some_and(|left| left.is_zero()) {
                return credential_ended(true);
            }
            if now >= self.credential_at {
                match self.broker.inner.auth.recheck(&self.principal).await {
                    // A store that does not answer says nothing about the credential; a producer that is
                    // disabled, or a user who may do less, is told so with each request.
                    Ok(()) => {}
                    Err(AuthError::Store(_) | AuthError::ProducerDisabled { .. } | AuthError::RoleLowered { .. }) => {}
                    Err(AuthError::Expired) => return credential_ended(true),
                    Err(AuthError::Missing | AuthError::Invalid | AuthError::Revoked) => {
                        return credential_ended(false);
                    }
                }
                self.credential_at = now + CREDENTIAL_CHECK;
            }
            let expires_at = left.and_then(|left| now.checked_add(left));
            let deadline = self.credential_at.min(self.ends_at).min(expires_at.unwrap_or(self.ends_at));
            tokio::select! {
                () = self.broker.shutdown().draining() => {}
                () = sleep_until(deadline) => {}
            }
        }
    }
}

/// The end of a stream whose credential ended.
pub(super) fn credential_ended(expired: bool) -> (ClosingReason, PublishStreamError) {
    (ClosingReason::CredentialEnded, PublishStreamError::CredentialEnded { expired })
}

fn time_until(end: Timestamp) -> Duration {
    let left = end.micros().saturating_sub(Timestamp::now().micros());
    Duration::from_micros(u64::try_from(left).unwrap_or(0))
}
