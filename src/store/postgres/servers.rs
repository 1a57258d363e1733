//! Which servers are alive.

use std::time::Duration;

use async_trait::async_trait;

use super::{PostgresStore, rows, topics::to_limit};
use crate::{
    domain::{RunningServer, ServerId},
    store::{ServerStore, StoreError},
};

#[async_trait]
impl ServerStore for PostgresStore {
    async fn beat(&self, server: ServerId, name: &str, version: &str, lease: Duration) -> Result<(), StoreError> {
        let statement = sqlx::query("select eventflow.beat_v1($1, $2, $3, $4)")
            .bind(server.0)
            .bind(name)
            .bind(version)
            .bind(rows::to_micros(lease));
        self.control.execute("beat", statement).await.map(drop)
    }

    async fn leave(&self, server: ServerId) -> Result<(), StoreError> {
        let statement = sqlx::query("delete from eventflow.servers where id = $1").bind(server.0);
        self.control.execute("leave", statement).await.map(drop)
    }

    async fn take_duty(&self, duty: &str, server: ServerId, lease: Duration) -> Result<bool, StoreError> {
        let statement = sqlx::query("select eventflow.take_duty_v1($1, $2, $3) as taken")
            .bind(duty)
            .bind(server.0)
            .bind(rows::to_micros(lease));
        rows::get(&self.control.one("take_duty", statement).await?, "taken")
    }

    async fn servers(&self, limit: usize) -> Result<Vec<RunningServer>, StoreError> {
        let statement = sqlx::query(include_str!("sql/servers.sql")).bind(to_limit(limit));
        let found = self.control.all("servers", statement).await?;
        let server = |row| {
            Ok(RunningServer {
                id: ServerId(rows::get(row, "id")?),
                name: rows::get(row, "name")?,
                version: rows::get(row, "version")?,
                start_time: rows::time(row, "start_time")?,
            })
        };
        found.iter().map(server).collect()
    }
}
