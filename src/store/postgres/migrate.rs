//! Brings the tables up to date, and checks that they are.

use sqlx::{Connection, PgConnection, Row, migrate::Migrator, postgres::PgConnectOptions};

use super::rows;
use crate::{
    domain::{LogId, TopicName},
    store::{
        Migration, OpenError, StoreError,
        migration::{self, missing},
    },
};

/// The migrations in this build. They only expand, so that servers of the version before go on
/// working; those of the version after are left alone.
fn migrator() -> Migrator {
    let mut migrator = migration::migrator(include!(concat!(env!("OUT_DIR"), "/postgres_migrations.rs")));
    migrator.set_ignore_missing(true);
    migrator.dangerous_set_table_name("eventflow.migrations");
    migrator
}

/// Runs the migrations that are missing, over a connection of its own. Servers that start at the same
/// time wait for each other, for as long as a migration takes: this connection has no time limits.
///
/// If the tables have an owner other than `server_role`, that one is granted what it needs. After a restore,
/// every topic gets a new log.
pub(super) async fn migrate(
    connect: &PgConnectOptions,
    server_role: &str,
    restored: bool,
) -> Result<Migration, OpenError> {
    let unreachable = |error| OpenError::Unreachable {
        message: "cannot connect to migrate; check --migrate-database-url".to_owned(),
        source: Some(Box::new(error)),
    };
    let mut connection = PgConnection::connect_with(connect).await.map_err(unreachable)?;
    let failed = |error: sqlx::Error| failed(Box::new(error));
    let row = sqlx::query(include_str!("sql/migrate_session.sql")).fetch_one(&mut connection).await.map_err(failed)?;
    let mut migrator = migrator();
    // Creating a schema needs a right on the database, even if the schema exists.
    if row.try_get("schema_missing").map_err(failed)? {
        migrator.create_schema("eventflow");
    }
    let before = applied(&mut connection).await.map_err(failed)?;
    migrator.run_direct(None, &mut connection, false).await.map_err(|error| self::failed(Box::new(error)))?;
    let other = row.try_get::<&str, _>("role").map_err(failed)? != server_role;
    if other {
        let grant = sqlx::query("select eventflow.grant_server_v5($1)").bind(server_role);
        grant.execute(&mut connection).await.map_err(failed)?;
    }
    let replaced = if restored { Some(after_restore(&mut connection).await?) } else { None };
    // The work is done; how the connection ends does not matter.
    drop(connection.close().await);
    let granted = other.then(|| server_role.to_owned());
    Ok(Migration { store: "postgres", schema: newest(), applied: missing(migrator.iter(), &before), granted, replaced })
}

/// The numbers of the migrations that the database has.
async fn applied(connection: &mut PgConnection) -> Result<Vec<i64>, sqlx::Error> {
    let exists = sqlx::query_scalar("select to_regclass('eventflow.migrations') is not null");
    match exists.fetch_one(&mut *connection).await? {
        true => sqlx::query_scalar("select version from eventflow.migrations").fetch_all(connection).await,
        false => Ok(Vec::new()),
    }
}

/// Gives every topic a new log; the topics in the order of names.
async fn after_restore(connection: &mut PgConnection) -> Result<Vec<(TopicName, LogId)>, OpenError> {
    let statement = sqlx::query("select topic, log_id from eventflow.after_restore_v2() order by topic");
    let found = statement.fetch_all(connection).await.map_err(|error| failed(Box::new(error)))?;
    let topic = |row| Ok((rows::parsed(row, "topic", TopicName::parse)?, LogId(rows::get(row, "log_id")?)));
    let topics: Result<_, StoreError> = found.iter().map(topic).collect();
    topics.map_err(|error| failed(Box::new(error)))
}

/// Refuses tables that are missing, that miss migrations of this build, or that newer servers have
/// changed in ways that this build does not know.
pub(super) async fn check(connection: &mut PgConnection) -> Result<(), OpenError> {
    let failed = |error: sqlx::Error| failed(Box::new(error));
    let exists = sqlx::query("select to_regclass('eventflow.schema') is not null as found");
    let exists = exists.fetch_one(&mut *connection).await.map_err(failed)?;
    if !exists.try_get::<bool, _>("found").map_err(failed)? {
        return Err(stale("the database has no tables of EventFlow"));
    }
    let row = sqlx::query("select version, oldest_server from eventflow.schema");
    let row = row.fetch_one(connection).await.map_err(failed)?;
    let version: i32 = row.try_get("version").map_err(failed)?;
    let oldest_server: i32 = row.try_get("oldest_server").map_err(failed)?;
    compare(version, oldest_server, newest())
}

/// The number of the newest migration in this build, by which it is compared with the schema.
fn newest() -> i64 {
    migrator().iter().map(|migration| migration.version).max().unwrap_or(0)
}

fn compare(version: i32, oldest_server: i32, newest: i64) -> Result<(), OpenError> {
    if i64::from(oldest_server) > newest {
        return Err(OpenError::SchemaTooNew(format!(
            "the database is at schema {version} and needs servers that know schema {oldest_server}; \
             this one knows schema {newest}: use a newer EventFlow"
        )));
    }
    if i64::from(version) < newest {
        return Err(stale(&format!("the database is at schema {version}, and this EventFlow needs schema {newest}")));
    }
    Ok(())
}

fn stale(fact: &str) -> OpenError {
    let message = format!("{fact}; start with --migrate=true, or run `eventflow migrate` as the owner of the tables");
    OpenError::Migrate { message, source: None }
}

fn failed(error: Box<dyn std::error::Error + Send + Sync>) -> OpenError {
    let message = "cannot migrate the database; the server's role must own its schema `eventflow`, or \
                   --migrate-database-url must name the role that does";
    OpenError::Migrate { message: message.to_owned(), source: Some(error) }
}

#[cfg(test)]
mod tests {
    use super::{compare, migrator, newest};
    use crate::store::OpenError;

    #[test]
    fn versions_decide_who_may_start() {
        assert!(compare(9, 1, 9).is_ok());
        assert!(compare(12, 9, 9).is_ok(), "a newer schema that still takes this server");
        assert!(matches!(compare(12, 10, 9), Err(OpenError::SchemaTooNew(_))));
        assert!(matches!(compare(8, 1, 9), Err(OpenError::Migrate { .. })));
    }

    #[test]
    fn each_migration_says_its_number() {
        for migration in migrator().iter() {
            let sql = migration.sql.as_str();
            let version = migration.version;
            let says = [format!("set version = {version};"), format!("values ({version}, 1);")];
            assert!(says.iter().any(|text| sql.contains(text)), "migration {version} does not set the version");
        }
        assert_eq!(newest(), migrator().iter().count() as i64, "numbers without gaps");
    }
}
