//! Who holds a consumer, and for how long.

use std::time::Duration;

use sqlx::{Row, sqlite::SqliteConnection};

use super::{
    SqliteStore,
    consumers::next_epoch,
    error::failed,
    queue,
    rows::{self, optional_time, time_of},
};
use crate::{
    domain::{Connection, Consumer, ConsumerId, Epoch, RenewedHold, SubscriptionId, Timestamp},
    store::{Claim, Hold, HoldError, StoreError},
};

/// See [`ConsumerStore::take_hold`](crate::store::ConsumerStore::take_hold).
pub(super) async fn take_hold(store: &SqliteStore, consumer: ConsumerId, claim: &Claim) -> Result<Hold, HoldError> {
    let mut tx = store.begin().await?;
    let query = store.query("find_hold", "select held_until from consumers where id = ?").bind(consumer.0);
    let row = query.fetch_optional(&mut *tx).await.map_err(failed)?.ok_or(HoldError::NotFound)?;
    let now = Timestamp::now();
    if let Some(until) = optional_time(&row, "held_until")?
        && until > now
        && !claim.take_over
    {
        return Err(HoldError::Busy { remaining: until.since(now) });
    }
    let epoch = next_epoch(store, &mut tx).await?;
    let query = store.query("take_hold", "update consumers set epoch = ?, held_until = ? where id = ? returning *");
    let query = query.bind(epoch.0).bind(now.plus(claim.lease).micros()).bind(consumer.0);
    let taken = rows::consumer(&query.fetch_one(&mut *tx).await.map_err(failed)?)?;
    // The stream that had it before serves it no longer.
    delete_connections(store, &mut tx, consumer).await?;
    add_connection(store, &mut tx, &taken, claim, now).await?;
    tx.commit().await.map_err(failed)?;
    Ok(Hold { consumer: taken })
}

async fn add_connection(
    store: &SqliteStore,
    conn: &mut SqliteConnection,
    consumer: &Consumer,
    claim: &Claim,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Claim { server, server_name, subscription, peer, take_over: _, lease: _ } = claim;
    let query = store.query("add_connection", include_str!("sql/add_connection.sql"));
    let query = query
        .bind(consumer.id.0)
        .bind(consumer.epoch.0)
        .bind(subscription.0)
        .bind(server.0)
        .bind(server_name)
        .bind(peer)
        .bind(now.micros());
    query.execute(conn).await.map_err(failed)?;
    Ok(())
}

/// See [`ConsumerStore::renew_holds`](crate::store::ConsumerStore::renew_holds).
pub(super) async fn renew_holds(
    store: &SqliteStore,
    holds: &[(ConsumerId, Epoch)],
    lease: Duration,
) -> Result<Vec<RenewedHold>, StoreError> {
    if holds.is_empty() {
        return Ok(Vec::new());
    }
    let pairs: Vec<String> = holds.iter().map(|(consumer, epoch)| format!("[{},{}]", consumer.0, epoch.0)).collect();
    let mut tx = store.begin().await?;
    let query = store.query("renew_holds", include_str!("sql/renew_holds.sql"));
    let query = query.bind(Timestamp::now().plus(lease).micros()).bind(format!("[{}]", pairs.join(",")));
    let rows = query.fetch_all(&mut *tx).await.map_err(failed)?;
    tx.commit().await.map_err(failed)?;
    let standing = |row: sqlx::sqlite::SqliteRow| -> Result<RenewedHold, StoreError> {
        let revision: i64 = row.try_get("revision").map_err(failed)?;
        Ok(RenewedHold {
            consumer: ConsumerId(row.try_get("id").map_err(failed)?),
            epoch: Epoch(row.try_get("epoch").map_err(failed)?),
            revision: revision.unsigned_abs(),
            paused: row.try_get("paused").map_err(failed)?,
        })
    };
    rows.into_iter().map(standing).collect()
}

/// See [`ConsumerStore::release_hold`](crate::store::ConsumerStore::release_hold).
pub(super) async fn release_hold(store: &SqliteStore, consumer: ConsumerId, epoch: Epoch) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    let sql = "update consumers set held_until = null where id = ? and epoch = ?";
    let query = store.query("release_hold", sql).bind(consumer.0).bind(epoch.0);
    query.execute(&mut *tx).await.map_err(failed)?;
    let sql = "delete from connections where consumer_id = ? and epoch = ?";
    let query = store.query("delete_connection", sql).bind(consumer.0).bind(epoch.0);
    query.execute(&mut *tx).await.map_err(failed)?;
    tx.commit().await.map_err(failed)
}

/// See [`ConsumerStore::clear_holds`](crate::store::ConsumerStore::clear_holds).
pub(super) async fn clear_holds(store: &SqliteStore) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    let query = store.query("clear_holds", "update consumers set held_until = null where held_until is not null");
    query.execute(&mut *tx).await.map_err(failed)?;
    store.query("clear_connections", "delete from connections").execute(&mut *tx).await.map_err(failed)?;
    queue::clear(store, &mut tx).await?;
    tx.commit().await.map_err(failed)
}

/// See [`ConsumerStore::connections`](crate::store::ConsumerStore::connections).
pub(super) async fn connections(
    store: &SqliteStore,
    consumer: ConsumerId,
    limit: usize,
) -> Result<(Vec<Connection>, usize), StoreError> {
    let query = store.query("find_connections", include_str!("sql/find_connections.sql"));
    let query = query.bind(consumer.0).bind(Timestamp::now().micros());
    let rows = query.fetch_all(&mut *store.reader().await?).await.map_err(failed)?;
    let connection = |row: &sqlx::sqlite::SqliteRow| -> Result<Connection, StoreError> {
        Ok(Connection {
            subscription: SubscriptionId(row.try_get("subscription").map_err(failed)?),
            peer: row.try_get("peer").map_err(failed)?,
            server: row.try_get("server_name").map_err(failed)?,
            connect_time: time_of(row, "connect_time")?,
        })
    };
    let listed = rows.iter().take(limit).map(connection).collect::<Result<_, _>>()?;
    Ok((listed, rows.len()))
}

/// Forgets all connections of a consumer.
pub(super) async fn delete_connections(
    store: &SqliteStore,
    conn: &mut SqliteConnection,
    consumer: ConsumerId,
) -> Result<(), StoreError> {
    let ordered = store.query("delete_connections", "delete from connections where consumer_id = ?");
    let queued = store.query("delete_queue_connections", "delete from queue_connections where consumer_id = ?");
    for delete in [ordered, queued] {
        delete.bind(consumer.0).execute(&mut *conn).await.map_err(failed)?;
    }
    Ok(())
}
