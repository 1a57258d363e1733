//! Producers.

use async_trait::async_trait;
use sqlx::{
    Row,
    sqlite::{SqliteConnection, SqliteRow},
};

use super::{
    SqliteStore,
    error::failed,
    keys,
    rows::{parsed, time_of},
    settings::{decode_patterns, encode_patterns},
};
use crate::{
    domain::{ProducerName, Timestamp},
    store::{
        ApiKeyRecord, KeyOwner, NewProducer, Producer, ProducerChange, ProducerStore, RegisterProducerError, StoreError,
    },
};

#[async_trait]
impl ProducerStore for SqliteStore {
    async fn register_producer(
        &self,
        new: &NewProducer,
        key: &ApiKeyRecord,
    ) -> Result<Producer, RegisterProducerError> {
        let mut tx = self.begin().await?;
        if let Some(existing) = find(self, &mut tx, &new.name).await? {
            return Err(RegisterProducerError::Exists(Box::new(existing)));
        }
        let create_time = Timestamp::now();
        let NewProducer { name, description, topics, disabled } = new;
        let query = self.query("register_producer", "insert into producers values (?, ?, ?, ?, ?)");
        let query = query
            .bind(name.as_str())
            .bind(description)
            .bind(encode_patterns(topics))
            .bind(disabled)
            .bind(create_time.micros());
        query.execute(&mut *tx).await.map_err(failed)?;
        keys::insert(self, &mut tx, key).await?;
        tx.commit().await.map_err(failed)?;
        Ok(Producer { settings: new.clone(), create_time })
    }

    async fn find_producer(&self, name: &ProducerName) -> Result<Option<Producer>, StoreError> {
        let mut conn = self.reader().await?;
        find(self, &mut conn, name).await
    }

    async fn list_producers(&self, after: &str, limit: usize) -> Result<Vec<Producer>, StoreError> {
        let query = self.query("list_producers", "select * from producers where name > ? order by name limit ?");
        let query = query.bind(after).bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.fetch_all(&mut *self.reader().await?).await.map_err(failed)?;
        rows.iter().map(producer).collect()
    }

    async fn update_producer(
        &self,
        name: &ProducerName,
        change: &ProducerChange,
    ) -> Result<Option<Producer>, StoreError> {
        let ProducerChange { description, topics, disabled } = change;
        let mut tx = self.begin().await?;
        let query = self.query("update_producer", include_str!("sql/update_producer.sql"));
        let query =
            query.bind(description).bind(topics.as_deref().map(encode_patterns)).bind(disabled).bind(name.as_str());
        let row = query.fetch_optional(&mut *tx).await.map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        row.as_ref().map(producer).transpose()
    }

    async fn delete_producer(&self, name: &ProducerName) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let query = self.query("delete_producer", "delete from producers where name = ?").bind(name.as_str());
        let deleted = query.execute(&mut *tx).await.map_err(failed)?.rows_affected() == 1;
        keys::delete_all(self, &mut tx, &KeyOwner::Producer(name.clone())).await?;
        tx.commit().await.map_err(failed)?;
        Ok(deleted)
    }
}

async fn find(
    store: &SqliteStore,
    conn: &mut SqliteConnection,
    name: &ProducerName,
) -> Result<Option<Producer>, StoreError> {
    let query = store.query("find_producer", "select * from producers where name = ?").bind(name.as_str());
    let row = query.fetch_optional(conn).await.map_err(failed)?;
    row.as_ref().map(producer).transpose()
}

fn producer(row: &SqliteRow) -> Result<Producer, StoreError> {
    Ok(Producer {
        settings: NewProducer {
            name: parsed(row, "name", ProducerName::parse)?,
            description: row.try_get("description").map_err(failed)?,
            topics: parsed(row, "topics", decode_patterns)?,
            disabled: row.try_get("disabled").map_err(failed)?,
        },
        create_time: time_of(row, "create_time")?,
    })
}
