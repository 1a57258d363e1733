//! The contract of the servers that share a store.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::domain::{RunningServer, ServerId};

/// Which servers are alive. A server says so again and again; one that was killed is forgotten when its
/// lease runs out, by the store's own clock.
#[async_trait]
pub trait ServerStore {
    /// Says that a server lives, for `lease` from now.
    async fn beat(&self, server: ServerId, name: &str, version: &str, lease: Duration) -> Result<(), StoreError>;

    /// Says that a server has ended. Repeating it is harmless.
    async fn leave(&self, server: ServerId) -> Result<(), StoreError>;

    /// Takes a duty that one server does for all, or keeps it, for `lease` from now; whether `server` has it.
    /// The duty of a server that was killed is free when its lease has run out.
    async fn take_duty(&self, duty: &str, server: ServerId, lease: Duration) -> Result<bool, StoreError>;

    /// The servers whose lease lasts, in the order in which they came, at most `limit`.
    async fn servers(&self, limit: usize) -> Result<Vec<RunningServer>, StoreError>;
}
