//! How far consumers are behind, as a metric.

use std::{collections::HashMap, time::Duration};

use metrics::{Gauge, SharedString, gauge};
use tokio::{select, time::sleep};
use tracing::debug;

use super::{Broker, ConsumersError};
use crate::{
    domain::QueueStatus,
    telemetry::{label, metric},
};

/// How often it is looked up, by a few statements.
const REFRESH: Duration = Duration::from_secs(15);
/// Consumers that are looked at.
const CONSUMERS_MAX: usize = 1000;

/// A gauge for each consumer.
type Shown = HashMap<(&'static str, SharedString), Gauge>;

impl Broker {
    /// Keeps the lag of consumers up to date until the process stops.
    pub(super) async fn watch_lag(self) {
        let mut shown = Shown::new();
        loop {
            match self.lags().await {
                Ok(lags) => show(&mut shown, &lags),
                // It stays what it was; that the store failed is said where it matters.
                Err(error) => debug!(%error, "the lag of consumers cannot be looked up"),
            }
            select! {
                () = self.shutdown().stopping() => return,
                () = sleep(REFRESH) => {}
            }
        }
    }

    /// The gauges by label; consumers that share one are added up.
    async fn lags(&self) -> Result<HashMap<(&'static str, SharedString), u64>, ConsumersError> {
        let mut lags = HashMap::new();
        for view in self.list_consumers(None, "", CONSUMERS_MAX).await? {
            let label = label::consumer(view.consumer.settings.name.as_str());
            let mut add = |metric, value| *lags.entry((metric, label.clone())).or_default() += value;
            add(metric::CONSUMER_LAG, view.lag_events());
            if let Some(QueueStatus { in_flight, retrying, dead_letters, .. }) = view.queue {
                add(metric::CONSUMER_IN_FLIGHT, in_flight);
                add(metric::CONSUMER_RETRYING, retrying);
                add(metric::CONSUMER_DEAD_LETTERS, dead_letters);
            }
        }
        Ok(lags)
    }
}

fn show(shown: &mut Shown, lags: &HashMap<(&'static str, SharedString), u64>) {
    for (_, gone) in shown.iter().filter(|(key, _)| !lags.contains_key(*key)) {
        gone.set(0.0);
    }
    for ((metric, consumer), value) in lags {
        let label = || gauge!(*metric, "consumer" => consumer.clone());
        shown.entry((metric, consumer.clone())).or_insert_with(label).set(*value as f64);
    }
}
