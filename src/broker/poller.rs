//! Polling: what finds events when every wake-up was lost.

use std::time::Duration;

use metrics::counter;
use tokio::{select, time::sleep};
use tracing::warn;

use super::Broker;
use crate::{domain::TopicId, notify::NotifierState, store::TopicHead, telemetry::metric};

/// How often heads are looked up while wake-ups arrive, unless configured.
const INTERVAL: Duration = Duration::from_secs(1);
/// And while they do not.
const INTERVAL_DEGRADED: Duration = Duration::from_millis(100);

impl Broker {
    /// Looks at the heads of all topics with readers, by one statement at a time, until the process
    /// stops, and wakes the readers of those that grew.
    pub(super) async fn poll(self) {
        let mut state = self.notifier().state();
        let mut failing = false;
        loop {
            let degraded = *state.borrow_and_update() == NotifierState::Degraded;
            let default = if degraded { INTERVAL_DEGRADED } else { INTERVAL };
            select! {
                () = self.shutdown().stopping() => return,
                () = sleep(self.poll_interval().unwrap_or(default)) => {}
                Ok(()) = state.changed() => continue,
            }
            self.topics().sweep();
            let topics = self.hub().topics();
            if topics.is_empty() {
                continue;
            }
            counter!(metric::POLLS).increment(1);
            match self.store().heads(&topics).await {
                Ok(heads) => {
                    failing = false;
                    self.compare(&topics, &heads);
                }
                Err(error) => {
                    if !failing {
                        warn!(%error, "heads cannot be looked up; readers see new events late until they can");
                    }
                    failing = true;
                }
            }
        }
    }

    fn compare(&self, topics: &[TopicId], heads: &[TopicHead]) {
        for &topic in topics {
            let Some(log) = self.topics().log(topic) else { continue };
            let head = heads.iter().find(|head| head.topic == topic).map(|head| head.bounds.head);
            match (head, log.tail()) {
                // A reader is about to look for the first time.
                (Some(_), None) => {}
                (Some(head), Some(tail)) if head == tail => {}
                (Some(head), Some(tail)) if head > tail => drop(self.hub().wake(topic, 0)),
                // Deleted, or shorter than it was: readers find out when they look.
                (Some(_) | None, _) => {
                    log.forget();
                    self.hub().wake(topic, 0);
                }
            }
        }
    }
}
