//! Reads a run of events: stored segments, one row each, into one segment in memory.

use bytestring::ByteString;
use sqlx::postgres::PgRow;

use super::{
    PostgresStore,
    columns::Elements,
    errors::corrupt,
    meta::{Meta, UsualSource},
    rows,
};
use crate::{
    domain::{Attributes, Event, EventBody, Offset, Payload, ReadCap, Segment, Timestamp, TopicId},
    store::{Fetched, LogRead, Picked, StoreError},
};

/// Reads events: see [`LogStore::fetch`](crate::store::LogStore::fetch).
pub(super) async fn fetch(
    store: &PostgresStore,
    topic: TopicId,
    after: Offset,
    cap: ReadCap,
) -> Result<Option<Fetched>, StoreError> {
    let statement = sqlx::query(include_str!("sql/read.sql"))
        .bind(topic.0)
        .bind(after.get())
        .bind(i64::try_from(cap.events).unwrap_or(i64::MAX))
        .bind(i64::try_from(cap.bytes).unwrap_or(i64::MAX));
    let found = store.reads.all("read", statement).await?;
    let Some(first) = found.first() else { return Ok(None) };
    let trimmed_to = rows::offset(first, "trimmed_to")?;
    if rows::get::<Option<i64>>(first, "last_offset")?.is_none() {
        return Ok(Some(Fetched { last: None, trimmed_to, more: false, events: Box::new(|| Ok(None)) }));
    }
    // Of whole segments, as the statement counts them: what is dropped from the first one counts too.
    let (mut events, mut bytes, mut last) = (0, 0, Offset::ZERO);
    for row in &found {
        last = rows::offset(row, "last_offset")?;
        events += last.since(rows::offset(row, "first_offset")?) as usize + 1;
        bytes += usize::try_from(rows::get::<i32>(row, "bytes")?).unwrap_or(0);
    }
    let more = events >= cap.events || bytes >= cap.bytes;
    let after = after.max(trimmed_to);
    Ok(Some(Fetched { last: Some(last), trimmed_to, more, events: Box::new(move || segment(after, &found)) }))
}

/// Reads events backwards: see [`LogStore::read_back`](crate::store::LogStore::read_back).
pub(super) async fn read_back(
    store: &PostgresStore,
    topic: TopicId,
    up_to: Offset,
    cap: ReadCap,
) -> Result<Option<LogRead>, StoreError> {
    let statement = sqlx::query(include_str!("sql/read_back.sql"))
        .bind(topic.0)
        .bind(up_to.get())
        .bind(i64::try_from(cap.events).unwrap_or(i64::MAX))
        .bind(i64::try_from(cap.bytes).unwrap_or(i64::MAX));
    let found = store.reads.all("read_back", statement).await?;
    let Some(oldest) = found.first() else { return Ok(None) };
    let trimmed_to = rows::offset(oldest, "trimmed_to")?;
    if rows::get::<Option<i64>>(oldest, "last_offset")?.is_none() {
        return Ok(Some(LogRead { segment: None, trimmed_to, more: false }));
    }
    let first = rows::offset(oldest, "first_offset")?.previous().max(trimmed_to);
    let mut run = Run::new(first, up_to);
    for row in &found {
        run.take(row)?;
    }
    Ok(Some(LogRead { segment: Segment::new(run.events), trimmed_to, more: first > trimmed_to }))
}

/// Picks events: see [`LogStore::pick`](crate::store::LogStore::pick).
pub(super) async fn pick(
    store: &PostgresStore,
    topic: TopicId,
    offsets: &[Offset],
    bytes: usize,
) -> Result<Option<Picked>, StoreError> {
    let statement = sqlx::query(include_str!("sql/pick.sql"))
        .bind(topic.0)
        .bind(offsets.iter().map(|offset| offset.get()).collect::<Vec<_>>())
        .bind(i64::try_from(bytes).unwrap_or(i64::MAX));
    let found = store.reads.all("pick", statement).await?;
    let Some(first) = found.first() else { return Ok(None) };
    let trimmed_to = rows::offset(first, "trimmed_to")?;
    let mut picked = Picked { events: Vec::new(), up_to: Offset::MAX, trimmed_to };
    let mut usual = UsualSource::default();
    for row in &found {
        let Some(last) = rows::get::<Option<i64>>(row, "last_offset")?.map(rows::to_offset).transpose()? else {
            break;
        };
        let first = rows::offset(row, "first_offset")?;
        let mut columns = Columns::of(row)?;
        for place in 0..columns.count()? {
            let (recorded_time, body) = columns.next(&mut usual)?;
            let offset = first.plus(place);
            if offset > trimmed_to && offsets.binary_search(&offset).is_ok() {
                picked.events.push(Event::new(offset, recorded_time, body));
            }
        }
        picked.up_to = if rows::get(row, "more")? { last } else { Offset::MAX };
    }
    Ok(Some(picked))
}

