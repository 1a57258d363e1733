//! Removing events, a bounded number in each transaction: appends wait meanwhile.

use sqlx::{Row, sqlite::SqliteConnection};

use super::{SqliteStore, error::failed, rows::offset};
use crate::{
    domain::{Offset, TopicId},
    store::{Removed, StoreError},
};

/// Events removed by one transaction: about 20 ms.
pub(super) const STEP_EVENTS: i64 = 4096;
/// Bytes of payloads removed by one transaction, about.
const STEP_BYTES: i64 = 16 << 20;

/// See [`TopicStore::remove_deleted`](crate::store::TopicStore::remove_deleted).
pub(super) async fn remove_deleted(store: &SqliteStore, topic: TopicId) -> Result<Removed, StoreError> {
    let mut tx = store.begin().await?;
    let query = store.query("topic_deleted", "select 1 from deleted_topics where id = ?").bind(topic.0);
    if query.fetch_optional(&mut *tx).await.map_err(failed)?.is_none() {
        return Ok(Removed::default());
    }
    let removed = match oldest(store, &mut tx, topic, Offset::MAX).await? {
        Some(last) => remove_up_to(store, &mut tx, topic, last).await?,
        None => {
            let topics = store.query("forget_topic", "delete from deleted_topics where id = ?");
            let sizes = store.query("forget_sizes", "delete from size_marks where topic_id = ?");
            let links = store.query("forget_links", "delete from links where topic_id = ?");
            for delete in [topics, sizes, links] {
                delete.bind(topic.0).execute(&mut *tx).await.map_err(failed)?;
            }
            Removed::default()
        }
    };
    tx.commit().await.map_err(failed)?;
    Ok(removed)
}

/// The last of the oldest events up to `up_to` that one transaction may remove; `None` if there are none.
pub(super) async fn oldest(
    store: &SqliteStore,
    conn: &mut SqliteConnection,
    topic: TopicId,
    up_to: Offset,
) -> Result<Option<Offset>, StoreError> {
    let query = store.query("oldest_events", include_str!("sql/oldest_events.sql"));
    let query = query.bind(topic.0).bind(up_to.get()).bind(STEP_EVENTS).bind(STEP_BYTES);
    let row = query.fetch_one(conn).await.map_err(failed)?;
    match row.try_get::<i64, _>("events").map_err(failed)? {
        0 => Ok(None),
        _ => offset(&row, "last").map(Some),
    }
}

/// Removes events with their ids, batches and links; they must be trimmed, or their topic deleted.
pub(super) async fn remove_up_to(
    store: &SqliteStore,
    conn: &mut SqliteConnection,
    topic: TopicId,
    last: Offset,
) -> Result<Removed, StoreError> {
    let delete_ids = store.query("delete_event_ids", include_str!("sql/delete_event_ids.sql"));
    let delete_events = store.query("delete_events", "delete from events where topic_id = ? and \"offset\" <= ?");
    let delete_batches = store.query("delete_batches", "delete from batches where topic_id = ? and last_offset <= ?");
    let delete_links = store.query("delete_links", include_str!("sql/delete_links.sql"));
    let mut counts = [0; 4];
    let deletes = [delete_ids, delete_events, delete_batches, delete_links];
    for (delete, count) in deletes.into_iter().zip(&mut counts) {
        let done = delete.bind(topic.0).bind(last.get()).execute(&mut *conn).await.map_err(failed)?;
        *count = done.rows_affected();
    }
    let [_, events, batches, links] = counts;
    Ok(Removed { events, segments: batches + links, more: Some(last) })
}
