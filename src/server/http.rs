//! Plain HTTP for probes and Prometheus: `/healthz`, `/readyz`, `/metrics`.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use metrics::gauge;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde_json::json;
use tokio::runtime::Handle;
use tracing::error;

use super::{StartError, accept::Gate};
use crate::{
    broker::Broker,
    grpc::{Health, Readiness},
    notify::NotifierState,
    telemetry::metric::{self, Kind, Metric},
};

/// The text format of Prometheus.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
/// How often the recorder drops what was read.
const UPKEEP: Duration = Duration::from_secs(5);

/// Collects the metrics of this process from now on.
pub(super) fn install_recorder() -> Result<PrometheusHandle, StartError> {
    let failed = |error| StartError::Metrics(Box::new(error));
    let mut builder = PrometheusBuilder::new();
    for Metric { name, kind, .. } in metric::ALL {
        if let Kind::Histogram(bounds) = kind {
            builder = builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), bounds).map_err(failed)?;
        }
    }
    let handle = builder.install_recorder().map_err(failed)?;
    metric::describe_all();
    #[cfg(target_os = "linux")]
    metrics_process::Collector::default().describe();
    gauge!(metric::BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}

/// Serves until the process stops.
pub(super) async fn serve(gate: Gate, metrics: PrometheusHandle, broker: Broker, health: Health) {
    let upkeep = metrics.clone();
    let shutdown = broker.shutdown().clone();
    let stop = shutdown.clone();
    let app = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready).with_state((broker.clone(), health)))
        .route("/metrics", get(scrape).with_state((broker, metrics)));
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

/// All metrics, after those have been set that are read off when they are asked for.
async fn scrape(State((broker, metrics)): State<(Broker, PrometheusHandle)>) -> impl IntoResponse {
    broker.observe();
    gauge!(metric::TASKS).set(Handle::current().metrics().num_alive_tasks() as f64);
    #[cfg(target_os = "linux")]
    metrics_process::Collector::default().collect();
    ([(CONTENT_TYPE, PROMETHEUS)], metrics.render())
}

/// Whether calls should come here: 200 or 503, and why. The same as `grpc.health.v1` says.
async fn ready(State((broker, health)): State<(Broker, Health)>) -> impl IntoResponse {
    let Readiness { serving, store } = health.readiness();
    let notifier = *broker.notifier().state().borrow() == NotifierState::Healthy;
    let draining = broker.shutdown().is_draining();
    let ready = serving && !draining;
    let body = json!({
        "ready": ready,
        "draining": draining,
        "store": if store { "serving" } else { "not_serving" },
        "notifier": if notifier { "serving" } else { "degraded" },
    });
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(body))
}
