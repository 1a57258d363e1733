//! Opening everything that a server is made of, and saying what to do next.

use std::{error::Error, io, net::SocketAddr, path::PathBuf, sync::Arc};

use secrecy::SecretString;
use tokio::net::TcpListener;
use tracing::warn;
use uuid::Uuid;

use super::{Parts, ServerRecord};
use crate::{
    auth::{self, Auth, AuthOptions, Bootstrap, BootstrapError, SetupError},
    config::{Backend, ServeSettings, SettingsError, StoreSettings},
    domain::ServerId,
    notify::{Hub, InvalidRedisUrl, LocalNotifier, NotifierState, RedisNotifier, RedisOptions, SharedNotifier},
    store::{
        OpenError, SharedStore, Store, StoreError,
        postgres::{PostgresOptions, PostgresStore},
        sqlite::SqliteStore,
    },
};

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Settings contradict each other.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}; is another server running? choose another address, or port 0 for a free one")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The bound address cannot be read.
    #[error("the bound address cannot be read")]
    Address(#[source] io::Error),
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store failed while the server started.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The Redis URL is not one.
    #[error(transparent)]
    Notifier(#[from] InvalidRedisUrl),
    /// Credentials cannot be set up.
    #[error(transparent)]
    Auth(#[from] SetupError),
    /// The first admin cannot be created.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// The data folder cannot be written to.
    #[error("cannot write server.json to {}", folder.display())]
    Record {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The descriptors of this build do not fit together.
    #[error("reflection cannot be set up")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// Metrics cannot be collected.
    #[error("metrics cannot be set up")]
    Metrics(#[source] Box<dyn Error + Send + Sync>),
    /// Serving ended with an error.
    #[error("serving failed")]
    Serve(#[source] Box<dyn Error + Send + Sync>),
}

pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Bind { address, source })
}

/// Files that a server has open besides its clients' connections: the store, Redis, its listeners, logs.
const OWN_FILES: u64 = 128;

/// Lets the process have as many files open as the system allows, since each connection is one; warns if
/// those are too few.
pub(super) fn raise_file_limit(connections: usize) {
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(OWN_FILES);
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit >= wanted => {}
        Ok(limit) => warn!(
            limit,
            wanted,
            "this process may have {limit} files open, too few for --max-connections {connections}; raise `ulimit -n`"
        ),
        Err(error) => warn!(%error, "the limit of open files cannot be raised"),
    }
}

/// Opens the store, the notifier and the credentials.
pub(super) async fn open(settings: &ServeSettings) -> Result<Parts, StartError> {
    let server = ServerId(Uuid::new_v4());
    let hub = Hub::new();
    let (store, notifier, embedded): (SharedStore, SharedNotifier, bool) = match settings.store.backend()? {
        Backend::Embedded => {
            let store = Arc::new(SqliteStore::open(&settings.data_dir).await?);
            let notifier = Arc::new(LocalNotifier::new(hub.clone(), NotifierState::Healthy));
            (store, notifier, true)
        }
        Backend::Postgres { url, redis } => {
            let store = Arc::new(PostgresStore::connect(&postgres_options(&settings.store, url)).await?);
            let notifier: SharedNotifier = match redis {
                None => Arc::new(LocalNotifier::new(hub.clone(), NotifierState::Degraded)),
                Some(redis) => {
                    let connected = RedisNotifier::connect(
                        &redis,
                        store.cluster_id(),
                        server,
                        hub.clone(),
                        RedisOptions::default(),
                    );
                    Arc::new(connected?)
                }
            };
            (store, notifier, false)
        }
    };
    if embedded {
        // The folder is locked: nobody else can have a stream.
        store.clear_holds().await?;
    }
    let options = AuthOptions { token_ttl: settings.token_ttl, ..AuthOptions::default() };
    let auth = Auth::new(store.clone(), options).await?;
    let password_file = settings.admin_password_file.as_deref();
    let bootstrap = auth::bootstrap(&auth, &settings.data_dir, password_file).await?;
    if embedded {
        auth::embedded_key(&auth, &settings.data_dir).await?;
    }
    Ok(Parts { store, notifier, hub, auth, server, bootstrap, embedded })
}

pub(super) fn postgres_options(settings: &StoreSettings, url: SecretString) -> PostgresOptions {
    PostgresOptions {
        migrate: settings.migrate,
        migrate_url: settings.migrate_database_url.clone(),
        allow_unsafe: settings.unsafe_database,
        ..PostgresOptions::new(url)
    }
}

/// Says on standard output what to do next: after the first start, how to get in and the first commands.
pub(super) fn print_next_steps(settings: &ServeSettings, record: &ServerRecord, parts: &Parts) {
    let Bootstrap::Created { password_file } = &parts.bootstrap else { return };
    let program = word(&std::env::args().next().unwrap_or_else(|| "eventflow".to_owned()));
    println!("EventFlow {} serves gRPC on {}.", env!("CARGO_PKG_VERSION"), record.listen);
    match password_file {
        Some(file) => println!("The password of user admin lies in {}.", file.display()),
        None => println!("User admin has the password of --admin-password-file."),
    }
    let folder = if settings.data_dir.as_os_str() == "./eventflow-data" {
        String::new()
    } else {
        format!(" --data-dir {}", word(&settings.data_dir.display().to_string()))
    };
    println!("\nIn another terminal:\n");
    if !parts.embedded {
        // As the commands below find the server, so that they also find the login.
        println!("  {program}{folder} login admin");
    }
    println!("  {program}{folder} topic create orders");
    println!("  {program}{folder} tail orders --earliest");
    println!("\nand in a third one:\n");
    println!("  {program}{folder} publish orders --type order.placed --data '{{\"order\":1}}'\n");
}

/// Text as one word of a shell.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@%=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}
