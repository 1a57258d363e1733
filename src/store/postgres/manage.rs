//! Changing, moving and pausing consumers.

use std::time::Duration;

use sqlx::{postgres::PgRow, types::Json};

use super::{
    PostgresStore,
    rows::{self, StoredFilter},
};
use crate::{
    domain::{Consumer, ConsumerChange, ConsumerId, ConsumerName, Epoch, Offset},
    store::StoreError,
};

fn consumer(row: Option<PgRow>) -> Result<Option<Consumer>, StoreError> {
    row.as_ref().map(rows::consumer).transpose()
}

/// Changes a consumer: see [`ConsumerStore::update_consumer`](crate::store::ConsumerStore::update_consumer).
pub(super) async fn update(
    store: &PostgresStore,
    name: &ConsumerName,
    change: &ConsumerChange,
) -> Result<Option<Consumer>, StoreError> {
    let ConsumerChange { filter, lease, backoff, max_attempts, max_in_flight } = change;
    let pauses = |backoff: &Vec<Duration>| backoff.iter().map(|&pause| rows::to_micros(pause)).collect::<Vec<_>>();
    let statement = sqlx::query(include_str!("sql/update_consumer.sql"))
        .bind(name.as_str())
        .bind(filter.as_ref().map(|filter| Json(StoredFilter::of(filter))))
        .bind(lease.map(rows::to_micros))
        .bind(backoff.as_ref().map(pauses))
        .bind(max_attempts.map(i64::from))
        .bind(max_in_flight.map(i64::from));
    consumer(store.control.optional("update_consumer", statement).await?)
}

/// Pauses a consumer: see [`ConsumerStore::pause_consumer`](crate::store::ConsumerStore::pause_consumer).
pub(super) async fn pause(
    store: &PostgresStore,
    name: &ConsumerName,
    paused: bool,
) -> Result<Option<Consumer>, StoreError> {
    let sql = "select (s.c).* from (select eventflow.pause_consumer_v1($1, $2) as c) s where (s.c).id is not null";
    consumer(store.control.optional("pause_consumer", sqlx::query(sql).bind(name.as_str()).bind(paused)).await?)
}

/// Moves a consumer: see [`ConsumerStore::seek_consumer`](crate::store::ConsumerStore::seek_consumer).
pub(super) async fn seek(
    store: &PostgresStore,
    id: ConsumerId,
    offset: Offset,
) -> Result<Option<Consumer>, StoreError> {
    let statement = sqlx::query(include_str!("sql/seek_consumer.sql")).bind(id.0).bind(offset.get());
    consumer(store.control.optional("seek_consumer", statement).await?)
}

/// Counts trimmed events: see [`ConsumerStore::skip_trimmed`](crate::store::ConsumerStore::skip_trimmed).
pub(super) async fn skip_trimmed(
    store: &PostgresStore,
    id: ConsumerId,
    epoch: Epoch,
    from: Offset,
    to: Offset,
) -> Result<(), StoreError> {
    let statement = sqlx::query(include_str!("sql/skip_trimmed.sql"));
    let statement = statement.bind(id.0).bind(epoch.0).bind(from.get()).bind(to.get());
    store.control.execute("skip_trimmed", statement).await.map(drop)
}

/// How long a hold lasts: see [`ConsumerStore::held_for`](crate::store::ConsumerStore::held_for).
pub(super) async fn held_for(store: &PostgresStore, id: ConsumerId) -> Result<Option<Duration>, StoreError> {
    let sql = "select ceil(extract(epoch from hold_until - clock_timestamp()) * 1000000)::bigint as remaining_us
        from eventflow.consumers
        where id = $1 and hold_subscription is not null and hold_until > clock_timestamp()";
    let held = store.control.optional("held_for", sqlx::query(sql).bind(id.0)).await?;
    // The clock went on between its two readings.
    held.map(|row| rows::to_duration(rows::get::<i64>(&row, "remaining_us")?.max(1))).transpose()
}
