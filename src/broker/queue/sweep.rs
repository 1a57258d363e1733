//! Removing in the background what consumers in MODE_QUEUE need no more.

use std::time::Duration;

use tokio::{select, time::sleep};
use tracing::warn;

use crate::{broker::Broker, domain::limits};

/// The name of the duty, which one server does for all.
const DUTY: &str = "queue_sweep";
/// How often it is done.
const INTERVAL: Duration = Duration::from_secs(10);
/// Rows of one kind and consumer that one step removes.
const STEP: usize = 10_000;

impl Broker {
    /// Removes what is needed no more, until the process drains.
    pub(in crate::broker) async fn sweep_queues(self) {
        let (mut pause, mut failing) = (INTERVAL, false);
        loop {
            select! {
                () = self.shutdown().draining() => return,
                () = sleep(pause) => {}
            }
            let swept = match self.store().take_duty(DUTY, self.server_id(), limits::HOLD_LEASE).await {
                Ok(true) => self.store().sweep_queues(STEP).await,
                Ok(false) => Ok(false),
                Err(error) => Err(error),
            };
            pause = if matches!(swept, Ok(true)) { Duration::ZERO } else { INTERVAL };
            if let (Err(error), false) = (&swept, failing) {
                warn!(%error, "old leases cannot be removed; trying again from time to time");
            }
            failing = swept.is_err();
        }
    }
}
