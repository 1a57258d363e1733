//! Changing, moving and pausing consumers.

use std::time::Duration;

use super::{
    SqliteStore,
    consumers::next_epoch,
    error::failed,
    holds::delete_connections,
    queue,
    rows::{self, optional_time},
    settings::{encode_filter, encode_queue_change},
};
use crate::{
    domain::{Consumer, ConsumerChange, ConsumerId, ConsumerName, Epoch, Offset, Timestamp},
    store::StoreError,
};

/// See [`ConsumerStore::update_consumer`](crate::store::ConsumerStore::update_consumer).
pub(super) async fn update(
    store: &SqliteStore,
    name: &ConsumerName,
    change: &ConsumerChange,
) -> Result<Option<Consumer>, StoreError> {
    let filter = change.filter.as_ref().map(encode_filter);
    let sql =
        "update consumers set revision = revision + 1, filter = coalesce(?2, filter), queue = json_patch(queue, ?3)
        where name = ?1 returning *";
    let mut tx = store.begin().await?;
    let query = store.query("update_consumer", sql).bind(name.as_str()).bind(filter).bind(encode_queue_change(change));
    let row = query.fetch_optional(&mut *tx).await.map_err(failed)?;
    tx.commit().await.map_err(failed)?;
    row.as_ref().map(rows::consumer).transpose()
}

/// See [`ConsumerStore::pause_consumer`](crate::store::ConsumerStore::pause_consumer).
pub(super) async fn pause(
    store: &SqliteStore,
    name: &ConsumerName,
    paused: bool,
) -> Result<Option<Consumer>, StoreError> {
    let mut tx = store.begin().await?;
    let query = store.query("pause_consumer", "update consumers set paused = ?2 where name = ?1 returning *");
    let row = query.bind(name.as_str()).bind(paused).fetch_optional(&mut *tx).await.map_err(failed)?;
    tx.commit().await.map_err(failed)?;
    row.as_ref().map(rows::consumer).transpose()
}

/// See [`ConsumerStore::seek_consumer`](crate::store::ConsumerStore::seek_consumer).
pub(super) async fn seek(store: &SqliteStore, id: ConsumerId, offset: Offset) -> Result<Option<Consumer>, StoreError> {
    let mut tx = store.begin().await?;
    queue::seek(store, &mut tx, id, offset).await?;
    let epoch = next_epoch(store, &mut tx).await?;
    let sql = "update consumers set stored = ?2, revision = revision + 1, epoch = ?3, held_until = null
        where id = ?1 returning *";
    let query = store.query("seek_consumer", sql).bind(id.0).bind(offset.get()).bind(epoch.0);
    let row = query.fetch_optional(&mut *tx).await.map_err(failed)?;
    delete_connections(store, &mut tx, id).await?;
    tx.commit().await.map_err(failed)?;
    row.as_ref().map(rows::consumer).transpose()
}

/// See [`ConsumerStore::skip_trimmed`](crate::store::ConsumerStore::skip_trimmed).
pub(super) async fn skip_trimmed(
    store: &SqliteStore,
    id: ConsumerId,
    epoch: Epoch,
    from: Offset,
    to: Offset,
) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    let query = store.query("skip_trimmed", include_str!("sql/skip_trimmed.sql"));
    let query = query.bind(id.0).bind(epoch.0).bind(from.get()).bind(to.get());
    query.execute(&mut *tx).await.map_err(failed)?;
    tx.commit().await.map_err(failed)
}

/// See [`ConsumerStore::held_for`](crate::store::ConsumerStore::held_for).
pub(super) async fn held_for(store: &SqliteStore, id: ConsumerId) -> Result<Option<Duration>, StoreError> {
    let query = store.query("held_for", "select held_until from consumers where id = ?").bind(id.0);
    let row = query.fetch_optional(&mut *store.reader().await?).await.map_err(failed)?;
    let until = row.as_ref().map(|row| optional_time(row, "held_until")).transpose()?.flatten();
    let now = Timestamp::now();
    Ok(until.filter(|until| *until > now).map(|until| until.since(now)))
}
