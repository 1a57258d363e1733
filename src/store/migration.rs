//! What bringing a store up to date did.

use crate::domain::{LogId, TopicName};

/// What bringing a store up to date did, for whoever asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// `postgres` or `sqlite`.
    pub store: &'static str,
    /// The number of the newest migration.
    pub schema: i64,
    /// The migrations that were missing, in order: number and name.
    pub applied: Vec<String>,
    /// The role of the servers, if it is not the owner's: it was granted what it needs.
    pub granted: Option<String>,
    /// After a restore, every topic with its new log, in the order of names; `None`: that was not asked for.
    pub replaced: Option<Vec<(TopicName, LogId)>>,
}

/// Those of `all` migrations that are not in `before`, as they are shown.
pub(super) fn missing<'a>(all: impl Iterator<Item = &'a sqlx::migrate::Migration>, before: &[i64]) -> Vec<String> {
    let missing = all.filter(|migration| !before.contains(&migration.version));
    missing.map(|migration| format!("{:04} {}", migration.version, migration.description)).collect()
}
