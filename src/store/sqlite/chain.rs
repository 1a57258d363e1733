//! Packing, and the links of what was packed. Here each event is a row as before: only what names the appends
//! goes, and events that share a link are trimmed together.

use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use sqlx::{
    Row,
    sqlite::{SqliteConnection, SqliteRow},
};

use super::{
    SqliteStore,
    error::{corrupt, failed},
    meta::MetaReader,
    read::event,
    rows::{hash, offset, to_offset},
};
use crate::{
    domain::{ChainEnd, ChainHash, Event, Link, LogId, Offset, Segment, Timestamp, TopicId, limits},
    store::{Chain, ChainStore, PackRule, PackRun, Packing, StoreError},
};

/// Bytes of an event that is packed alone.
const ALONE_BYTES: usize = limits::SEGMENT_BYTES / 4;

#[async_trait]
impl ChainStore for SqliteStore {
    async fn unpacked_topics(&self, after: TopicId, age: Duration, limit: usize) -> Result<Vec<TopicId>, StoreError> {
        let query = self.query("unpacked_topics", include_str!("sql/unpacked_topics.sql"));
        let query = query.bind(after.0).bind(Timestamp::now().minus(age).micros());
        let query = query.bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.fetch_all(&mut *self.reader().await?).await.map_err(failed)?;
        rows.iter().map(|row| row.try_get("id").map(TopicId).map_err(failed)).collect()
    }

    async fn find_run(&self, topic: TopicId, rule: PackRule) -> Result<Option<PackRun>, StoreError> {
        let mut conn = self.reader().await?;
        let Some(place) = find_place(self, &mut conn, topic).await? else { return Ok(None) };
        let mut filling = Filling::new(rule, place.retention);
        let query = self.query("find_run", include_str!("sql/find_run.sql"));
        let query = query.bind(topic.0).bind(place.after().get()).bind(limits::SEGMENT_EVENTS as i64);
        let mut rows = query.fetch(&mut *conn);
        let mut meta = MetaReader::default();
        while !filling.ended
            && let Some(row) = rows.try_next().await.map_err(failed)?
        {
            filling.offer(event(&row, &mut meta)?);
        }
        if !filling.closed {
            return Ok(None);
        }
        let (runs, bytes) = (filling.events.len(), filling.bytes);
        let segment = consecutive(place.after(), filling.events)?;
        Ok(segment.map(|segment| PackRun { log_id: place.log_id, chain: place.chain, segment, runs, bytes }))
    }

    async fn pack(&self, topic: TopicId, run: &PackRun, link: &Link) -> Result<Packing, StoreError> {
        let mut tx = self.begin().await?;
        let Some(place) = find_place(self, &mut tx, topic).await? else { return Ok(Packing::Moved) };
        let is_of_run = (link.first, link.last) == (run.segment.first(), run.segment.last());
        let is_next = (place.log_id, place.chain, place.after().next()) == (link.log_id, run.chain, link.first);
        if !is_of_run || !is_next {
            return Ok(Packing::Moved);
        }
        let count = "select count(*) as events from events where topic_id = ? and \"offset\" between ? and ?";
        let query = self.query("count_events", count).bind(topic.0).bind(link.first.get()).bind(link.last.get());
        let row = query.fetch_one(&mut *tx).await.map_err(failed)?;
        if row.try_get::<i64, _>("events").map_err(failed)?.unsigned_abs() != link.last.since(link.first.previous()) {
            return Ok(Packing::Moved);
        }
        let query = self.query("add_link", include_str!("sql/add_link.sql"));
        let query = query.bind(topic.0).bind(link.first.get()).bind(link.last.get()).bind(link.log_id.0);
        let query = query.bind(link.version).bind(link.hash.0.as_slice()).bind(Timestamp::now().micros());
        query.execute(&mut *tx).await.map_err(failed)?;
        let delete = "delete from batches where topic_id = ? and last_offset <= ?";
        let query = self.query("delete_batches", delete).bind(topic.0).bind(link.last.get());
        query.execute(&mut *tx).await.map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        Ok(Packing::Packed)
    }

