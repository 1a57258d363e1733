//! What has to be known to open a Postgres store.

use secrecy::SecretString;

/// How to reach the database, and what to do about it.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database`.
    pub url: SecretString,
    /// Bring the tables up to date at start.
    pub migrate: bool,
    /// The same database by the role that owns the tables; `None`: the server's role owns them.
    pub migrate_url: Option<SecretString>,
    /// Accept a database that may lose acknowledged events when its machine fails.
    pub allow_unsafe: bool,
    /// Connections for appends: one for each topic that is being appended to at the same moment.
    pub append_connections: u32,
    /// Connections for reads of logs.
    pub read_connections: u32,
    /// Connections for leases and settlements: one for each consumer that is dispatched at the same moment.
    pub queue_connections: u32,
    /// Connections for everything else.
    pub control_connections: u32,
}

impl PostgresOptions {
    /// The defaults for a database: migrating, safe, and 24 connections at most, so that several
    /// servers fit into the 100 that Postgres accepts by default.
    pub fn new(url: SecretString) -> Self {
        Self {
            url,
            migrate: true,
            migrate_url: None,
            allow_unsafe: false,
            append_connections: 8,
            read_connections: 8,
            queue_connections: 4,
            control_connections: 4,
        }
    }
}
