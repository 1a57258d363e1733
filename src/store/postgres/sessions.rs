//! Logins, and the keys that sign their tokens.

use async_trait::async_trait;
use uuid::Uuid;

use super::{PostgresStore, errors::corrupt, identity_rows as identity, rows};
use crate::{
    domain::Timestamp,
    store::{RefreshTrade, Refreshed, SessionRecord, SessionStore, SigningKey, SigningKeyStore, StoreError},
};

#[async_trait]
impl SessionStore for PostgresStore {
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
        let sql = "select eventflow.create_session_v1($1, $2, $3, $4, $5, $6, $7, $8) as created";
        let statement = sqlx::query(sql)
            .bind(id)
            .bind(user.as_str())
            .bind(password_hash)
            .bind(&family_hash[..])
            .bind(&refresh_hash[..])
            .bind(create_time.to_datetime())
            .bind(refresh_expire_time.to_datetime())
            .bind(expire_time.to_datetime());
        rows::get(&self.control.one("create_session", statement).await?, "created")
    }

    async fn find_session(&self, id: Uuid) -> Result<Option<SessionRecord>, StoreError> {
        let statement = sqlx::query(include_str!("sql/find_session.sql")).bind(id);
        self.control.optional("find_session", statement).await?.as_ref().map(identity::session).transpose()
    }

    async fn end_session(&self, id: Uuid, time: Timestamp) -> Result<(), StoreError> {
        let statement = sqlx::query("update eventflow.sessions set end_time = $2 where id = $1 and end_time is null");
        self.control.execute("end_session", statement.bind(id).bind(time.to_datetime())).await.map(drop)
    }

    async fn refresh_session(&self, id: Uuid, trade: &RefreshTrade) -> Result<Refreshed, StoreError> {
        let RefreshTrade { family_hash, old_hash, new_hash, new_expire_time, now } = trade;
        let statement = sqlx::query("select eventflow.refresh_session_v1($1, $2, $3, $4, $5, $6) as outcome")
            .bind(id)
            .bind(&family_hash[..])
            .bind(&old_hash[..])
            .bind(&new_hash[..])
            .bind(now.to_datetime())
            .bind(new_expire_time.to_datetime());
        match rows::get(&self.control.one("refresh_session", statement).await?, "outcome")? {
            "renewed" => Ok(Refreshed::Renewed),
            "reused" => Ok(Refreshed::Reused),
            "ended" => Ok(Refreshed::Ended),
            "expired" => Ok(Refreshed::Expired),
            "unknown" => Ok(Refreshed::Unknown),
            other => Err(corrupt(format!("a refresh ended with {other:?}"))),
        }
    }
}

#[async_trait]
impl SigningKeyStore for PostgresStore {
    async fn signing_keys(&self) -> Result<Vec<SigningKey>, StoreError> {
        let statement = sqlx::query(include_str!("sql/signing_keys.sql"));
        self.control.all("signing_keys", statement).await?.iter().map(identity::signing_key).collect()
    }

    async fn add_first_signing_key(&self, key: &SigningKey) -> Result<(), StoreError> {
        let SigningKey { id, pkcs8, create_time } = key;
        let statement = sqlx::query("select eventflow.add_first_signing_key_v1($1, $2, $3)");
        let statement = statement.bind(id).bind(pkcs8).bind(create_time.to_datetime());
        self.control.execute("add_first_signing_key", statement).await.map(drop)
    }

    async fn rotate_signing_key(
        &self,
        key: &SigningKey,
        due: Timestamp,
        forget: Timestamp,
    ) -> Result<bool, StoreError> {
        let SigningKey { id, pkcs8, create_time } = key;
        let statement = sqlx::query("select eventflow.rotate_signing_key_v1($1, $2, $3, $4, $5) as added")
            .bind(id)
            .bind(pkcs8)
            .bind(create_time.to_datetime())
            .bind(due.to_datetime())
            .bind(forget.to_datetime());
        rows::get(&self.control.one("rotate_signing_key", statement).await?, "added")
    }
}
