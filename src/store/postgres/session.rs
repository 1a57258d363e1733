//! What every connection is set to before it is used.

use sqlx::PgConnection;

use super::incarnation::ServerWatch;

/// Sets a new connection up, and notes which server it leads to. Refuses one to a replica, where nothing
/// can be written, or to another store.
pub(super) async fn prepare(connection: &mut PgConnection, server: &ServerWatch) -> Result<(), sqlx::Error> {
    let said = sqlx::query(include_str!("sql/session.sql")).persistent(false).fetch_one(connection).await?;
    server.meet(&said)
}
