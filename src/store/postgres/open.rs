//! Opens the store: connects, checks what the database promises, and prepares the pools.

use std::{str::FromStr, sync::Arc, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use sqlx::{ConnectOptions, Connection, PgConnection, Row, postgres::PgConnectOptions};
use tokio::time::timeout;

use super::{
    PostgresOptions, PostgresStore, STATEMENTS, incarnation::ServerWatch, lane::Lane, migrate, together::Together,
};
use crate::store::{Migration, OpenError, statements::Statements};

/// How long the first connection may take. A network that swallows packets would keep it for minutes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The oldest version that is tested: 14 has lz4 for columns.
const OLDEST_VERSION: i32 = 140_000;

/// Opens the store.
pub(super) async fn open(options: &PostgresOptions) -> Result<PostgresStore, OpenError> {
    let (connect, mut connection, found) = inspect(options).await?;
    if options.migrate {
        migrate::migrate(&owner(options, &connect)?, &found.role, false).await?;
    }
    migrate::check(&mut connection).await?;
    let cluster = sqlx::query_scalar("select id from eventflow.cluster").fetch_one(&mut connection);
    let cluster_id = cluster.await.map_err(|error| unreachable(Some(error)))?;
    // All is known; how this connection ends does not matter.
    drop(connection.close().await);

    let statements = Arc::new(Statements::new(STATEMENTS));
    let server = Arc::new(ServerWatch::new(cluster_id));
    let lane = |size: u32| Lane::open(connect.clone(), size, server.clone(), statements.clone());
    Ok(PostgresStore {
        cluster_id,
        appends: lane(options.append_connections),
        together: Arc::new(Together::new(options.append_connections)),
        reads: lane(options.read_connections),
        queues: lane(options.queue_connections),
        control: lane(options.control_connections),
        server: server.clone(),
        statements: statements.clone(),
    })
}

/// Brings the tables up to date, as their owner if the options name one; after a restore it also gives every
/// topic a new log.
pub(super) async fn migrate(options: &PostgresOptions, restored: bool) -> Result<Migration, OpenError> {
    let (connect, connection, found) = inspect(options).await?;
    drop(connection.close().await);
    migrate::migrate(&owner(options, &connect)?, &found.role, restored).await
}

/// How the owner of the tables connects.
fn owner(options: &PostgresOptions, server: &PgConnectOptions) -> Result<PgConnectOptions, OpenError> {
    let owner = options.migrate_url.as_ref().map(|url| parse(url, "--migrate-database-url")).transpose()?;
    Ok(owner.unwrap_or_else(|| server.clone()))
}

/// Connects as a server does, and refuses a database that cannot keep our promises.
async fn inspect(options: &PostgresOptions) -> Result<(PgConnectOptions, PgConnection, Found), OpenError> {
    let connect = parse(&options.url, "--database-url")?;
    let mut connection = match timeout(CONNECT_TIMEOUT, PgConnection::connect_with(&connect)).await {
        Ok(connected) => connected.map_err(|error| unreachable(Some(error)))?,
        Err(_) => return Err(unreachable(None)),
    };
    let found = Found::inspect(&mut connection).await.map_err(|error| unreachable(Some(error)))?;
    found.check(options.allow_unsafe)?;
    Ok((connect, connection, found))
}

/// What a database says about itself.
#[derive(Debug)]
struct Found {
    version: i32,
    version_name: String,
    encoding: String,
    in_recovery: bool,
    fsync: bool,
    full_page_writes: bool,
    role: String,
}

impl Found {
    async fn inspect(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let row = sqlx::query(include_str!("sql/inspect.sql")).fetch_one(connection).await?;
        Ok(Self {
            version: row.try_get("version")?,
            version_name: row.try_get("version_name")?,
            encoding: row.try_get("encoding")?,
            in_recovery: row.try_get("in_recovery")?,
            fsync: row.try_get("fsync")?,
            full_page_writes: row.try_get("full_page_writes")?,
            role: row.try_get("role")?,
        })
    }

    /// Refuses a database that cannot keep our promises.
    fn check(&self, allow_unsafe: bool) -> Result<(), OpenError> {
        let Self { version, version_name, encoding, in_recovery, fsync, full_page_writes, role: _ } = self;
        if *version < OLDEST_VERSION {
            return Err(OpenError::TooOld(format!("Postgres {version_name} is too old; use 14 or newer")));
        }
        if *in_recovery {
            let message = "the database is a replica; point --database-url at the primary";
            return Err(OpenError::Unreachable { message: message.to_owned(), source: None });
        }
        // No text of every language fits into another encoding.
        if encoding != "UTF8" {
            let message = format!("the database's encoding is {encoding}; create one with encoding UTF8");
            return Err(OpenError::Unsafe(message));
        }
        let off = [("fsync", fsync), ("full_page_writes", full_page_writes)].into_iter().find(|(_, on)| !**on);
        match off {
            Some((setting, _)) if !allow_unsafe => Err(OpenError::Unsafe(format!(
                "Postgres runs with {setting} = off and may lose acknowledged events; turn it on, or start with \
                 --unsafe-database if they may be lost"
            ))),
            Some(_) | None => Ok(()),
        }
    }
}

/// The options in a URL. Neither the URL nor what the parser says of it is repeated: it holds a password.
fn parse(url: &SecretString, setting: &str) -> Result<PgConnectOptions, OpenError> {
    let options = PgConnectOptions::from_str(url.expose_secret()).map_err(|_| OpenError::Unreachable {
        message: format!("{setting} is not a database URL; it looks like postgres://user:password@host:5432/name"),
        source: None,
    })?;
    Ok(options.application_name("eventflow").disable_statement_logging())
}

fn unreachable(error: Option<sqlx::Error>) -> OpenError {
    OpenError::Unreachable {
        message: "cannot reach the database; check --database-url, and that Postgres runs".to_owned(),
        source: error.map(Into::into),
    }
}

#[cfg(test)]
mod tests {
    use super::{Found, parse};
    use crate::store::OpenError;

    fn good() -> Found {
        Found {
            version: 150_000,
            version_name: "15.0".to_owned(),
            encoding: "UTF8".to_owned(),
            in_recovery: false,
            fsync: true,
            full_page_writes: true,
            role: "eventflow".to_owned(),
        }
    }

    #[test]
    fn a_database_that_may_lose_events_is_refused_unless_allowed() {
        assert!(good().check(false).is_ok());
        for bad in [Found { fsync: false, ..good() }, Found { full_page_writes: false, ..good() }] {
            assert!(matches!(bad.check(false), Err(OpenError::Unsafe(_))));
            assert!(bad.check(true).is_ok());
        }
    }

    #[test]
    fn old_versions_replicas_and_other_encodings_are_refused_always() {
        assert!(matches!(Found { version: 139_999, ..good() }.check(true), Err(OpenError::TooOld(_))));
        assert!(matches!(Found { in_recovery: true, ..good() }.check(true), Err(OpenError::Unreachable { .. })));
        assert!(matches!(Found { encoding: "LATIN1".into(), ..good() }.check(true), Err(OpenError::Unsafe(_))));
    }

    #[test]
    fn a_wrong_url_is_not_repeated() {
        let Err(error) = parse(&"postgres://ada:secret@[".into(), "--database-url") else { panic!("it was taken") };
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
}
