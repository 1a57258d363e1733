//! Opening the data folder: alone, on a safe SQLite, with the schema of this program.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use parking_lot::Mutex;
use sqlx::{
    Connection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use uuid::Uuid;

use super::{STATEMENTS, SqliteStore, restored::after_restore};
use crate::{
    domain::Timestamp,
    store::{
        Migration, OpenError,
        migration::{migrator, missing},
        statements::Statements,
    },
};

/// Before it, resetting the WAL could corrupt the database.
const OLDEST_SQLITE: [u32; 3] = [3, 51, 3];
/// The version of the schema that this program was written for; row `version` of the table `schema`.
const SCHEMA_VERSION: i64 = 3;
/// Reads that run at once; more would only wait for the same disk.
const READERS: u32 = 4;
/// How long a change waits for the changes before it.
const WRITER_WAIT: Duration = Duration::from_secs(30);
/// How long a read waits for a connection.
const READER_WAIT: Duration = Duration::from_secs(3);
/// How long SQLite waits for another process, such as a shell that copies the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pages of WAL after which it is moved into the database, in the course of a commit: 16 MiB.
const CHECKPOINT_PAGES: &str = "4096";
/// Bytes that the WAL keeps on disk after a checkpoint.
const WAL_BYTES: &str = "67108864";
/// KiB of pages that the writer keeps in memory, as SQLite counts: negative.
const WRITER_CACHE: &str = "-65536";
/// Rows that SQLite prepares ahead of the reader; each may be an event of 1 MiB.
const ROWS_AHEAD: usize = 32;

impl SqliteStore {
    /// Opens the store in `data_dir`, which is created if it is missing, for this process alone.
    pub async fn open(data_dir: &Path) -> Result<Self, OpenError> {
        let Prepared { lock, database, writer, .. } = prepare(data_dir).await?;
        let unopened = unopened(&database);
        let cluster_id = cluster_id(&writer).await.map_err(&unopened)?;
        let readers = readers(options(&database)).await.map_err(&unopened)?;
        let (statements, servers) = (Statements::new(STATEMENTS), Mutex::default());
        Ok(Self { writer, readers, statements, cluster_id, servers, _lock: lock })
    }

    /// Brings the store in `data_dir` up to date, for this process alone, and closes it; after a restore it
    /// also gives every topic a new log.
    pub async fn migrate(data_dir: &Path, restored: bool) -> Result<Migration, OpenError> {
        let Prepared { lock: _lock, database, writer, applied, schema } = prepare(data_dir).await?;
        let replaced = match restored {
            true => Some(after_restore(&writer).await.map_err(unopened(&database))?),
            false => None,
        };
        writer.close().await;
        Ok(Migration { store: "sqlite", schema, applied, granted: None, replaced })
    }
}

/// A folder that is ours, with a database that has the schema of this program.
struct Prepared {
    lock: File,
    database: PathBuf,
    writer: SqlitePool,
    /// The migrations that were missing.
    applied: Vec<String>,
    /// The number of the newest one.
    schema: i64,
}

async fn prepare(data_dir: &Path) -> Result<Prepared, OpenError> {
    let unreachable = |source: io::Error| OpenError::Unreachable {
        message: format!("cannot use the data folder {}; check its owner and its disk", data_dir.display()),
        source: Some(source.into()),
    };
    DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(unreachable)?;
    let lock = lock(data_dir)?;
    let database = data_dir.join("eventflow.db");
    // SQLite gives its WAL the mode of the database.
    private(&database).map_err(unreachable)?;

    let writer = {
        let unopened = unopened(&database);
        let writer = writer(options(&database)).await.map_err(&unopened)?;
        check_version(&writer).await.map_err(&unopened)??;
        writer
    };
    let (applied, schema) = migrate(&writer, &database).await?;
    Ok(Prepared { lock, database, writer, applied, schema })
}

fn unopened(database: &Path) -> impl Fn(sqlx::Error) -> OpenError {
    move |source| OpenError::Unreachable {
        message: format!("cannot open the database {}", database.display()),
        source: Some(source.into()),
    }
}

/// The lock of the folder, which the system frees when the process ends, however it ends.
fn lock(data_dir: &Path) -> Result<File, OpenError> {
    let failed = |source: io::Error| OpenError::Unreachable {
        message: format!("cannot lock the data folder {}; it must be on a local disk", data_dir.display()),
        source: Some(source.into()),
    };
    let file = private(&data_dir.join("lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(error)) => Err(failed(error)),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(format!(
            "another server uses the data folder {}; stop it, or give this one its own folder with --data-dir, \
             or let both share a Postgres database with --database-url",
            data_dir.display()
        ))),
    }
}

