//! Polling: what finds events when every wake-up was lost.

use std::time::Duration;

use metrics::counter;
use tokio::{
    select,
    time::{Instant, sleep_until},
};
use tracing::warn;

use super::{Broker, shortened::KnownEnd};
use crate::{
    domain::TopicId,
    notify::{Cause, NotifierState},
    store::TopicHead,
    telemetry::metric,
};

/// How often heads are looked up while wake-ups arrive, unless configured.
const INTERVAL: Duration = Duration::from_secs(1);
/// And while they do not.
const INTERVAL_DEGRADED: Duration = Duration::from_millis(100);

impl Broker {
    /// Looks at the heads of all topics with readers, by one statement at a time, until the process
    /// stops, and wakes the readers of those that grew.
    pub(super) async fn poll(self) {
        let mut state = self.notifier().state();
        let (mut failing, mut last) = (false, Instant::now());
        loop {
            let degraded = *state.borrow_and_update() == NotifierState::Degraded;
            let default = if degraded { INTERVAL_DEGRADED } else { INTERVAL };
            let next = last + self.poll_interval().unwrap_or(default);
            select! {
                () = self.shutdown().stopping() => return,
                () = sleep_until(next) => {}
                // Only the interval changes; the last look stays what it was.
                Ok(()) = state.changed() => continue,
            }
            last = Instant::now();
            self.topics().sweep();
            // The ends before the statement: an append meanwhile must not look like a log that shrank.
            let known = |topic| Some((topic, self.topics().log(topic)?.known_end()));
            let topics: Vec<_> = self.hub().topics().into_iter().filter_map(known).collect();
            if topics.is_empty() {
                continue;
            }
            counter!(metric::POLLS).increment(1);
            let ids: Vec<_> = topics.iter().map(|(topic, _)| *topic).collect();
            match self.store().heads(&ids).await {
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

    fn compare(&self, topics: &[(TopicId, KnownEnd)], heads: &[TopicHead]) {
        for &(topic, known) in topics {
            let found = heads.iter().find(|head| head.topic == topic);
            if let (Some(found), Some(log)) = (found, self.topics().log(topic)) {
                log.is_now(found.log_id);
            }
            let head = found.map(|head| head.bounds.head);
            match (head, known.tail) {
                // A reader is about to look for the first time.
                (Some(_), None) => {}
                (Some(head), Some(tail)) if head == tail => {}
                (Some(head), Some(tail)) if head > tail => drop(self.hub().wake(topic, 0, Cause::Poll)),
                (Some(head), Some(_)) => {
                    if let Some(log) = self.topics().log(topic) {
                        log.lost_tail(known, head);
                    }
                }
                // Deleted: readers find out when they look.
                (None, _) => {
                    if let Some(log) = self.topics().log(topic) {
                        log.state.lock().forget();
                    }
                    self.hub().wake(topic, 0, Cause::Poll);
                }
            }
        }
    }
}
