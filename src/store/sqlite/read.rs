//! Reading a run of events.

use futures::TryStreamExt;
use sqlx::{Row, sqlite::SqliteRow};

use super::{
    SqliteStore,
    error::failed,
    rows::{EventReader, offset},
};
use crate::{
    domain::{Event, Offset, ReadCap, Segment, TopicId},
    store::{LogRead, StoreError},
};

/// See [`LogStore::read`](crate::store::LogStore::read). A stored run is one event here.
pub(super) async fn read(
    store: &SqliteStore,
    topic: TopicId,
    after: Offset,
    cap: ReadCap,
) -> Result<Option<LogRead>, StoreError> {
    let limit = i64::try_from(cap.events.max(1)).unwrap_or(i64::MAX);
    let mut conn = store.reader().await?;
    let query = store.query("read", include_str!("sql/read.sql")).bind(after.get()).bind(topic.0).bind(limit);
    let mut rows = query.fetch(&mut *conn);
    let Some(mut row) = rows.try_next().await.map_err(failed)? else { return Ok(None) };
    let trimmed_to = offset(&row, "trimmed_to")?;
    if is_empty(&row)? {
        return Ok(Some(LogRead { segment: None, trimmed_to }));
    }

    let mut reader = EventReader::default();
    let mut events: Vec<Event> = Vec::with_capacity(cap.events.min(1024));
    let mut bytes = 0;
    let mut expected = after.max(trimmed_to).next();
    loop {
        let event = reader.event(&row)?;
        if event.offset != expected {
            return Err(StoreError::Corrupt(format!("topic {topic} has {} where {expected} belongs", event.offset)));
        }
        expected = expected.next();
        bytes += event.body.size();
        events.push(event);
        if bytes >= cap.bytes {
            break;
        }
        match rows.try_next().await.map_err(failed)? {
            Some(next) => row = next,
            None => break,
        }
    }
    Ok(Some(LogRead { segment: Segment::new(events), trimmed_to }))
}

/// Whether the topic has no event to read, and the row only says what was trimmed.
fn is_empty(row: &SqliteRow) -> Result<bool, StoreError> {
    let offset: Option<i64> = row.try_get("offset").map_err(failed)?;
    Ok(offset.is_none())
}