/// A file that only its owner may read, created if it is missing.
fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn options(database: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(database)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(false)
        .busy_timeout(BUSY_TIMEOUT)
        .row_buffer_size(ROWS_AHEAD)
        .pragma("temp_store", "memory")
        // Else REPLACE would remove an event without asking the trigger.
        .pragma("recursive_triggers", "on")
}

/// The one connection that writes.
async fn writer(options: SqliteConnectOptions) -> Result<SqlitePool, sqlx::Error> {
    let options = options
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("journal_size_limit", WAL_BYTES)
        .pragma("cache_size", WRITER_CACHE);
    SqlitePoolOptions::new()
        .max_connections(1)
        .test_before_acquire(false)
        .acquire_timeout(WRITER_WAIT)
        .idle_timeout(None)
        .max_lifetime(None)
        .after_release(|conn, _| Box::pin(is_clean(conn)))
        .connect_with(options)
        .await
}

/// Whether a connection may be used again. SQLite ends a transaction by itself when the disk is full
/// or fails; the driver then still counts it as open, and would refuse every later one.
async fn is_clean(conn: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    if conn.is_in_transaction() {
        // A rollback may still be under way: it comes before the answer.
        conn.ping().await?;
    }
    Ok(!conn.is_in_transaction())
}

/// The connections that read; SQLite refuses every change through them.
async fn readers(options: SqliteConnectOptions) -> Result<SqlitePool, sqlx::Error> {
    SqlitePoolOptions::new()
        .max_connections(READERS)
        .test_before_acquire(false)
        .acquire_timeout(READER_WAIT)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options.pragma("query_only", "on"))
        .await
}

async fn check_version(writer: &SqlitePool) -> Result<Result<(), OpenError>, sqlx::Error> {
    let version: String = sqlx::query_scalar("select sqlite_version()").fetch_one(writer).await?;
    let numbers = version.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u32>>();
    if numbers.as_slice() >= OLDEST_SQLITE.as_slice() {
        return Ok(Ok(()));
    }
    let [major, minor, patch] = OLDEST_SQLITE;
    let message = format!(
        "this program was built with SQLite {version}, which could corrupt the database; \
         build it with {major}.{minor}.{patch} or later"
    );
    Ok(Err(OpenError::TooOld(message)))
}

/// Brings the schema to this program's version; one that is newer is left alone. Returns the migrations that
/// were missing, and the number of the newest one.
async fn migrate(writer: &SqlitePool, database: &Path) -> Result<(Vec<String>, i64), OpenError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| OpenError::Migrate {
        message: format!("cannot bring the schema of {} to version {SCHEMA_VERSION}", database.display()),
        source: Some(source),
    };
    let mut migrations = migrator(include!(concat!(env!("OUT_DIR"), "/sqlite_migrations.rs")));
    migrations.set_ignore_missing(true);
    let before = applied(writer).await.map_err(|error| failed(error.into()))?;
    migrations.run(writer).await.map_err(|error| failed(error.into()))?;

    let found = sqlx::query_as("select version, oldest_server from schema").fetch_one(writer).await;
    let (version, oldest_server): (i64, i64) = found.map_err(|error| failed(error.into()))?;
    if oldest_server > SCHEMA_VERSION {
        let message = format!(
            "the schema of {} has version {version}, and this program works with {SCHEMA_VERSION}; use a newer program",
            database.display()
        );
        return Err(OpenError::SchemaTooNew(message));
    }
    let newest = migrations.iter().map(|migration| migration.version).max().unwrap_or(0);
    Ok((missing(migrations.iter(), &before), newest))
}

/// The numbers of the migrations that the database has.
async fn applied(writer: &SqlitePool) -> Result<Vec<i64>, sqlx::Error> {
    let exists = sqlx::query("select 1 from sqlite_schema where name = '_sqlx_migrations'");
    match exists.fetch_optional(writer).await? {
        Some(_) => sqlx::query_scalar("select version from _sqlx_migrations").fetch_all(writer).await,
        None => Ok(Vec::new()),
    }
}

/// The name of the store, given once.
async fn cluster_id(writer: &SqlitePool) -> Result<Uuid, sqlx::Error> {
    sqlx::query("insert into cluster (only_row, id, create_time) values (1, ?, ?) on conflict do nothing")
        .bind(Uuid::new_v4())
        .bind(Timestamp::now().micros())
        .execute(writer)
        .await?;
    sqlx::query_scalar("select id from cluster").fetch_one(writer).await
}
