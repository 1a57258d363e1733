//! Reading a run of events.

use futures::TryStreamExt;
use sqlx::{Row, sqlite::SqliteRow};

use super::{
    SqliteStore,
    error::{corrupt, failed},
    meta::MetaReader,
    rows::{offset, payload, time_of},
    settings::json,
};
use crate::{
    domain::{Event, Offset, ReadCap, Segment, TopicId},
    store::{Fetched, LogRead, Picked, StoreError},
};

/// See [`LogStore::fetch`](crate::store::LogStore::fetch). A stored run is one event here, decoded as it comes.
pub(super) async fn fetch(
    store: &SqliteStore,
    topic: TopicId,
    after: Offset,
    cap: ReadCap,
) -> Result<Option<Fetched>, StoreError> {
    let limit = i64::try_from(cap.events.max(1)).unwrap_or(i64::MAX);
    let mut conn = store.reader().await?;
    let query = store.query("read", include_str!("sql/read.sql"));
    let mut rows = query.bind(topic.0).bind(after.get()).bind(limit).fetch(&mut *conn);
    let Some(trimmed) = rows.try_next().await.map_err(failed)? else { return Ok(None) };
    let trimmed_to = offset(&trimmed, "offset")?;

    let mut meta = MetaReader::default();
    let mut events: Vec<Event> = Vec::new();
    let mut bytes = 0;
    let mut expected = after.max(trimmed_to).next();
    while let Some(row) = rows.try_next().await.map_err(failed)? {
        let event = event(&row, &mut meta)?;
        if event.offset != expected {
            return Err(corrupt(format!("topic {topic} has {} where {expected} belongs", event.offset)));
        }
        expected = expected.next();
        bytes += event.body.size();
        events.push(event);
        if bytes >= cap.bytes {
            break;
        }
    }
    let more = events.len() >= cap.events || bytes >= cap.bytes;
    let last = events.last().map(|event| event.offset);
    Ok(Some(Fetched { last, trimmed_to, more, events: Box::new(|| Ok(Segment::new(events))) }))
}

/// See [`LogStore::read_back`](crate::store::LogStore::read_back).
pub(super) async fn read_back(
    store: &SqliteStore,
    topic: TopicId,
    up_to: Offset,
    cap: ReadCap,
) -> Result<Option<LogRead>, StoreError> {
    let limit = i64::try_from(cap.events.max(1)).unwrap_or(i64::MAX);
    let mut conn = store.reader().await?;
    let query = store.query("read_back", include_str!("sql/read_back.sql"));
    let mut rows = query.bind(topic.0).bind(up_to.get()).bind(limit).fetch(&mut *conn);
    let Some(trimmed) = rows.try_next().await.map_err(failed)? else { return Ok(None) };
    let trimmed_to = offset(&trimmed, "offset")?;

    let mut meta = MetaReader::default();
    let mut events: Vec<Event> = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.try_next().await.map_err(failed)? {
        let event = event(&row, &mut meta)?;
        if let Some(later) = events.last()
            && event.offset.next() != later.offset
        {
            return Err(corrupt(format!("topic {topic} has {} right before {}", event.offset, later.offset)));
        }
        bytes += event.body.size();
        events.push(event);
        if bytes >= cap.bytes {
            break;
        }
    }
    events.reverse();
    let more = events.first().is_some_and(|oldest| oldest.offset.previous() > trimmed_to);
    Ok(Some(LogRead { segment: Segment::new(events), trimmed_to, more }))
}

/// See [`LogStore::pick`](crate::store::LogStore::pick).
pub(super) async fn pick(
    store: &SqliteStore,
    topic: TopicId,
    offsets: &[Offset],
    bytes: usize,
) -> Result<Option<Picked>, StoreError> {
    let wanted: Vec<_> = offsets.iter().map(|offset| offset.get()).collect();
    let mut conn = store.reader().await?;
    let query = store.query("pick", include_str!("sql/pick.sql")).bind(topic.0).bind(json(&wanted));
    let mut rows = query.fetch(&mut *conn);
    let Some(trimmed) = rows.try_next().await.map_err(failed)? else { return Ok(None) };
    let mut picked = Picked { events: Vec::new(), up_to: Offset::MAX, trimmed_to: offset(&trimmed, "offset")? };
    let mut meta = MetaReader::default();
    let mut taken = 0;
    while let Some(row) = rows.try_next().await.map_err(failed)? {
        let event = event(&row, &mut meta)?;
        taken += event.body.size();
        let last = event.offset;
        picked.events.push(event);
        if taken >= bytes {
            picked.up_to = last;
            break;
        }
    }
    Ok(Some(picked))
}

/// An event, of its columns.
pub(super) fn event(row: &SqliteRow, reader: &mut MetaReader) -> Result<Event, StoreError> {
    let meta: &str = row.try_get("meta").map_err(failed)?;
    let body = reader.body(meta, payload(row, "payload")?)?;
    Ok(Event::new(offset(row, "offset")?, time_of(row, "recorded_time")?, body))
}
