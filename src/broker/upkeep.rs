//! What credentials need now and then.

use std::time::Duration;

use tokio::time::timeout;
use tracing::{info, warn};

use super::Broker;

/// How often the uses of keys are noted, all by one statement.
const NOTE_INTERVAL: Duration = Duration::from_secs(5);
/// How often signing keys are read, and added if one is due: well within the time before a new one signs.
const SIGNING_INTERVAL: Duration = Duration::from_secs(60);

impl Broker {
    /// Notes which keys were used, until the end.
    pub(super) async fn note_key_uses(self) {
        loop {
            let stopping = timeout(NOTE_INTERVAL, self.shutdown().stopping()).await.is_ok();
            if let Err(error) = self.inner.auth.note_key_uses().await {
                warn!(%error, "the last use of keys cannot be noted");
            }
            if stopping {
                return;
            }
        }
    }

    /// Learns of the signing keys of others, and adds one when the newest is old, until the end.
    pub(super) async fn rotate_signing_keys(self) {
        loop {
            match self.inner.auth.rotate_signing_keys().await {
                Ok(true) => info!("a new signing key was added; it signs when all servers know it"),
                Ok(false) => {}
                Err(error) => warn!(%error, "the signing keys cannot be looked after"),
            }
            if timeout(SIGNING_INTERVAL, self.shutdown().stopping()).await.is_ok() {
                return;
            }
        }
    }
}
