//! The store in Postgres: one committed batch is one row, and every operation is one statement.
//!
//! What must be decided under a lock is an SQL function called by one autocommit statement, so that no
//! lock survives a round trip, and no transaction can be left open. The functions are in the migrations;
//! their names carry a version, and one that is released never changes.

mod append;
mod chain;
mod columns;
mod consumers;
mod errors;
mod holds;
mod identity_rows;
mod incarnation;
mod keys;
mod lane;
mod log;
mod manage;
mod meta;
mod migrate;
mod open;
mod options;
mod producers;
mod queue;
mod read;
mod rows;
mod servers;
mod session;
mod sessions;
mod together;
mod topics;
mod trim;
mod users;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;
use uuid::Uuid;

pub use options::PostgresOptions;

use super::{Migration, OpenError, Pool, Store, StoreError, statements::Statements};
use crate::domain::Incarnation;
use incarnation::ServerWatch;
use lane::Lane;
use together::Together;

/// Events, consumers and identities in a Postgres database that any number of servers share.
#[derive(Debug, Clone)]
pub struct PostgresStore {
    cluster_id: Uuid,
    /// Appends alone, so that no read makes them wait.
    appends: Lane,
    together: Arc<Together>,
    /// Reads of logs, which may be large.
    reads: Lane,
    /// Leases and settlements, which wait for each other.
    queues: Lane,
    /// Everything else; small, and never behind a large read.
    control: Lane,
    server: Arc<ServerWatch>,
    statements: Arc<Statements>,
}

impl PostgresStore {
    /// Connects, checks that the database is safe to use, and brings its tables up to date.
    pub async fn connect(options: &PostgresOptions) -> Result<Self, OpenError> {
        open::open(options).await
    }

    /// Brings the tables up to date, as their owner if the options name one; after a restore it also gives
    /// every topic a new log.
    pub async fn migrate(options: &PostgresOptions, restored: bool) -> Result<Migration, OpenError> {
        open::migrate(options, restored).await
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    fn cluster_id(&self) -> Uuid {
        self.cluster_id
    }

    fn incarnation(&self) -> watch::Receiver<Incarnation> {
        self.server.incarnation()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        // Who only reads would never be told that the server was demoted, and would go on reading there.
        let statement = "select pg_is_in_recovery() as in_recovery,
            current_setting('transaction_read_only')::bool as read_only";
        let row = self.control.one("ping", sqlx::query(statement)).await?;
        if rows::get(&row, "read_only")? {
            self.server.demoted();
        }
        if rows::get(&row, "in_recovery")? {
            return Err(errors::unavailable("the database has become a replica"));
        }
        Ok(())
    }

    async fn close(&self) {
        futures::join!(self.appends.close(), self.reads.close(), self.queues.close(), self.control.close());
    }

    fn statement_counts(&self) -> Vec<(&'static str, u64)> {
        self.statements.counts()
    }

    fn pools(&self) -> Vec<Pool> {
        vec![
            self.appends.pool("appends"),
            self.reads.pool("reads"),
            self.queues.pool("queues"),
            self.control.pool("control"),
        ]
    }
}

/// Every statement that a running store sends, by name.
const STATEMENTS: &[&str] = &[
    "add_first_signing_key",
    "append",
    "append_many",
    "attend",
    "beat",
    "before_time",
    "claim",
    "clear_holds",
    "commit_offset",
    "connections",
    "create_api_key",
    "create_session",
    "create_topic",
    "create_user",
    "dead_letters",
    "delete_consumer",
    "delete_producer",
    "delete_topic",
    "delete_user",
    "deleted_topics",
    "discard",
    "end_session",
    "expire",
    "find_api_key",
    "find_consumer",
    "find_ids",
    "find_producer",
    "find_run",
    "find_session",
    "find_topic",
    "find_topics",
    "find_user",
    "forget_topic",
    "has_users",
    "heads",
    "held_for",
    "leave",
    "links",
    "list_api_keys",
    "list_consumers",
    "list_producers",
    "list_topics",
    "list_users",
    "pack",
    "pause_consumer",
    "pick",
    "ping",
    "queue_status",
    "read",
    "read_back",
    "redrive",
    "refresh_session",
    "register_consumer",
    "register_producer",
    "release",
    "release_hold",
    "renew_holds",
    "retained_topics",
    "revoke_api_key",
    "rotate_api_key",
    "rotate_signing_key",
    "seek_consumer",
    "servers",
    "set_password",
    "settle",
    "signing_keys",
    "skip_trimmed",
    "sweep_queues",
    "take_duty",
    "take_hold",
    "trim_begin",
    "trim_delete",
    "trim_preview",
    "trim_read",
    "unpacked_topics",
    "update_consumer",
    "update_producer",
    "update_topic",
    "update_user",
    "use_api_keys",
];
