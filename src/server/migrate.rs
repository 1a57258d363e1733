//! Bringing a store up to date without serving it.

use std::path::Path;

use super::{StartError, start};
use crate::{
    config::{Backend, MigrateSettings},
    store::{Migration, postgres::PostgresStore, sqlite::SqliteStore},
};

/// Brings the store's schema up to date, as its owner if the settings name one; after a restore it also gives
/// every topic a new log. An embedded store must not be in use.
pub async fn migrate(settings: &MigrateSettings, data_dir: &Path) -> Result<Migration, StartError> {
    let MigrateSettings { store, after_restore } = settings;
    Ok(match store.backend()? {
        Backend::Embedded => SqliteStore::migrate(data_dir, *after_restore).await?,
        Backend::Postgres { url, redis: _ } => {
            PostgresStore::migrate(&start::postgres_options(store, url), *after_restore).await?
        }
    })
}
