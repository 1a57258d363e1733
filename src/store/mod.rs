//! The store: what is kept, behind small traits by role.
//!
//! Two adapters keep the contracts written on the traits: Postgres and SQLite. One contract suite
//! (`tests/it/contract/`) runs against both. Every method may fail with [`StoreError::Unavailable`],
//! after which it may or may not have happened, unless its documentation says more; nothing else is
//! safe to assume. Dropping a returned future may or may not undo the work, so callers run changes in
//! tasks of their own.

mod chain;
mod consumers;
mod error;
mod keys;
mod log;
mod migration;
pub mod postgres;
mod producers;
mod queue;
mod servers;
mod sessions;
pub mod sqlite;
mod statements;
mod topics;
mod users;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;
use uuid::Uuid;

use crate::domain::Incarnation;

pub use chain::{Chain, ChainStore, PackRule, PackRun, Packing};
pub use consumers::{Claim, CommitError, ConsumerStore, Hold, HoldError, RegisterConsumerError};
pub use error::{OpenError, StoreError};
pub use keys::{ApiKeyRecord, KeyOwner, KeyStore, Whose};
pub use log::{AppendError, Appended, Fetched, LogRead, LogStore, Picked, TopicHead};
pub use migration::Migration;
pub use producers::{NewProducer, Producer, ProducerChange, ProducerStore, RegisterProducerError};
pub use queue::{ClaimError, QueueStore, SettleError, WAITING_MAX};
pub use servers::ServerStore;
pub use sessions::{RefreshTrade, Refreshed, SessionRecord, SessionStore, SigningKey, SigningKeyStore};
pub use topics::{DeleteTopicError, Removed, TopicError, TopicStore};
pub use users::{User, UserChange, UserError, UserStore};

/// Everything that EventFlow keeps.
#[async_trait]
pub trait Store:
    std::fmt::Debug
    + LogStore
    + ChainStore
    + TopicStore
    + ConsumerStore
    + ProducerStore
    + UserStore
    + SessionStore
    + SigningKeyStore
    + KeyStore
    + ServerStore
    + QueueStore
    + Send
    + Sync
    + 'static
{
    /// `postgres` or `sqlite`.
    fn kind(&self) -> &'static str;

    /// Names this store for as long as it exists; all servers over it share the name.
    fn cluster_id(&self) -> Uuid;

    /// Which incarnation of the store's server is served by now; raised before anything is read from or
    /// written to the next one. Always the first one if the store lives in this process.
    fn incarnation(&self) -> watch::Receiver<Incarnation>;

    /// Asks the store for a sign of life, as cheaply as it can be asked.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Ends all connections after the statements under way.
    async fn close(&self);

    /// How often each statement ran in this process, by name, for tests and metrics.
    fn statement_counts(&self) -> Vec<(&'static str, u64)>;

    /// The pools of its connections as they are now, for metrics.
    fn pools(&self) -> Vec<Pool>;
}

/// A pool of connections, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// What its connections are for.
    pub name: &'static str,
    /// Connections that do something.
    pub busy: usize,
    /// Connections that wait for something to do.
    pub idle: usize,
}

impl Pool {
    /// One of `open` connections, of which `idle` have nothing to do.
    fn new(name: &'static str, open: u32, idle: usize) -> Self {
        // The two are read one after the other.
        Self { name, busy: (open as usize).saturating_sub(idle), idle }
    }
}

/// A store, shared.
pub type SharedStore = Arc<dyn Store>;
