//! Dead letters: listing them, delivering them again, forgetting them.

use sqlx::{
    Row,
    sqlite::{SqliteConnection, SqliteRow},
};

use super::{
    super::{SqliteStore, error::failed, rows, settings::json},
    state::Queue,
};
use crate::{
    domain::{ConsumerId, DeadCause, DeadLetter, DeadLetters, Moved, Offset},
    store::StoreError,
};

/// See [`QueueStore::dead_letters`](crate::store::QueueStore::dead_letters).
pub(super) async fn list(
    store: &SqliteStore,
    consumer: ConsumerId,
    after: Offset,
    limit: usize,
) -> Result<Vec<DeadLetter>, StoreError> {
    let sql = "select * from dead_letters where consumer_id = ? and \"offset\" > ? order by \"offset\" limit ?";
    let query = store.query("dead_letters", sql).bind(consumer.0).bind(after.get()).bind(to_limit(limit));
    query.fetch_all(&mut *store.reader().await?).await.map_err(failed)?.iter().map(dead_letter).collect()
}

fn dead_letter(row: &SqliteRow) -> Result<DeadLetter, StoreError> {
    let cause = |name: &str| match name {
        "max_attempts" => Ok(DeadCause::MaxAttempts),
        "rejected" => Ok(DeadCause::Rejected),
        "trimmed" => Ok(DeadCause::Trimmed),
        other => Err(format!("{other:?} is no cause of a dead letter")),
    };
    Ok(DeadLetter {
        offset: rows::offset(row, "offset")?,
        key: row.try_get("key").map_err(failed)?,
        attempts: row.try_get("attempts").map_err(failed)?,
        error: row.try_get("error").map_err(failed)?,
        cause: rows::parsed(row, "cause", cause)?,
        first_sent: rows::optional_time(row, "first_sent")?,
        last_sent: rows::optional_time(row, "last_sent")?,
        dead_time: rows::time_of(row, "dead_time")?,
    })
}

/// See [`QueueStore::redrive`](crate::store::QueueStore::redrive).
pub(super) async fn redrive(
    store: &SqliteStore,
    consumer: ConsumerId,
    which: &DeadLetters,
    limit: usize,
    validate_only: bool,
) -> Result<Moved, StoreError> {
    let mut tx = store.begin().await?;
    let Some(queue) = Queue::find(store, &mut tx, consumer).await? else { return Ok(NOTHING) };
    let chosen = Chosen::find(store, &mut tx, consumer, which, limit).await?;
    if !validate_only && chosen.moved.changed > 0 {
        let query = store.query("redrive", include_str!("../sql/redrive.sql"));
        let query = query.bind(consumer.0).bind(json(&chosen.offsets)).bind(queue.now.micros());
        query.bind(queue.dispatched.get()).execute(&mut *tx).await.map_err(failed)?;
        queue.free(&mut tx, chosen.keys.iter().copied()).await?;
        chosen.forget(store, &mut tx, consumer).await?;
        tx.commit().await.map_err(failed)?;
    }
    Ok(chosen.moved)
}

/// See [`QueueStore::discard`](crate::store::QueueStore::discard).
pub(super) async fn discard(
    store: &SqliteStore,
    consumer: ConsumerId,
    which: &DeadLetters,
    limit: usize,
    validate_only: bool,
) -> Result<Moved, StoreError> {
    let mut tx = store.begin().await?;
    if Queue::find(store, &mut tx, consumer).await?.is_none() {
        return Ok(NOTHING);
    }
    let chosen = Chosen::find(store, &mut tx, consumer, which, limit).await?;
    if !validate_only && chosen.moved.changed > 0 {
        chosen.forget(store, &mut tx, consumer).await?;
        tx.commit().await.map_err(failed)?;
    }
    Ok(chosen.moved)
}

const NOTHING: Moved = Moved { changed: 0, remaining: 0 };

/// Dead letters that are to be changed.
struct Chosen {
    offsets: Vec<i64>,
    keys: Vec<i64>,
    moved: Moved,
}

impl Chosen {
    async fn find(
        store: &SqliteStore,
        conn: &mut SqliteConnection,
        consumer: ConsumerId,
        which: &DeadLetters,
        limit: usize,
    ) -> Result<Self, StoreError> {
        let wanted = match which {
            DeadLetters::All => None,
            DeadLetters::Of(offsets) => Some(json(&offsets.iter().map(|offset| offset.get()).collect::<Vec<_>>())),
        };
        // Each row carries how many there are, so that one is needed even if none is wanted.
        let query = store.query("find_dead", include_str!("../sql/find_dead.sql")).bind(consumer.0);
        let rows = query.bind(wanted).bind(to_limit(limit.max(1))).fetch_all(conn).await.map_err(failed)?;
        let total: i64 = rows.first().map_or(Ok(0), |row| row.try_get("total")).map_err(failed)?;
        let (mut offsets, mut keys) = (Vec::new(), Vec::new());
        for row in rows.iter().take(limit) {
            offsets.push(row.try_get("offset").map_err(failed)?);
            keys.extend(row.try_get::<Option<i64>, _>("key_hash").map_err(failed)?);
        }
        let changed = offsets.len() as u64;
        let moved = Moved { changed, remaining: total.unsigned_abs().saturating_sub(changed) };
        Ok(Self { offsets, keys, moved })
    }

    async fn forget(
        &self,
        store: &SqliteStore,
        conn: &mut SqliteConnection,
        consumer: ConsumerId,
    ) -> Result<(), StoreError> {
        let sql = "delete from dead_letters where consumer_id = ?1 and \"offset\" in (select value from json_each(?2))";
        let query = store.query("forget_dead", sql).bind(consumer.0).bind(json(&self.offsets));
        query.execute(conn).await.map_err(failed)?;
        Ok(())
    }
}

fn to_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