/// The events after an offset of stored segments, of which the first begins there or before.
pub(super) fn segment(after: Offset, found: &[PgRow]) -> Result<Option<Segment>, StoreError> {
    let mut run = Run::new(after, Offset::MAX);
    for row in found {
        run.take(row)?;
    }
    Ok(Segment::new(run.events))
}

/// Events as they are put together from segments.
struct Run {
    /// The last offset taken, or before the first to be taken.
    position: Offset,
    /// The last offset to be taken.
    up_to: Offset,
    events: Vec<Event>,
    usual: UsualSource,
}

impl Run {
    fn new(position: Offset, up_to: Offset) -> Self {
        Self { position, up_to, events: Vec::new(), usual: UsualSource::default() }
    }

    /// Takes the events after the position from a stored segment, which must begin there or before.
    fn take(&mut self, row: &PgRow) -> Result<(), StoreError> {
        let (first, last) = (rows::offset(row, "first_offset")?, rows::offset(row, "last_offset")?);
        let expected = self.position.next();
        let mut columns = Columns::of(row)?;
        let count = columns.count()?;
        if first > expected || last < expected || first.plus(count) != last.next() {
            let problem = format!("segment {first} to {last} of {count} events, where {expected} should be");
            return Err(corrupt(problem));
        }
        self.events.reserve(count);
        for place in 0..count {
            let (recorded_time, body) = columns.next(&mut self.usual)?;
            let offset = first.plus(place);
            if offset > self.position && offset <= self.up_to {
                self.events.push(Event::new(offset, recorded_time, body));
            }
        }
        self.position = last;
        Ok(())
    }
}

/// A stored segment, event by event.
struct Columns {
    recorded_time: Timestamp,
    recorded_times: Option<Elements>,
    ids: Elements,
    types: Elements,
    keys: Elements,
    times: Option<Elements>,
    producers: Elements,
    metas: Option<Elements>,
    payloads: Elements,
}

impl Columns {
    fn of(row: &PgRow) -> Result<Self, StoreError> {
        Ok(Self {
            recorded_time: rows::time(row, "recorded_time")?,
            recorded_times: Elements::of(row, "recorded_times")?,
            ids: Elements::required(row, "ids")?,
            types: Elements::required(row, "types")?,
            keys: Elements::required(row, "keys")?,
            times: Elements::of(row, "times")?,
            producers: Elements::required(row, "producers")?,
            metas: Elements::of(row, "metas")?,
            payloads: Elements::required(row, "payloads")?,
        })
    }

    /// How many events there are; all columns must agree.
    fn count(&self) -> Result<usize, StoreError> {
        let Self { recorded_time: _, recorded_times, ids, types, keys, times, producers, metas, payloads } = self;
        let count = ids.len();
        let optional = [recorded_times, times, metas].into_iter().flatten();
        if [types, keys, producers, payloads].into_iter().chain(optional).all(|column| column.len() == count) {
            Ok(count)
        } else {
            Err(corrupt("the columns of a segment differ in length"))
        }
    }

    /// The next event, with when it was recorded.
    fn next(&mut self, usual: &mut UsualSource) -> Result<(Timestamp, EventBody), StoreError> {
        let recorded_time = match &mut self.recorded_times {
            Some(times) => times.time()?.ok_or_else(|| corrupt("an event was never recorded"))?,
            None => self.recorded_time,
        };
        let meta: Option<Meta<'_>> = self.metas.as_mut().map(Elements::json).transpose()?.flatten();
        let body = EventBody {
            r#type: self.types.text()?,
            key: self.keys.text()?,
            id: self.ids.text()?,
            time: self.times.as_mut().map(Elements::time).transpose()?.flatten(),
            producer: self.producers.text()?,
            payload: Payload::Data(self.payloads.bytes()?),
            source: ByteString::new(),
            content_type: ByteString::new(),
            attributes: Attributes::new(),
            correlation_id: ByteString::new(),
            causation_id: ByteString::new(),
        };
        Ok((recorded_time, meta.unwrap_or_default().complete(usual, body)?))
    }
}
