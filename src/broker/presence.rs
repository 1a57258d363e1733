//! Telling the other servers that this one lives.

use std::time::Duration;

use tokio::{
    select,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tracing::warn;

use super::Broker;
use crate::{
    domain::{RunningServer, limits},
    store::StoreError,
};

/// Servers that are listed, at most.
const LISTED: usize = 1000;
/// Pause before another try to say that this server lives.
const BEAT_AGAIN: Duration = Duration::from_millis(500);
/// How long a stream waits until the others know that its server lives.
const PRESENT_PATIENCE: Duration = Duration::from_secs(3);
/// And looks so often.
const PRESENT_LOOK: Duration = Duration::from_millis(20);

impl Broker {
    /// Says that this server lives, until the process stops.
    pub(super) async fn be_present(self) {
        let mut tick = interval(limits::HOLD_RENEWAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = Instant::now();
        loop {
            select! {
                () = self.shutdown().stopping() => break,
                _ = tick.tick() => {}
            }
            self.notice_standstill(last.elapsed());
            last = Instant::now();
            let asked = Instant::now();
            let beat = self.store().beat(self.server_id(), self.server_name(), VERSION, limits::HOLD_LEASE);
            match beat.await {
                Ok(()) => *self.inner.present_until.lock() = asked + limits::HOLD_LEASE,
                Err(error) => {
                    warn!(%error, "the other servers cannot be told that this one lives");
                    tick.reset_after(BEAT_AGAIN);
                }
            }
            self.attend_queues().await;
        }
        self.leave_queues().await;
        if let Err(error) = self.store().leave(self.server_id()).await {
            // It is forgotten by itself.
            warn!(%error, "the other servers could not be told that this one ends");
        }
    }

    /// Whether the other servers know that this one lives, and leave its leases to it.
    pub(super) fn is_present(&self) -> bool {
        Instant::now() < *self.inner.present_until.lock()
    }

    /// Waits until they do, for a moment.
    pub(super) async fn wait_until_present(&self) -> Result<(), StoreError> {
        let give_up = Instant::now() + PRESENT_PATIENCE;
        while !self.is_present() {
            if Instant::now() >= give_up {
                return Err(StoreError::NotNow("this server could not say that it lives".into()));
            }
            sleep(PRESENT_LOOK).await;
        }
        Ok(())
    }

    /// Says so if this process did nothing for longer than what it holds lasts.
    fn notice_standstill(&self, since: Duration) {
        if since > limits::HOLD_LEASE {
            let seconds = since.as_secs();
            warn!(seconds, "this server stood still for {seconds} s; others may have taken its consumers");
        }
    }

    /// The servers that share the store and are alive, in the order in which they came, at most 1,000.
    pub async fn servers(&self) -> Result<Vec<RunningServer>, StoreError> {
        self.store().servers(LISTED).await
    }
}

/// As the other servers see it.
const VERSION: &str = env!("CARGO_PKG_VERSION");