    async fn links(&self, topic: TopicId, after: Offset, limit: usize) -> Result<Option<Chain>, StoreError> {
        let query = self.query("links", include_str!("sql/links.sql")).bind(topic.0).bind(after.get());
        let query = query.bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.fetch_all(&mut *self.reader().await?).await.map_err(failed)?;
        let Some(row) = rows.first() else { return Ok(None) };
        let linked_to = to_offset(row.try_get::<Option<i64>, _>("linked_to").map_err(failed)?.unwrap_or(0))?;
        let mut links = Vec::new();
        if linked_to > Offset::ZERO {
            links = rows.iter().map(link).collect::<Result<_, _>>()?;
        }
        let ends = [offset(row, "trimmed_to")?, offset(row, "head")?, linked_to];
        let log_id = LogId(row.try_get("topic_log_id").map_err(failed)?);
        Ok(Some(Chain::new(log_id, ends, after, links)))
    }
}

/// Where the packing of a topic goes on.
struct Place {
    log_id: LogId,
    trimmed_to: Offset,
    chain: ChainEnd,
    retention: Option<Duration>,
}

impl Place {
    /// The offset before the first event to be packed.
    fn after(&self) -> Offset {
        self.chain.offset.max(self.trimmed_to)
    }
}

async fn find_place(
    store: &SqliteStore,
    conn: &mut SqliteConnection,
    topic: TopicId,
) -> Result<Option<Place>, StoreError> {
    let query = store.query("find_chain", include_str!("sql/find_chain.sql")).bind(topic.0);
    let Some(row) = query.fetch_optional(conn).await.map_err(failed)? else { return Ok(None) };
    let chain = match row.try_get::<Option<i64>, _>("linked_to").map_err(failed)? {
        Some(linked_to) => ChainEnd { offset: to_offset(linked_to)?, hash: ChainHash(hash(&row, "hash")?) },
        None => ChainEnd { offset: Offset::ZERO, hash: ChainHash::NONE },
    };
    let retention: Option<i64> = row.try_get("retention").map_err(failed)?;
    Ok(Some(Place {
        log_id: LogId(row.try_get("log_id").map_err(failed)?),
        trimmed_to: offset(&row, "trimmed_to")?,
        chain,
        retention: retention.map(|micros| Duration::from_micros(micros.unsigned_abs())),
    }))
}

/// Events that share a link, as they are found one after the other.
struct Filling {
    /// What was recorded before may be packed.
    old: Timestamp,
    span: Duration,
    events: Vec<Event>,
    bytes: usize,
    /// Nothing can be added any more.
    closed: bool,
    /// No further event is looked at.
    ended: bool,
}

impl Filling {
    fn new(rule: PackRule, retention: Option<Duration>) -> Self {
        let span = retention.map_or(rule.span, |retention| rule.span.min(retention / 10));
        let old = Timestamp::now().minus(rule.age);
        Self { old, span, events: Vec::new(), bytes: 0, closed: false, ended: false }
    }

    fn offer(&mut self, event: Event) {
        let (recorded, bytes) = (event.recorded_time, event.body.size());
        let alone = bytes >= ALONE_BYTES;
        match self.events.first() {
            None => self.closed = recorded < self.old && (alone || recorded < self.old.minus(self.span)),
            Some(first) => {
                let fits = !alone && self.bytes + bytes <= limits::SEGMENT_BYTES;
                if !fits || recorded > first.recorded_time.plus(self.span) {
                    (self.closed, self.ended) = (true, true);
                    return;
                }
            }
        }
        if recorded >= self.old {
            self.ended = true;
            return;
        }
        self.bytes += bytes;
        self.events.push(event);
        self.ended = alone || self.events.len() >= limits::SEGMENT_EVENTS || self.bytes >= limits::SEGMENT_BYTES;
        self.closed |= self.ended;
    }
}

/// Events as a segment, if they follow `after` and each other.
fn consecutive(after: Offset, events: Vec<Event>) -> Result<Option<Segment>, StoreError> {
    let wrong = (0..).zip(&events).find(|(place, event)| event.offset != after.next().plus(*place));
    match wrong {
        Some((_, event)) => Err(corrupt(format!("{} is not where it belongs after {after}", event.offset))),
        None => Ok(Segment::new(events)),
    }
}

fn link(row: &SqliteRow) -> Result<Link, StoreError> {
    Ok(Link {
        first: offset(row, "first_offset")?,
        last: offset(row, "last_offset")?,
        log_id: LogId(row.try_get("log_id").map_err(failed)?),
        version: row.try_get("version").map_err(failed)?,
        hash: ChainHash(hash(row, "hash")?),
    })
}
