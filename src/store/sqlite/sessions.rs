//! Logins.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{
    Row,
    sqlite::{SqliteConnection, SqliteRow},
};
use uuid::Uuid;

use super::{
    SqliteStore,
    error::failed,
    rows::{hash, micros, optional_time, parsed, time_of},
    users,
};
use crate::{
    domain::{Timestamp, Username},
    store::{RefreshTrade, Refreshed, SessionRecord, SessionStore, StoreError},
};

/// How long a session that is over is kept.
const KEPT: Duration = Duration::from_secs(24 * 3600);

#[async_trait]
impl SessionStore for SqliteStore {
    async fn create_session(&self, session: &SessionRecord, password_hash: &str) -> Result<bool, StoreError> {
        let SessionRecord {
            id,
            user,
            family_hash,
            refresh_hash,
            create_time,
            refresh_expire_time,
            expire_time,
            end_time: _,
        } = session;
        let mut tx = self.begin().await?;
        let holder = users::find(self, &mut tx, user).await?.filter(|user| !user.disabled);
        if holder.and_then(|user| user.password_hash).is_none_or(|hash| hash != password_hash) {
            return Ok(false);
        }
        let query = self.query("forget_sessions", "delete from sessions where user = ? and expire_time < ?");
        let query = query.bind(user.as_str()).bind(create_time.micros() - micros(KEPT));
        query.execute(&mut *tx).await.map_err(failed)?;
        let query = self.query("create_session", include_str!("sql/create_session.sql"));
        let query = query
            .bind(id)
            .bind(user.as_str())
            .bind(family_hash.as_slice())
            .bind(refresh_hash.as_slice())
            .bind(create_time.micros())
            .bind(refresh_expire_time.micros())
            .bind(expire_time.micros());
        query.execute(&mut *tx).await.map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        Ok(true)
    }

    async fn find_session(&self, id: Uuid) -> Result<Option<SessionRecord>, StoreError> {
        let mut conn = self.reader().await?;
        find(self, &mut conn, id).await
    }

    async fn end_session(&self, id: Uuid, time: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        end(self, &mut tx, id, time).await?;
        tx.commit().await.map_err(failed)
    }

    async fn refresh_session(&self, id: Uuid, trade: &RefreshTrade) -> Result<Refreshed, StoreError> {
        let RefreshTrade { family_hash, old_hash, new_hash, new_expire_time, now } = trade;
        let mut tx = self.begin().await?;
        let found = find(self, &mut tx, id).await?.filter(|session| session.family_hash == *family_hash);
        let Some(session) = found else { return Ok(Refreshed::Unknown) };
        if session.end_time.is_some() {
            return Ok(Refreshed::Ended);
        }
        if session.refresh_hash != *old_hash {
            end(self, &mut tx, id, *now).await?;
            tx.commit().await.map_err(failed)?;
            return Ok(Refreshed::Reused);
        }
        if session.expire_time <= *now || session.refresh_expire_time <= *now {
            return Ok(Refreshed::Expired);
        }
        let sql = "update sessions set refresh_hash = ?, refresh_expire_time = ? where id = ?";
        let query = self.query("refresh_session", sql);
        let query = query.bind(new_hash.as_slice()).bind(new_expire_time.micros()).bind(id);
        query.execute(&mut *tx).await.map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        Ok(Refreshed::Renewed)
    }
}

/// Ends all sessions of a user.
pub(super) async fn end_all(
    store: &SqliteStore,
    conn: &mut SqliteConnection,
    user: &Username,
    time: Timestamp,
) -> Result<(), StoreError> {
    let sql = "update sessions set end_time = ? where user = ? and end_time is null";
    let query = store.query("end_sessions", sql).bind(time.micros()).bind(user.as_str());
    query.execute(conn).await.map_err(failed)?;
    Ok(())
}

/// Deletes all sessions of a user.
pub(super) async fn delete_all(
    store: &SqliteStore,
    conn: &mut SqliteConnection,
    user: &Username,
) -> Result<(), StoreError> {
    let query = store.query("delete_sessions", "delete from sessions where user = ?").bind(user.as_str());
    query.execute(conn).await.map_err(failed)?;
    Ok(())
}

async fn find(store: &SqliteStore, conn: &mut SqliteConnection, id: Uuid) -> Result<Option<SessionRecord>, StoreError> {
    let query = store.query("find_session", "select * from sessions where id = ?").bind(id);
    let row = query.fetch_optional(conn).await.map_err(failed)?;
    row.as_ref().map(session).transpose()
}

async fn end(store: &SqliteStore, conn: &mut SqliteConnection, id: Uuid, time: Timestamp) -> Result<(), StoreError> {
    let query = store.query("end_session", "update sessions set end_time = ? where id = ? and end_time is null");
    query.bind(time.micros()).bind(id).execute(conn).await.map_err(failed)?;
    Ok(())
}

fn session(row: &SqliteRow) -> Result<SessionRecord, StoreError> {
    Ok(SessionRecord {
        id: row.try_get("id").map_err(failed)?,
        user: parsed(row, "user", Username::parse)?,
        family_hash: hash(row, "family_hash")?,
        refresh_hash: hash(row, "refresh_hash")?,
        create_time: time_of(row, "create_time")?,
        refresh_expire_time: time_of(row, "refresh_expire_time")?,
        expire_time: time_of(row, "expire_time")?,
        end_time: optional_time(row, "end_time")?,
    })
}
