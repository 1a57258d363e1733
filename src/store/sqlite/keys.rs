//! API keys.

use async_trait::async_trait;
use sqlx::{
    Row,
    sqlite::{SqliteConnection, SqliteRow},
};

use super::{
    SqliteStore,
    error::{corrupt, failed},
    rows::{hash, optional_time, time_of},
};
use crate::{
    domain::Timestamp,
    store::{ApiKeyRecord, KeyOwner, KeyStore, StoreError, Whose},
};

#[async_trait]
impl KeyStore for SqliteStore {
    async fn create_api_key(&self, key: &ApiKeyRecord) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let (owner_kind, owner) = key.owner.columns();
        let query = self.query("find_owner", include_str!("sql/find_owner.sql")).bind(owner_kind).bind(owner);
        if query.fetch_optional(&mut *tx).await.map_err(failed)?.is_none() {
            return Ok(false);
        }
        insert(self, &mut tx, key).await?;
        tx.commit().await.map_err(failed)?;
        Ok(true)
    }

    async fn find_api_key(&self, id: &str) -> Result<Option<ApiKeyRecord>, StoreError> {
        let query = self.query("find_api_key", "select * from api_keys where id = ?").bind(id);
        let row = query.fetch_optional(&mut *self.reader().await?).await.map_err(failed)?;
        row.as_ref().map(api_key).transpose()
    }

    async fn list_api_keys(&self, whose: &Whose, after: &str, limit: usize) -> Result<Vec<ApiKeyRecord>, StoreError> {
        let (owner_kind, owner) = match whose {
            Whose::Everybodys | Whose::Programs => (None, None),
            Whose::Owner(owner) => Some(owner.columns()).unzip(),
        };
        let query = self.query("list_api_keys", include_str!("sql/list_api_keys.sql"));
        let query = query
            .bind(owner_kind)
            .bind(owner)
            .bind(*whose == Whose::Programs)
            .bind(after)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.fetch_all(&mut *self.reader().await?).await.map_err(failed)?;
        rows.iter().map(api_key).collect()
    }

    async fn rotate_api_key(
        &self,
        old: &str,
        old_expire_time: Timestamp,
        key: &ApiKeyRecord,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let sql = "update api_keys set expire_time = min(coalesce(expire_time, ?1), ?1) where id = ?2";
        let query = self.query("shorten_api_key", sql).bind(old_expire_time.micros()).bind(old);
        if query.execute(&mut *tx).await.map_err(failed)?.rows_affected() == 0 {
            return Ok(false);
        }
        insert(self, &mut tx, key).await?;
        tx.commit().await.map_err(failed)?;
        Ok(true)
    }

    async fn revoke_api_key(&self, id: &str) -> Result<Option<ApiKeyRecord>, StoreError> {
        let mut tx = self.begin().await?;
        let query = self.query("revoke_api_key", "update api_keys set revoked = 1 where id = ? returning *").bind(id);
        let row = query.fetch_optional(&mut *tx).await.map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        row.as_ref().map(api_key).transpose()
    }

    async fn use_api_keys(&self, uses: &[(String, Timestamp)]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for (id, time) in uses {
            let sql = "update api_keys set last_used_time = max(coalesce(last_used_time, ?1), ?1) where id = ?2";
            let query = self.query("use_api_key", sql).bind(time.micros()).bind(id);
            query.execute(&mut *tx).await.map_err(failed)?;
        }
        tx.commit().await.map_err(failed)
    }
}

/// Keeps a key.
pub(super) async fn insert(
    store: &SqliteStore,
    conn: &mut SqliteConnection,
    key: &ApiKeyRecord,
) -> Result<(), StoreError> {
    let ApiKeyRecord { id, secret_hash, owner, create_time, expire_time, last_used_time: _, revoked } = key;
    let (owner_kind, owner) = owner.columns();
    let query = store.query("create_api_key", "insert into api_keys values (?, ?, ?, ?, ?, ?, ?, null)");
    let query = query
        .bind(id)
        .bind(secret_hash.as_slice())
        .bind(owner_kind)
        .bind(owner)
        .bind(create_time.micros())
        .bind(expire_time.map(Timestamp::micros))
        .bind(revoked);
    query.execute(conn).await.map_err(failed)?;
    Ok(())
}

/// Deletes all keys of an owner.
pub(super) async fn delete_all(
    store: &SqliteStore,
    conn: &mut SqliteConnection,
    owner: &KeyOwner,
) -> Result<(), StoreError> {
    let (owner_kind, owner) = owner.columns();
    let sql = "delete from api_keys where owner_kind = ? and owner = ?";
    let query = store.query("delete_api_keys", sql).bind(owner_kind).bind(owner);
    query.execute(conn).await.map_err(failed)?;
    Ok(())
}

fn api_key(row: &SqliteRow) -> Result<ApiKeyRecord, StoreError> {
    let owner_kind = row.try_get("owner_kind").map_err(failed)?;
    let owner = row.try_get("owner").map_err(failed)?;
    Ok(ApiKeyRecord {
        id: row.try_get("id").map_err(failed)?,
        secret_hash: hash(row, "secret_hash")?,
        owner: KeyOwner::from_columns(owner_kind, owner).map_err(corrupt)?,
        create_time: time_of(row, "create_time")?,
        expire_time: optional_time(row, "expire_time")?,
        last_used_time: optional_time(row, "last_used_time")?,
        revoked: row.try_get("revoked").map_err(failed)?,
    })
}
