//! The embedded store: one SQLite database in the data folder, for one server alone.
//!
//! One connection writes, a few others read. A writer's transaction begins with `BEGIN IMMEDIATE`, so
//! that it never has to be repeated, and ends with an fsync (WAL, `synchronous = FULL`).

mod append;
mod before_time;
mod chain;
mod commit;
mod consumers;
mod error;
mod find_ids;
mod heads;
mod holds;
mod keys;
mod log;
mod manage;
mod meta;
mod open;
mod producers;
mod queue;
mod read;
mod remove;
mod restored;
mod retain;
mod rows;
mod servers;
mod sessions;
mod settings;
mod signing_keys;
#[cfg(test)]
mod tests;
mod topics;
mod trim;
mod users;
mod values;

use std::fs::File;

use async_trait::async_trait;
use parking_lot::Mutex;
use sqlx::{
    Sqlite, SqlitePool, Transaction,
    sqlite::{SqliteArguments, SqliteConnection},
};
use tokio::sync::watch;
use uuid::Uuid;

use self::error::failed;
use super::{Pool, Store, StoreError, statements::Statements};
use crate::domain::Incarnation;

/// Everything that EventFlow keeps, in one folder.
#[derive(Debug)]
pub struct SqliteStore {
    writer: SqlitePool,
    readers: SqlitePool,
    statements: Statements,
    cluster_id: Uuid,
    servers: Mutex<servers::Servers>,
    /// Held locked for as long as the store is open.
    _lock: File,
}

/// A statement with its arguments.
type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

/// Every statement by name.
const STATEMENTS: &[&str] = &[
    "add_connection",
    "add_deleted",
    "add_deleted_consumer",
    "add_leases",
    "add_link",
    "add_signing_key",
    "add_waiting",
    "attend",
    "before_time",
    "bury",
    "busy_keys",
    "clear_connections",
    "clear_holds",
    "clear_leases",
    "clear_queue_connections",
    "commit_offset",
    "count_events",
    "count_leased",
    "count_sizes",
    "count_skipped",
    "count_waiting",
    "create_api_key",
    "create_session",
    "create_topic",
    "create_user",
    "dead_letters",
    "delete_api_keys",
    "delete_batches",
    "delete_connection",
    "delete_connections",
    "delete_consumer",
    "delete_event_ids",
    "delete_events",
    "delete_links",
    "delete_producer",
    "delete_queue_connection",
    "delete_queue_connections",
    "delete_sessions",
    "delete_sizes",
    "delete_topic",
    "delete_user",
    "deleted_topics",
    "due_events",
    "end_leases",
    "end_session",
    "end_sessions",
    "extend",
    "find_api_key",
    "find_batch",
    "find_chain",
    "find_claimed",
    "find_connections",
    "find_consumer",
    "find_dead",
    "find_deliveries",
    "find_due",
    "find_hold",
    "find_ids",
    "find_log",
    "find_other_admin",
    "find_owner",
    "find_position",
    "find_producer",
    "find_queue",
    "find_retention",
    "find_run",
    "find_session",
    "find_signing_key",
    "find_topic",
    "find_topics",
    "find_user",
    "find_young_signing_key",
    "forget_consumers",
    "forget_dead",
    "forget_events",
    "forget_links",
    "forget_queue",
    "forget_sessions",
    "forget_signing_keys",
    "forget_sizes",
    "forget_topic",
    "free_keys",
    "has_users",
    "heads",
    "held_for",
    "insert_batch",
    "insert_event_ids",
    "insert_events",
    "keep_leases",
    "lease_events",
    "links",
    "list_api_keys",
    "list_consumers",
    "list_producers",
    "list_topics",
    "list_users",
    "mark_size",
    "newest_lease",
    "newest_size",
    "next_due",
    "next_epoch",
    "next_leases",
    "note_dispatched",
    "note_gone",
    "oldest_events",
    "open_leases",
    "over_events",
    "pause_consumer",
    "pick",
    "ping",
    "put_back",
    "queue_status",
    "raise_trimmed",
    "read",
    "read_back",
    "redrive",
    "refresh_session",
    "register_consumer",
    "register_producer",
    "release_hold",
    "renew_holds",
    "retained_topics",
    "revoke_api_key",
    "seek_consumer",
    "set_password",
    "shorten_api_key",
    "signing_keys",
    "size_beyond",
    "skip_trimmed",
    "streams_events",
    "sweep_connections",
    "sweep_dead",
    "sweep_events",
    "sweep_lease_events",
    "sweep_leases",
    "take_back",
    "take_hold",
    "topic_deleted",
    "topic_exists",
    "topic_in_use",
    "trimmed_pending",
    "unpacked_topics",
    "update_consumer",
    "update_producer",
    "update_topic",
    "update_user",
    "use_api_key",
    "void_events",
    "void_leases",
    "whole_links",
];

impl SqliteStore {
    /// A statement from the list, counted.
    fn query<'q>(&self, name: &'static str, sql: &'static str) -> Query<'q> {
        self.statements.ran(name);
        sqlx::query(sql)
    }

    /// Begins a change. Dropped before the commit, it changes nothing.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.writer.begin_with("begin immediate").await.map_err(failed)
    }

    /// A connection for one statement that reads.
    async fn reader(&self) -> Result<impl std::ops::DerefMut<Target = SqliteConnection> + use<>, StoreError> {
        self.readers.acquire().await.map_err(failed)
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    fn cluster_id(&self) -> Uuid {
        self.cluster_id
    }

    fn incarnation(&self) -> watch::Receiver<Incarnation> {
        watch::channel(Incarnation::default()).1
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.query("ping", "select 1").execute(&self.readers).await.map_err(failed)?;
        Ok(())
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    fn statement_counts(&self) -> Vec<(&'static str, u64)> {
        self.statements.counts()
    }

    fn pools(&self) -> Vec<Pool> {
        [("writer", &self.writer), ("readers", &self.readers)]
            .map(|(name, pool)| Pool::new(name, pool.size(), pool.num_idle()))
            .into()
    }
}
