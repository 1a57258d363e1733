//! `grpc.health.v1`: overall, for each service, and for the store and the notifier.

use std::{sync::Arc, time::Duration};

use metrics::gauge;
use parking_lot::Mutex;
use tokio::{
    select,
    time::{Instant, timeout},
};
use tonic::server::NamedService;
use tonic_health::{ServingStatus, pb::health_server::HealthServer, server::HealthReporter, server::HealthService};
use tracing::{error, info};

use crate::{
    broker::Broker,
    notify::NotifierState,
    proto::server::{
        auth_service_server::AuthServiceServer, consumer_service_server::ConsumerServiceServer,
        event_service_server::EventServiceServer, producer_service_server::ProducerServiceServer,
        topic_service_server::TopicServiceServer,
    },
    telemetry::metric,
};

/// The health name of the store.
const STORE: &str = "eventflow.store";
/// The health name of the notifier.
const NOTIFIER: &str = "eventflow.notifier";
/// How often the store is asked for a sign of life.
const PROBE: Duration = Duration::from_secs(1);
/// The server serves this long without the store before it says that it does not.
const GRACE: Duration = Duration::from_secs(5);

/// The server's health, for probes. Clones share one state.
#[derive(Clone, Debug)]
pub struct Health {
    reporter: HealthReporter,
    readiness: Arc<Mutex<Readiness>>,
}

/// What probes are told, for those that ask in another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// The server takes calls: it does not drain, and has heard of the store lately.
    pub serving: bool,
    /// The store answered when it was last asked.
    pub store: bool,
}

impl Health {
    /// Health that says SERVING, and the service that answers probes.
    pub async fn new() -> (Self, HealthServer<HealthService>) {
        let reporter = HealthReporter::new();
        let service = HealthServer::new(HealthService::from_health_reporter(reporter.clone()));
        // The store has just been opened.
        let readiness = Arc::new(Mutex::new(Readiness { serving: true, store: true }));
        let health = Self { reporter, readiness };
        health.set_services(true).await;
        health.set_store(true).await;
        (health, service)
    }

    /// What probes are told now.
    pub fn readiness(&self) -> Readiness {
        *self.readiness.lock()
    }

    /// Says whether the server takes calls, under every name of a service.
    pub async fn set_services(&self, serving: bool) {
        self.readiness.lock().serving = serving;
        let services = [
            "",
            AuthServiceServer::<()>::NAME,
            ConsumerServiceServer::<()>::NAME,
            EventServiceServer::<()>::NAME,
            ProducerServiceServer::<()>::NAME,
            TopicServiceServer::<()>::NAME,
        ];
        for name in services {
            self.set(name, serving).await;
        }
    }

    async fn set_store(&self, alive: bool) {
        self.readiness.lock().store = alive;
        gauge!(metric::STORE_HEALTHY).set(if alive { 1.0 } else { 0.0 });
        self.set(STORE, alive).await;
    }

    async fn set(&self, name: &str, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.reporter.set_service_status(name, status).await;
    }

    /// Watches the store and the notifier until the process stops.
    pub async fn watch(self, broker: Broker) {
        let shutdown = broker.shutdown().clone();
        let mut notifier = broker.notifier().state();
        let (mut seen, mut serving) = (Instant::now(), true);
        loop {
            let healthy = *notifier.borrow_and_update() == NotifierState::Healthy;
            self.set(NOTIFIER, healthy).await;
            let alive = matches!(timeout(GRACE, broker.store().ping()).await, Ok(Ok(())));
            if alive {
                seen = Instant::now();
            }
            self.set_store(alive).await;
            let now = seen.elapsed() < GRACE && !shutdown.is_draining();
            if now != serving {
                match now {
                    true => info!("the store is back; serving"),
                    false if shutdown.is_draining() => {}
                    false => error!("no sign of life from the store for {} s; not serving", GRACE.as_secs()),
                }
                self.set_services(now).await;
                serving = now;
            }
            select! {
                () = shutdown.stopping() => return,
                () = tokio::time::sleep(PROBE) => {}
                _ = notifier.changed() => {}
            }
        }
    }
}
