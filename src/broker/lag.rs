//! How far consumers are behind, as a metric.

use std::{collections::HashMap, time::Duration};

use metrics::{Gauge, SharedString, gauge};
use tokio::{select, time::sleep};
use tracing::debug;

use super::{Broker, ConsumersError};
use crate::telemetry::{label, metric};

/// How often it is looked up, by two statements.
const REFRESH: Duration = Duration::from_secs(15);
/// Consumers that are looked at.
const CONSUMERS_MAX: usize = 1000;

impl Broker {
    /// Keeps the lag of consumers up to date until the process stops.
    pub(super) async fn watch_lag(self) {
        let mut shown = HashMap::new();
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

    /// The lag by label; consumers that share one are added up.
    async fn lags(&self) -> Result<HashMap<SharedString, u64>, ConsumersError> {
        let mut lags = HashMap::new();
        for view in self.list_consumers(None, "", CONSUMERS_MAX).await? {
            *lags.entry(label::consumer(view.consumer.settings.name.as_str())).or_default() += view.lag_events();
        }
        Ok(lags)
    }
}

fn show(shown: &mut HashMap<SharedString, Gauge>, lags: &HashMap<SharedString, u64>) {
    for (_, gone) in shown.iter().filter(|(consumer, _)| !lags.contains_key(*consumer)) {
        gone.set(0.0);
    }
    for (consumer, lag) in lags {
        let label = || gauge!(metric::CONSUMER_LAG, "consumer" => consumer.clone());
        shown.entry(consumer.clone()).or_insert_with(label).set(*lag as f64);
    }
}
