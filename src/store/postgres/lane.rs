//! Connections for one kind of work.

use std::{sync::Arc, time::Duration};

use sqlx::{
    Connection, PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow},
    query::Query,
};

use super::{
    errors::{must_close, store_error},
    session,
};
use crate::store::{Pool, StoreError, statements::Statements};

/// How long a statement waits for a connection. Longer than a reconnect takes, shorter than the
/// patience of a caller, who is then told that the store is unavailable.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long an idle connection is taken for alive without asking it.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// A small pool of connections of its own, so that one kind of work does not wait behind another.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    pool: PgPool,
    statements: Arc<Statements>,
}

/// One statement with its arguments.
type Statement<'q> = Query<'q, Postgres, PgArguments>;

impl Lane {
    /// A lane of at most `size` connections, opened when first needed.
    pub(super) fn open(connect: PgConnectOptions, size: u32, statements: Arc<Statements>) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(size)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // A round trip before each statement would be too much, but a connection that was idle may
            // have died with its server, and a statement sent on it would fail for nothing.
            .test_before_acquire(false)
            .before_acquire(|connection, state| {
                Box::pin(async move { Ok(state.idle_for < TRUSTED_IDLE || connection.ping().await.is_ok()) })
            })
            .after_connect(|connection, _| Box::pin(session::prepare(connection)))
            .connect_lazy_with(connect);
        Self { pool, statements }
    }

    /// Runs a statement that returns exactly one row.
    pub(super) async fn one(&self, name: &'static str, statement: Statement<'_>) -> Result<PgRow, StoreError> {
        let mut connection = self.acquire(name).await?;
        let result = statement.fetch_one(&mut *connection).await;
        settle(connection, result)
    }

    /// Runs a statement that returns at most one row.
    pub(super) async fn optional(
        &self,
        name: &'static str,
        statement: Statement<'_>,
    ) -> Result<Option<PgRow>, StoreError> {
        let mut connection = self.acquire(name).await?;
        let result = statement.fetch_optional(&mut *connection).await;
        settle(connection, result)
    }

    /// Runs a statement that returns any number of rows.
    pub(super) async fn all(&self, name: &'static str, statement: Statement<'_>) -> Result<Vec<PgRow>, StoreError> {
        let mut connection = self.acquire(name).await?;
        let result = statement.fetch_all(&mut *connection).await;
        settle(connection, result)
    }

    /// Runs a statement and returns how many rows it changed.
    pub(super) async fn execute(&self, name: &'static str, statement: Statement<'_>) -> Result<u64, StoreError> {
        let mut connection = self.acquire(name).await?;
        let result = statement.execute(&mut *connection).await.map(|done| done.rows_affected());
        settle(connection, result)
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
        let connection = self.pool.acquire().await.map_err(store_error)?;
        self.statements.ran(name);
        Ok(connection)
    }
}

/// Gives a connection back after a statement, or closes it if no later one could succeed on it.
fn settle<T>(mut connection: PoolConnection<Postgres>, result: Result<T, sqlx::Error>) -> Result<T, StoreError> {
    result.map_err(|error| {
        if must_close(&error) {
            connection.close_on_drop();
        }
        store_error(error)
    })
}
