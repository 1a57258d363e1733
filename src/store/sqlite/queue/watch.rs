//! Where consumers are, and what need not be kept of them.

use std::time::Duration;

use sqlx::{Row, sqlite::SqliteRow};

use super::super::{SqliteStore, error::failed, rows, settings::json};
use crate::{
    domain::{ConsumerId, QueueStatus, Timestamp},
    store::StoreError,
};

/// How long the streams of servers that were killed are kept.
const CONNECTIONS_AGE: Duration = Duration::from_secs(3600);

/// See [`QueueStore::queue_status`](crate::store::QueueStore::queue_status).
pub(super) async fn status(store: &SqliteStore, consumers: &[ConsumerId]) -> Result<Vec<QueueStatus>, StoreError> {
    let consumers: Vec<_> = consumers.iter().map(|consumer| consumer.0).collect();
    let query = store.query("queue_status", include_str!("../sql/queue_status.sql"));
    let query = query.bind(json(&consumers)).bind(Timestamp::now().micros()).bind(store.alive());
    let rows = query.fetch_all(&mut *store.reader().await?).await.map_err(failed)?;
    let number = |row: &SqliteRow, column| row.try_get::<i64, _>(column).map(i64::unsigned_abs).map_err(failed);
    let status = |row: &SqliteRow| -> Result<QueueStatus, StoreError> {
        let over = number(row, "over")?;
        Ok(QueueStatus {
            consumer: ConsumerId(row.try_get("id").map_err(failed)?),
            position: rows::offset(row, "position")?,
            in_flight: number(row, "leased")?.saturating_sub(over),
            retrying: number(row, "failed")? + over,
            dead_letters: number(row, "dead_letters")?,
        })
    };
    rows.iter().map(status).collect()
}

/// See [`QueueStore::sweep_queues`](crate::store::QueueStore::sweep_queues).
pub(super) async fn sweep(store: &SqliteStore, limit: usize) -> Result<bool, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let now = Timestamp::now();
    let mut tx = store.begin().await?;
    let steps = [
        store.query("sweep_lease_events", include_str!("../sql/sweep_lease_events.sql")).bind(now.micros()).bind(limit),
        store.query("sweep_leases", include_str!("../sql/sweep_leases.sql")).bind(now.micros()).bind(limit),
        store.query("sweep_events", include_str!("../sql/sweep_events.sql")).bind(limit),
        store.query("sweep_dead", include_str!("../sql/sweep_dead.sql")).bind(limit),
    ];
    let mut more = false;
    for step in steps {
        let removed = step.execute(&mut *tx).await.map_err(failed)?.rows_affected();
        more |= i64::try_from(removed).is_ok_and(|removed| removed >= limit);
    }
    if !more {
        let query = store.query("forget_consumers", "delete from deleted_consumers");
        query.execute(&mut *tx).await.map_err(failed)?;
    }
    let query = store.query("sweep_connections", "delete from queue_connections where until < ?");
    let query = query.bind(now.minus(CONNECTIONS_AGE).micros());
    query.execute(&mut *tx).await.map_err(failed)?;
    tx.commit().await.map_err(failed)?;
    Ok(more)
}
