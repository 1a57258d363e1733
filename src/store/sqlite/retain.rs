//! Removing what a topic's retention does not keep.

use sqlx::{Row, sqlite::SqliteConnection};

use super::{
    SqliteStore,
    error::failed,
    remove::{STEP_EVENTS, oldest, remove_up_to},
    rows::offset,
    trim::whole_links,
};
use crate::{
    domain::{Offset, Timestamp, TopicId},
    store::{Removed, StoreError},
};

/// Events between two marks.
const MARK_EVENTS: i64 = 1024;
/// Marks made by one transaction: appends wait meanwhile.
const MARKS: usize = 16;

/// See [`LogStore::retain`](crate::store::LogStore::retain).
pub(super) async fn retain(store: &SqliteStore, topic: TopicId) -> Result<Removed, StoreError> {
    let mut tx = store.begin().await?;
    let sql = "select retention, retention_bytes, trimmed_to from topics where id = ?";
    let row = store.query("find_retention", sql).bind(topic.0).fetch_optional(&mut *tx).await.map_err(failed)?;
    let Some(row) = row else { return Ok(Removed::default()) };
    let retention: Option<i64> = row.try_get("retention").map_err(failed)?;
    let bytes: i64 = row.try_get("retention_bytes").map_err(failed)?;
    let trimmed_to = offset(&row, "trimmed_to")?;
    let (mut due, mut uncounted) = (trimmed_to, false);
    if let Some(retention) = retention {
        due = due.max(due_by_age(store, &mut tx, topic, retention).await?);
    }
    if bytes > 0 {
        match due_by_size(store, &mut tx, topic, trimmed_to, bytes).await? {
            Some(by_size) => due = due.max(by_size),
            None => uncounted = true,
        }
    }
    due = whole_links(store, &mut tx, topic, due).await?;
    let removed = match oldest(store, &mut tx, topic, due).await? {
        Some(last) => remove_due(store, &mut tx, topic, last).await?,
        None => Removed::default(),
    };
    tx.commit().await.map_err(failed)?;
    let more = removed.more.filter(|last| *last < due || uncounted).or(uncounted.then_some(Offset::ZERO));
    Ok(Removed { more, ..removed })
}

async fn remove_due(
    store: &SqliteStore,
    conn: &mut SqliteConnection,
    topic: TopicId,
    last: Offset,
) -> Result<Removed, StoreError> {
    let query = store.query("raise_trimmed", include_str!("sql/raise_trimmed.sql"));
    let query = query.bind(topic.0).bind(last.get()).bind(STEP_EVENTS);
    let last = offset(&query.fetch_one(&mut *conn).await.map_err(failed)?, "trimmed_to")?;
    let query = store.query("delete_sizes", include_str!("sql/delete_sizes.sql"));
    query.bind(topic.0).bind(last.get()).execute(&mut *conn).await.map_err(failed)?;
    remove_up_to(store, conn, topic, last).await
}

/// The last event that is older than `retention`, in microseconds.
async fn due_by_age(
    store: &SqliteStore,
    conn: &mut SqliteConnection,
    topic: TopicId,
    retention: i64,
) -> Result<Offset, StoreError> {
    let time = Timestamp::now().micros().saturating_sub(retention);
    let query = store.query("before_time", include_str!("sql/before_time.sql")).bind(topic.0).bind(time);
    let row = query.fetch_optional(conn).await.map_err(failed)?;
    row.map_or(Ok(Offset::ZERO), |row| offset(&row, "low"))
}

/// The last event behind which the newest `bytes` bytes lie whole. `None` if there is more to count than one
/// transaction may; what was counted is marked.
async fn due_by_size(
    store: &SqliteStore,
    conn: &mut SqliteConnection,
    topic: TopicId,
    trimmed_to: Offset,
    bytes: i64,
) -> Result<Option<Offset>, StoreError> {
    let sql = "select last_offset, total_bytes from size_marks where topic_id = ? order by last_offset desc limit 1";
    let query = store.query("newest_size", sql).bind(topic.0);
    let newest = query.fetch_optional(&mut *conn).await.map_err(failed)?;
    let (mut end, mut total) = match newest {
        Some(row) => (offset(&row, "last_offset")?, row.try_get::<i64, _>("total_bytes").map_err(failed)?),
        None => (trimmed_to, 0),
    };
    let mut marks = 0;
    loop {
        let query = store.query("count_sizes", include_str!("sql/count_sizes.sql"));
        let query = query.bind(topic.0).bind(end.max(trimmed_to).get()).bind(MARK_EVENTS);
        let part = query.fetch_one(&mut *conn).await.map_err(failed)?;
        end = offset(&part, "last_offset")?;
        total += part.try_get::<i64, _>("bytes").map_err(failed)?;
        if part.try_get::<i64, _>("events").map_err(failed)? < MARK_EVENTS {
            break;
        }
        if marks == MARKS {
            return Ok(None);
        }
        marks += 1;
        let sql = "insert into size_marks (topic_id, last_offset, total_bytes) values (?, ?, ?)";
        let query = store.query("mark_size", sql).bind(topic.0).bind(end.get()).bind(total);
        query.execute(&mut *conn).await.map_err(failed)?;
    }

    let target = total - bytes;
    let sql = "select last_offset, total_bytes from size_marks where topic_id = ? and total_bytes > ? \
               order by total_bytes limit 1";
    let query = store.query("size_beyond", sql).bind(topic.0).bind(target);
    if let Some(row) = query.fetch_optional(&mut *conn).await.map_err(failed)? {
        (end, total) = (offset(&row, "last_offset")?, row.try_get("total_bytes").map_err(failed)?);
    }
    // Downwards, since what lies below may have been trimmed; the mark before is not farther than this.
    let query = store.query("find_due", include_str!("sql/find_due.sql"));
    let query = query.bind(topic.0).bind(end.get()).bind(total).bind(target).bind(MARK_EVENTS + 2);
    let row = query.fetch_one(conn).await.map_err(failed)?;
    offset(&row, "due").map(Some)
}
