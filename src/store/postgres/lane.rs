//! Connections for one kind of work.

use std::{future::Future, sync::Arc, time::Duration};

use sqlx::{
    Connection, PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow},
    query::Query,
};
use tokio::time::timeout;

use super::{
    errors::{not_sent, read_only, silent, store_error},
    incarnation::ServerWatch,
    session,
};
use crate::{
    domain::Incarnation,
    store::{Pool, StoreError, statements::Statements},
};

/// How long a statement waits for a connection. Longer than a reconnect takes, shorter than the
/// patience of a caller, who is then told that the store is unavailable.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long an idle connection is taken for alive without asking it.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// An idle connection must give a sign of life within this time, or another one is tried.
const PING_PATIENCE: Duration = Duration::from_millis(500);

/// How long a statement may take. The server ends it after 10 s by itself (`session.sql`): whoever
/// waits longer has lost the server, and would wait for as long as the network keeps the connection.
const STATEMENT_PATIENCE: Duration = Duration::from_secs(12);

/// A small pool of connections of its own, so that one kind of work does not wait behind another.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    pool: PgPool,
    server: Arc<ServerWatch>,
    statements: Arc<Statements>,
}

/// One statement with its arguments.
pub(super) type Statement<'q> = Query<'q, Postgres, PgArguments>;

impl Lane {
    /// A lane of at most `size` connections, opened when first needed.
    pub(super) fn open(
        connect: PgConnectOptions,
        size: u32,
        server: Arc<ServerWatch>,
        statements: Arc<Statements>,
    ) -> Self {
        let (met, current) = (server.clone(), server.clone());
        let pool = PgPoolOptions::new()
            .max_connections(size)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // A round trip before each statement would be too much, but a connection that was idle may
            // have died with its server, and a statement sent on it would fail for nothing.
            .test_before_acquire(false)
            .before_acquire(move |connection, state| {
                let current = current.is_current(state.age);
                Box::pin(async move {
                    let trusted = state.idle_for < TRUSTED_IDLE;
                    Ok(current && (trusted || matches!(timeout(PING_PATIENCE, connection.ping()).await, Ok(Ok(())))))
                })
            })
            .after_connect(move |connection, _| {
                let server = met.clone();
                Box::pin(async move { session::prepare(connection, &server).await })
            })
            .connect_lazy_with(connect);
        Self { pool, server, statements }
    }

    /// Runs a statement that returns exactly one row.
    pub(super) async fn one(&self, name: &'static str, statement: Statement<'_>) -> Result<PgRow, StoreError> {
        let mut connection = self.acquire(name).await?;
        let result = patiently(statement.fetch_one(&mut *connection)).await;
        self.settle(connection, result)
    }

    /// As [`one`](Self::one), if the server is still of this incarnation; `None` if it is not.
    pub(super) async fn one_if(
        &self,
        name: &'static str,
        incarnation: Incarnation,
        statement: Statement<'_>,
    ) -> Result<Option<PgRow>, StoreError> {
        let Some(mut connection) = self.acquire_if(name, incarnation).await? else { return Ok(None) };
        let result = patiently(statement.fetch_one(&mut *connection)).await;
        self.settle(connection, result).map(Some)
    }

    /// As [`all`](Self::all), if the server is still of this incarnation; `None` if it is not.
    pub(super) async fn all_if(
        &self,
        name: &'static str,
        incarnation: Incarnation,
        statement: Statement<'_>,
    ) -> Result<Option<Vec<PgRow>>, StoreError> {
        let Some(mut connection) = self.acquire_if(name, incarnation).await? else { return Ok(None) };
        let result = patiently(statement.fetch_all(&mut *connection)).await;
        self.settle(connection, result).map(Some)
    }

    /// Runs a statement that returns at most one row.
    pub(super) async fn optional(
        &self,
        name: &'static str,
        statement: Statement<'_>,
    ) -> Result<Option<PgRow>, StoreError> {
        let mut connection = self.acquire(name).await?;
        let result = patiently(statement.fetch_optional(&mut *connection)).await;
        self.settle(connection, result)
    }

    /// Runs a statement that returns any number of rows.
    pub(super) async fn all(&self, name: &'static str, statement: Statement<'_>) -> Result<Vec<PgRow>, StoreError> {
        let mut connection = self.acquire(name).await?;
        let result = patiently(statement.fetch_all(&mut *connection)).await;
        self.settle(connection, result)
    }

    /// Runs a statement and returns how many rows it changed.
    pub(super) async fn execute(&self, name: &'static str, statement: Statement<'_>) -> Result<u64, StoreError> {
        let mut connection = self.acquire(name).await?;
        let result = patiently(statement.execute(&mut *connection)).await;
        self.settle(connection, result).map(|done| done.rows_affected())
    }

    /// Its connections as they are now.
    pub(super) fn pool(&self, name: &'static str) -> Pool {
        Pool::new(name, self.pool.size(), self.pool.num_idle())
    }

    /// Ends its connections after the statements under way.
    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    async fn acquire(&self, name: &'static str) -> Result<PoolConnection<Postgres>, StoreError> {
        let connection = self.pool.acquire().await.map_err(not_sent)?;
        self.statements.ran(name);
        Ok(connection)
    }

    async fn acquire_if(
        &self,
        name: &'static str,
        incarnation: Incarnation,
    ) -> Result<Option<PoolConnection<Postgres>>, StoreError> {
        let connection = self.acquire(name).await?;
        // Whether this connection is new or not: if it leads to another server, that is known by now.
        Ok(self.server.is(incarnation).then_some(connection))
    }

    /// Gives a connection back after a statement, or closes it if no later one could succeed on it.
    fn settle<T>(
        &self,
        mut connection: PoolConnection<Postgres>,
        result: Option<Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        let Some(result) = result else {
            connection.close_on_drop();
            return Err(silent(STATEMENT_PATIENCE));
        };
        result.map_err(|error| {
            if read_only(&error) {
                // A server that was demoted keeps its connections, and would refuse every later change too.
                connection.close_on_drop();
                self.server.demoted();
            }
            store_error(error)
        })
    }
}

/// The result of a statement; `None` if it does not come.
async fn patiently<T>(statement: impl Future<Output = Result<T, sqlx::Error>>) -> Option<Result<T, sqlx::Error>> {
    timeout(STATEMENT_PATIENCE, statement).await.ok()
}
