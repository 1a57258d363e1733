//! Appending a batch: one transaction, one fsync.

use std::sync::LazyLock;

use sqlx::{Row, sqlite::SqliteConnection};

use super::{
    SqliteStore,
    error::failed,
    find_ids::find_ids,
    meta::encode_meta,
    rows::{offset, time},
    values::Values,
};
use crate::{
    domain::{AppendBatch, BatchId, Bounds, Identity, Offset, Payload, PendingEvent, Timestamp, TopicId},
    store::{AppendError, Appended, StoreError},
};

/// The rows of a batch.
static EVENTS: LazyLock<Values> =
    LazyLock::new(|| Values::new("events", "topic_id, \"offset\", recorded_time, id_key, meta, payload"));

/// The rows of its ids.
static EVENT_IDS: LazyLock<Values> =
    LazyLock::new(|| Values::new("event_ids", "topic_id, id_key, \"offset\", content_hash"));

/// The log as it is before the append.
struct Log {
    bounds: Bounds,
    sealed: bool,
    /// When the newest event was recorded, even if it was trimmed.
    newest_time: Option<Timestamp>,
    /// Up to here it is packed.
    linked_to: Offset,
}

/// See [`LogStore::append`](crate::store::LogStore::append).
pub(super) async fn append(store: &SqliteStore, topic: TopicId, batch: &AppendBatch) -> Result<Appended, AppendError> {
    let mut tx = store.begin().await?;
    let log = find_log(store, &mut tx, topic).await?.ok_or(AppendError::TopicNotFound)?;
    let head = log.bounds.head;
    if head > batch.seen.head
        && let Some(earlier) = find_batch(store, &mut tx, topic, batch.id, batch.seen.head).await?
    {
        return Ok(earlier);
    }
    let keys: Vec<_> = batch.events.iter().filter_map(|event| Some(event.identity?.key)).collect();
    let known = find_ids(store, &mut tx, topic, &keys).await?;
    if !known.is_empty() {
        return Ok(Appended::Known(known));
    }
    // Where events were packed it is not known any more by which attempts they came.
    if keys.len() < batch.events.len() && log.linked_to > batch.seen.head {
        return Err(AppendError::Forgotten);
    }
    if log.sealed {
        return Err(AppendError::TopicSealed);
    }
    if batch.expected_head.is_some_and(|expected| expected != head) {
        return Err(AppendError::HeadMoved { head });
    }

    let first = head.next();
    let now = Timestamp::now();
    let recorded_time = log.newest_time.map_or(now, |newest| newest.max(now));
    insert_events(store, &mut tx, topic, first, recorded_time, &batch.events).await?;
    insert_event_ids(store, &mut tx, topic, first, &batch.events).await?;
    insert_batch(store, &mut tx, topic, first, batch).await?;
    tx.commit().await.map_err(failed)?;
    Ok(Appended::Stored { first, recorded_time })
}

async fn find_log(store: &SqliteStore, conn: &mut SqliteConnection, topic: TopicId) -> Result<Option<Log>, StoreError> {
    let query = store.query("find_log", include_str!("sql/find_log.sql")).bind(topic.0);
    let Some(row) = query.fetch_optional(conn).await.map_err(failed)? else { return Ok(None) };
    let newest_time: Option<i64> = row.try_get("newest_time").map_err(failed)?;
    Ok(Some(Log {
        bounds: Bounds { head: offset(&row, "head")?, trimmed_to: offset(&row, "trimmed_to")? },
        sealed: row.try_get("sealed").map_err(failed)?,
        newest_time: newest_time.map(time).transpose()?,
        linked_to: offset(&row, "linked_to")?,
    }))
}

/// Where a batch is that was appended after `seen`.
async fn find_batch(
    store: &SqliteStore,
    conn: &mut SqliteConnection,
    topic: TopicId,
    batch: BatchId,
    seen: Offset,
) -> Result<Option<Appended>, StoreError> {
    let query = store.query("find_batch", include_str!("sql/find_batch.sql"));
    let query = query.bind(topic.0).bind(seen.get()).bind(batch.0);
    let Some(row) = query.fetch_optional(conn).await.map_err(failed)? else { return Ok(None) };
    let recorded_time = time(row.try_get("recorded_time").map_err(failed)?)?;
    Ok(Some(Appended::Stored { first: offset(&row, "first_offset")?, recorded_time }))
}

async fn insert_events(
    store: &SqliteStore,
    conn: &mut SqliteConnection,
    topic: TopicId,
    first: Offset,
    recorded_time: Timestamp,
    events: &[PendingEvent],
) -> Result<(), StoreError> {
    EVENTS
        .insert(store, "insert_events", conn, events, |query, index, event| {
            let query = query
                .bind(topic.0)
                .bind(first.plus(index).get())
                .bind(recorded_time.micros())
                .bind(event.identity.map(|identity| identity.key.0))
                .bind(encode_meta(&event.body));
            match &event.body.payload {
                Payload::Data(data) => query.bind(&**data),
                Payload::Text(text) | Payload::Json(text) => query.bind(&**text),
            }
        })
        .await
}

async fn insert_event_ids(
    store: &SqliteStore,
    conn: &mut SqliteConnection,
    topic: TopicId,
    first: Offset,
    events: &[PendingEvent],
) -> Result<(), StoreError> {
    let given = |(index, event): (usize, &PendingEvent)| Some((first.plus(index), event.identity?));
    let mut ids: Vec<(Offset, Identity)> = events.iter().enumerate().filter_map(given).collect();
    // In the order of the index, neighbours are written together.
    ids.sort_unstable_by_key(|(_, identity)| identity.key);
    EVENT_IDS
        .insert(store, "insert_event_ids", conn, &ids, |query, _, (offset, identity)| {
            query.bind(topic.0).bind(identity.key.0).bind(offset.get()).bind(identity.content.0)
        })
        .await
}

async fn insert_batch(
    store: &SqliteStore,
    conn: &mut SqliteConnection,
    topic: TopicId,
    first: Offset,
    batch: &AppendBatch,
) -> Result<(), StoreError> {
    let last = first.plus(batch.events.len() - 1);
    let sql = "insert into batches (topic_id, last_offset, first_offset, batch) values (?, ?, ?, ?)";
    let query = store.query("insert_batch", sql).bind(topic.0).bind(last.get()).bind(first.get()).bind(batch.id.0);
    query.execute(conn).await.map_err(failed)?;
    Ok(())
}
