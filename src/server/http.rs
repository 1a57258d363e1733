//! Plain HTTP for probes and Prometheus: `/healthz`, `/readyz`, `/metrics`.

use std::time::Duration;

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde_json::json;
use tokio::time::timeout;
use tracing::error;

use super::{StartError, accept::Gate};
use crate::{broker::Broker, notify::NotifierState, telemetry::metric};

/// Histograms of durations, in seconds: from a commit on a fast disk to a hanging one.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// A store that takes longer to answer is not ready.
const PROBE: Duration = Duration::from_secs(2);
/// How often the recorder drops what was read.
const UPKEEP: Duration = Duration::from_secs(5);

/// Collects the metrics of this process from now on.
pub(super) fn install_recorder() -> Result<PrometheusHandle, StartError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(metric::APPEND_SECONDS.to_owned()), &SECONDS)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|error| StartError::Metrics(Box::new(error)))
}

/// Serves until the process stops.
pub(super) async fn serve(gate: Gate, metrics: PrometheusHandle, broker: Broker) {
    let upkeep = metrics.clone();
    let shutdown = broker.shutdown().clone();
    let stop = shutdown.clone();
    let app = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready).with_state(broker))
        .route("/metrics", get(move || async move { metrics.render() }));
    let server = axum::serve(gate, app).with_graceful_shutdown(async move { stop.stopping().await });
    tokio::select! {
        ended = server.into_future() => if let Err(error) = ended {
            error!(%error, "metrics and health are not served any more");
        },
        () = shutdown.stopping() => {}
        () = keep_up(upkeep) => {}
    }
}

async fn keep_up(metrics: PrometheusHandle) {
    loop {
        tokio::time::sleep(UPKEEP).await;
        metrics.run_upkeep();
    }
}

/// Whether calls should come here: 200 or 503, and why.
async fn ready(State(broker): State<Broker>) -> impl IntoResponse {
    let store = matches!(timeout(PROBE, broker.store().ping()).await, Ok(Ok(())));
    let notifier = *broker.notifier().state().borrow() == NotifierState::Healthy;
    let draining = broker.shutdown().is_draining();
    let ready = store && !draining;
    let word = |good: bool| if good { "serving" } else { "not_serving" };
    let body = json!({
        "ready": ready,
        "draining": draining,
        "store": word(store),
        "notifier": if notifier { "serving" } else { "degraded" },
    });
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(body))
}
