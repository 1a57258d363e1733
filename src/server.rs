//! The composition root: settings become a running server, and a signal ends it.

mod accept;
mod http;
mod migrate;
mod record;
mod start;

use std::{sync::Arc, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};
use tonic::transport::Server;
use tracing::{info, warn};

use crate::{
    auth::Auth,
    broker::{Broker, BrokerOptions, PackOptions},
    config::ServeSettings,
    domain::limits,
    grpc::{AuthenticateLayer, CallLayer, GrpcOptions, Health, routes},
    shutdown::Shutdown,
};

use accept::{Gate, Spoken};

pub use migrate::migrate;
pub use record::{ServerRecord, read_record};
pub use start::StartError;

/// The end of a drain, when calls have ended or are given up.
const LATE: Duration = Duration::from_secs(3);
/// Keepalive of connections: a ping after this silence …
const KEEPALIVE: Duration = Duration::from_secs(30);
/// … which must be answered within this time.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes that a client may send on one call before it is read.
const STREAM_WINDOW: u32 = 1 << 20;
/// And on a whole connection.
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Calls that a client may have reset before it is cut off: h2 keeps state for each.
const RESET_STREAMS: usize = 1024;

/// Connections for probes and metrics: a few programs ask, on a port that few can reach.
const HTTP_CONNECTIONS: usize = 256;

/// Runs a server until SIGTERM or SIGINT, and returns when it has drained.
pub async fn run(settings: ServeSettings) -> Result<(), StartError> {
    settings.check()?;
    let listener = start::bind(settings.listen).await?;
    let http_listener = start::bind(settings.http_listen).await?;
    start::raise_file_limit(settings.max_connections);
    let shutdown = Shutdown::default();
    let prometheus = http::install_recorder()?;

    let parts = start::open(&settings).await?;
    let record = ServerRecord::new(&listener, &http_listener, parts.server)?;
    let broker = Broker::start(
        parts.store.clone(),
        parts.notifier.clone(),
        parts.hub.clone(),
        parts.auth.clone(),
        parts.server,
        shutdown.clone(),
        broker_options(&settings, record.listen.to_string()),
    );
    let (health, health_service) = Health::new().await;
    shutdown.spawn(health.clone().watch(broker.clone()));
    let options = GrpcOptions { reflection: settings.reflection };
    let routes = routes(broker.clone(), parts.auth.clone(), health_service, options)?;
    let http_gate = Gate::new(http_listener, Spoken::Http, HTTP_CONNECTIONS, shutdown.clone());
    shutdown.spawn(http::serve(http_gate, prometheus, broker.clone(), health.clone()));

    // From here on somebody knows of this process, and may end it.
    let signalled = signalled();
    record.write(&settings.data_dir)?;
    info!(
        listen = %record.listen, http_listen = %record.http_listen, store = parts.store.kind(),
        version = env!("CARGO_PKG_VERSION"), "serving gRPC on {}", record.listen
    );
    start::print_next_steps(&settings, &record, &parts);

    let gate = Gate::new(listener, Spoken::Grpc, settings.max_connections, shutdown.clone());
    let end = serve(gate, routes, parts.auth.clone(), &shutdown);
    tokio::pin!(end);
    tokio::select! {
        ended = &mut end => return ended,
        () = signalled => {}
    }
    info!(timeout_s = settings.drain_timeout.as_secs_f64(), "draining");
    health.set_services(false).await;
    shutdown.drain();
    // Calls get most of the time; what is left is for appends under way, the last words, and the store.
    let late = LATE.min(settings.drain_timeout / 4);
    match timeout(settings.drain_timeout - late, end).await {
        Ok(ended) => ended?,
        Err(_) => warn!("not every call ended in time; stopping anyway"),
    }
    let finished = timeout(late * 2 / 3, async {
        shutdown.finish().await;
        parts.notifier.shutdown().await;
    });
    if finished.await.is_err() {
        warn!(tasks = shutdown.task_count(), "not every task ended in time; stopping anyway");
    }
    record.remove(&settings.data_dir);
    let _ = timeout(late / 3, parts.store.close()).await;
    info!("stopped");
    Ok(())
}

/// Serves until the drain, and then until every open call has ended.
async fn serve(gate: Gate, routes: tonic::service::Routes, auth: Auth, shutdown: &Shutdown) -> Result<(), StartError> {
    let drain = shutdown.clone();
    Server::builder()
        .layer(CallLayer::new(shutdown.clone()))
        .layer(AuthenticateLayer::new(auth))
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(limits::CONNECTION_STREAMS)
        .http2_max_local_error_reset_streams(Some(RESET_STREAMS))
        // Below us, what is as large as this is refused already.
        .http2_max_header_list_size(limits::METADATA_BYTES + 1)
        .add_routes(routes)
        .serve_with_incoming_shutdown(gate.stream(), async move { drain.draining().await })
        .await
        .map_err(|error| StartError::Serve(Box::new(error)))
}

fn broker_options(settings: &ServeSettings, server_name: String) -> BrokerOptions {
    BrokerOptions {
        ring_bytes: settings.ring_bytes,
        ring_bytes_total: settings.ring_bytes_total,
        queue_bytes: settings.queue_bytes,
        queue_bytes_total: settings.queue_bytes_total,
        queue_timeout: settings.queue_timeout,
        publish_stream_requests: settings.publish_stream_requests,
        publish_stream_bytes: settings.publish_stream_bytes,
        stream_max_age: settings.stream_max_age,
        poll_interval: settings.poll_interval,
        retention_interval: settings.retention_interval,
        pack: (!settings.pack_after.is_zero())
            .then_some(PackOptions { after: settings.pack_after, rate: settings.pack_rate }),
        max_streams: settings.max_streams,
        max_streams_per_principal: settings.max_streams_per_principal,
        server_name,
    }
}

/// Completes at SIGTERM or SIGINT, of which none from now on is missed.
fn signalled() -> impl Future<Output = ()> {
    let [terminate, interrupt] = [SignalKind::terminate(), SignalKind::interrupt()].map(|kind| {
        let signals = signal(kind);
        async move {
            match signals {
                Ok(mut signals) => drop(signals.recv().await),
                // Without a handler the signal ends the process by itself.
                Err(_) => std::future::pending().await,
            }
        }
    });
    async move {
        tokio::select! {
            () = terminate => {}
            () = interrupt => {}
        }
    }
}

/// What a server is made of.
struct Parts {
    store: crate::store::SharedStore,
    notifier: crate::notify::SharedNotifier,
    hub: Arc<crate::notify::Hub>,
    auth: Auth,
    server: crate::domain::ServerId,
    bootstrap: crate::auth::Bootstrap,
    embedded: bool,
}
