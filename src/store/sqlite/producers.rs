//! Producers.

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
    store::{ApiKeyRecord, NewProducer, Producer, RegisterProducerError, StoreError},
};

/// See [`IdentityStore::register_producer`](crate::store::IdentityStore::register_producer).
pub(super) async fn register(
    store: &SqliteStore,
    new: &NewProducer,
    key: &ApiKeyRecord,
) -> Result<Producer, RegisterProducerError> {
    let mut tx = store.begin().await?;
    if let Some(existing) = find(store, &mut tx, &new.name).await? {
        return Err(RegisterProducerError::Exists(Box::new(existing)));
    }
    let create_time = Timestamp::now();
    let NewProducer { name, description, topics, disabled } = new;
    let query = store.query("register_producer", "insert into producers values (?, ?, ?, ?, ?)");
    let query = query
        .bind(name.as_str())
        .bind(description)
        .bind(encode_patterns(topics))
        .bind(disabled)
        .bind(create_time.micros());
    query.execute(&mut *tx).await.map_err(failed)?;
    keys::create(store, &mut tx, key).await?;
    tx.commit().await.map_err(failed)?;
    Ok(Producer { settings: new.clone(), create_time })
}

/// See [`IdentityStore::find_producer`](crate::store::IdentityStore::find_producer).
pub(super) async fn find(
    store: &SqliteStore,
    conn: &mut SqliteConnection,
    name: &ProducerName,
) -> Result<Option<Producer>, StoreError> {
    let query = store.query("find_producer", "select * from producers where name = ?").bind(name.as_str());
    let row = query.fetch_optional(conn).await.map_err(failed)?;
    row.as_ref().map(producer).transpose()
}

/// See [`IdentityStore::list_producers`](crate::store::IdentityStore::list_producers).
pub(super) async fn list(store: &SqliteStore, after: &str, limit: usize) -> Result<Vec<Producer>, StoreError> {
    let query = store.query("list_producers", "select * from producers where name > ? order by name limit ?");
    let query = query.bind(after).bind(i64::try_from(limit).unwrap_or(i64::MAX));
    let rows = query.fetch_all(&mut *store.reader().await?).await.map_err(failed)?;
    rows.iter().map(producer).collect()
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
