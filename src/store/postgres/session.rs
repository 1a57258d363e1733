//! What every connection is set to before it is used.

use sqlx::{PgConnection, Row};

/// Sets a new connection up, and refuses one to a replica, where nothing can be written.
pub(super) async fn prepare(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let row = sqlx::query(include_str!("sql/session.sql")).persistent(false).fetch_one(connection).await?;
    if row.try_get("in_recovery")? {
        let message = "the database is a replica; point --database-url at the primary";
        return Err(sqlx::Error::Configuration(message.into()));
    }
    Ok(())
}
