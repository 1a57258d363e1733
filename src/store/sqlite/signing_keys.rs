//! The keys that sign tokens.

use async_trait::async_trait;
use sqlx::{
    Row,
    sqlite::{SqliteConnection, SqliteRow},
};

use super::{SqliteStore, error::failed, rows::time_of};
use crate::{
    domain::Timestamp,
    store::{SigningKey, SigningKeyStore, StoreError},
};

#[async_trait]
impl SigningKeyStore for SqliteStore {
    async fn signing_keys(&self) -> Result<Vec<SigningKey>, StoreError> {
        let query = self.query("signing_keys", "select * from signing_keys order by create_time, id");
        let rows = query.fetch_all(&mut *self.reader().await?).await.map_err(failed)?;
        rows.iter().map(signing_key).collect()
    }

    async fn add_first_signing_key(&self, key: &SigningKey) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let none = self.query("find_signing_key", "select 1 from signing_keys limit 1");
        if none.fetch_optional(&mut *tx).await.map_err(failed)?.is_none() {
            add(self, &mut tx, key).await?;
        }
        tx.commit().await.map_err(failed)
    }

    async fn rotate_signing_key(
        &self,
        key: &SigningKey,
        due: Timestamp,
        forget: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let query = self.query("forget_signing_keys", include_str!("sql/forget_signing_keys.sql"));
        query.bind(forget.micros()).execute(&mut *tx).await.map_err(failed)?;
        let sql = "select 1 from signing_keys where create_time > ? limit 1";
        let young = self.query("find_young_signing_key", sql).bind(due.micros());
        let is_due = young.fetch_optional(&mut *tx).await.map_err(failed)?.is_none();
        if is_due {
            add(self, &mut tx, key).await?;
        }
        tx.commit().await.map_err(failed)?;
        Ok(is_due)
    }
}

async fn add(store: &SqliteStore, conn: &mut SqliteConnection, key: &SigningKey) -> Result<(), StoreError> {
    let SigningKey { id, pkcs8, create_time } = key;
    let query = store.query("add_signing_key", "insert into signing_keys values (?, ?, ?)");
    query.bind(id).bind(pkcs8).bind(create_time.micros()).execute(conn).await.map_err(failed)?;
    Ok(())
}

fn signing_key(row: &SqliteRow) -> Result<SigningKey, StoreError> {
    Ok(SigningKey {
        id: row.try_get("id").map_err(failed)?,
        pkcs8: row.try_get("pkcs8").map_err(failed)?,
        create_time: time_of(row, "create_time")?,
    })
}
