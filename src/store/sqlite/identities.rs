//! Users and sessions; producers and keys have files of their own.

use async_trait::async_trait;
use sqlx::{Row, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    SqliteStore,
    error::failed,
    keys::{self, hash},
    producers,
    rows::{optional_time, parsed, time_of},
};
use crate::{
    domain::{ProducerName, Role, Timestamp, Username},
    store::{
        ApiKeyRecord, IdentityStore, NewProducer, Producer, RegisterProducerError, SessionRecord, SigningKey,
        StoreError, User,
    },
};

#[async_trait]
impl IdentityStore for SqliteStore {
    async fn has_users(&self) -> Result<bool, StoreError> {
        let query = self.query("has_users", "select exists (select 1 from users)");
        let row = query.fetch_one(&mut *self.reader().await?).await.map_err(failed)?;
        row.try_get(0).map_err(failed)
    }

    async fn create_user(&self, user: &User) -> Result<bool, StoreError> {
        let User { name, role, disabled, password_hash, create_time } = user;
        let mut tx = self.begin().await?;
        let query = self.query("create_user", "insert into users values (?, ?, ?, ?, ?) on conflict do nothing");
        let query =
            query.bind(name.as_str()).bind(role.as_str()).bind(disabled).bind(password_hash).bind(create_time.micros());
        let created = query.execute(&mut *tx).await.map_err(failed)?.rows_affected() == 1;
        tx.commit().await.map_err(failed)?;
        Ok(created)
    }

    async fn find_user(&self, name: &Username) -> Result<Option<User>, StoreError> {
        let query = self.query("find_user", "select * from users where name = ?").bind(name.as_str());
        let row = query.fetch_optional(&mut *self.reader().await?).await.map_err(failed)?;
        row.as_ref().map(user).transpose()
    }

    async fn register_producer(
        &self,
        producer: &NewProducer,
        key: &ApiKeyRecord,
    ) -> Result<Producer, RegisterProducerError> {
        producers::register(self, producer, key).await
    }

    async fn find_producer(&self, name: &ProducerName) -> Result<Option<Producer>, StoreError> {
        let mut conn = self.reader().await?;
        producers::find(self, &mut conn, name).await
    }

    async fn list_producers(&self, after: &str, limit: usize) -> Result<Vec<Producer>, StoreError> {
        producers::list(self, after, limit).await
    }

    async fn create_api_key(&self, key: &ApiKeyRecord) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        keys::create(self, &mut tx, key).await?;
        tx.commit().await.map_err(failed)
    }

    async fn find_api_key(&self, id: &str) -> Result<Option<ApiKeyRecord>, StoreError> {
        keys::find(self, id).await
    }

    async fn create_session(&self, session: &SessionRecord) -> Result<(), StoreError> {
        let SessionRecord { id, user, refresh_hash, create_time, expire_time, end_time } = session;
        let mut tx = self.begin().await?;
        let query = self.query("create_session", "insert into sessions values (?, ?, ?, ?, ?, ?)");
        let query = query
            .bind(id)
            .bind(user.as_str())
            .bind(refresh_hash.as_slice())
            .bind(create_time.micros())
            .bind(expire_time.micros())
            .bind(end_time.map(Timestamp::micros));
        query.execute(&mut *tx).await.map_err(failed)?;
        tx.commit().await.map_err(failed)
    }

    async fn find_session(&self, id: Uuid) -> Result<Option<SessionRecord>, StoreError> {
        let query = self.query("find_session", "select * from sessions where id = ?").bind(id);
        let row = query.fetch_optional(&mut *self.reader().await?).await.map_err(failed)?;
        row.as_ref().map(session).transpose()
    }

    async fn end_session(&self, id: Uuid, time: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let query = self.query("end_session", "update sessions set end_time = ? where id = ? and end_time is null");
        query.bind(time.micros()).bind(id).execute(&mut *tx).await.map_err(failed)?;
        tx.commit().await.map_err(failed)
    }

    async fn signing_keys(&self) -> Result<Vec<SigningKey>, StoreError> {
        keys::signing_keys(self).await
    }

    async fn add_first_signing_key(&self, key: &SigningKey) -> Result<(), StoreError> {
        keys::add_first_signing_key(self, key).await
    }
}

fn user(row: &SqliteRow) -> Result<User, StoreError> {
    let role = |name: &str| Role::from_name(name).ok_or_else(|| format!("{name:?} is no role"));
    Ok(User {
        name: parsed(row, "name", Username::parse)?,
        role: parsed(row, "role", role)?,
        disabled: row.try_get("disabled").map_err(failed)?,
        password_hash: row.try_get("password_hash").map_err(failed)?,
        create_time: time_of(row, "create_time")?,
    })
}

fn session(row: &SqliteRow) -> Result<SessionRecord, StoreError> {
    Ok(SessionRecord {
        id: row.try_get("id").map_err(failed)?,
        user: parsed(row, "user", Username::parse)?,
        refresh_hash: hash(row, "refresh_hash")?,
        create_time: time_of(row, "create_time")?,
        expire_time: time_of(row, "expire_time")?,
        end_time: optional_time(row, "end_time")?,
    })
}
