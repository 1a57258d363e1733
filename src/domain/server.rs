//! The servers that share a store.

use super::{ServerId, Timestamp};

/// A server that runs, as the others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningServer {
    /// Another one after each start.
    pub id: ServerId,
    /// Its address, in words for people.
    pub name: String,
    /// Its version.
    pub version: String,
    /// When it was first heard of, by the store's clock.
    pub start_time: Timestamp,
}
