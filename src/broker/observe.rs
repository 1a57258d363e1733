//! Metrics that are read off when they are asked for, and not counted as things happen.

use metrics::{counter, gauge};

use super::Broker;
use crate::{notify::NotifierState, store::Pool, telemetry::metric};

impl Broker {
    /// Sets these metrics to what they are now. It asks nobody and does not wait.
    pub fn observe(&self) {
        gauge!(metric::RING_BYTES).set(self.topics().ring_bytes() as f64);
        let healthy = *self.notifier().state().borrow() == NotifierState::Healthy;
        gauge!(metric::NOTIFIER_HEALTHY).set(if healthy { 1.0 } else { 0.0 });
        for (statement, count) in self.store().statement_counts() {
            counter!(metric::STORE_STATEMENTS, "statement" => statement).absolute(count);
        }
        for Pool { name, busy, idle } in self.store().pools() {
            gauge!(metric::STORE_CONNECTIONS, "pool" => name, "state" => "busy").set(busy as f64);
            gauge!(metric::STORE_CONNECTIONS, "pool" => name, "state" => "idle").set(idle as f64);
        }
    }
}
