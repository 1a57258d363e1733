//! Settings of `eventflow migrate`.

use clap::Args;

use super::StoreSettings;

/// Settings of `eventflow migrate`; the data folder is that of all commands.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  eventflow migrate --migrate-database-url postgres://owner@db/eventflow --database-url postgres://server@db/eventflow
  eventflow migrate --after-restore")]
pub struct MigrateSettings {
    /// The store.
    #[command(flatten)]
    pub store: StoreSettings,

    /// A backup was restored: give every topic a new log_id, so that offsets of the lost log are refused.
    #[arg(long)]
    pub after_restore: bool,
}
