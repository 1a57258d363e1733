//! Removes the oldest segments of a topic, and the ids of their events.

use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::{
    PostgresStore,
    columns::Elements,
    errors::corrupt,
    meta::{Meta, UsualSource},
    rows,
};
use crate::{
    domain::{Bounds, IdKey, Offset, TopicId},
    store::{Removed, StoreError},
};

/// Events deleted by one transaction, about: tens of milliseconds, so that neither a lock nor the
/// write-ahead log is filled for long.
const BATCH_EVENTS: i64 = 8192;
/// Bytes of events deleted by one transaction, about.
const BATCH_BYTES: i64 = 16 << 20;

/// Trims a topic: see [`LogStore::trim`](crate::store::LogStore::trim).
///
/// What an earlier call left behind, because it was interrupted, is removed too.
pub(super) async fn trim(store: &PostgresStore, topic: TopicId, up_to: Offset) -> Result<Option<Bounds>, StoreError> {
    let statement = sqlx::query("select trimmed_to, head from eventflow.trim_begin_v1($1, $2)");
    let begun = store.control.optional("trim_begin", statement.bind(topic.0).bind(up_to.get())).await?;
    let Some(begun) = begun else { return Ok(None) };
    let bounds = rows::bounds(&begun)?;
    let mut rest = Some(Offset::ZERO);
    while let Some(after) = rest {
        rest = remove_oldest(store, topic, after).await?.more;
    }
    Ok(Some(bounds))
}

/// Removes what retention does not keep: see [`LogStore::retain`](crate::store::LogStore::retain).
pub(super) async fn retain(store: &PostgresStore, topic: TopicId, after: Offset) -> Result<Removed, StoreError> {
    if after == Offset::ZERO {
        let statement = sqlx::query("select more from eventflow.expire_v1($1)").bind(topic.0);
        if rows::get(&store.control.one("expire", statement).await?, "more")? {
            return Ok(Removed { more: Some(after), ..Removed::default() });
        }
    }
    remove_oldest(store, topic, after).await
}

/// Removes some trimmed segments after `after`, by one transaction, until there are none.
pub(super) async fn remove_oldest(store: &PostgresStore, topic: TopicId, after: Offset) -> Result<Removed, StoreError> {
    let statement = sqlx::query(include_str!("sql/trim_read.sql"));
    let statement = statement.bind(topic.0).bind(after.get()).bind(BATCH_EVENTS).bind(BATCH_BYTES);
    let segments = store.control.all("trim_read", statement).await?;
    let Some(newest) = segments.last() else { return Ok(Removed::default()) };
    let last = rows::offset(newest, "last_offset")?;
    let mut keys = Vec::new();
    for segment in &segments {
        add_keys(segment, &mut keys)?;
    }
    // Each event has an id, also where its producer gave none.
    let removed = Removed { events: keys.len() as u64, segments: segments.len() as u64, more: Some(last) };
    let statement = sqlx::query("select eventflow.trim_delete_v2($1, $2, $3)");
    store.control.execute("trim_delete", statement.bind(topic.0).bind(last.get()).bind(keys)).await?;
    Ok(removed)
}

/// Adds the keys of a segment's ids, also of those that the server made and nobody looks for.
fn add_keys(segment: &PgRow, keys: &mut Vec<Uuid>) -> Result<(), StoreError> {
    let mut ids = Elements::required(segment, "ids")?;
    let mut producers = Elements::required(segment, "producers")?;
    let mut metas = Elements::of(segment, "metas")?;
    let mut usual = UsualSource::default();
    if producers.len() != ids.len() {
        return Err(corrupt("the columns of a segment differ in length"));
    }
    for _ in 0..ids.len() {
        let mut meta: Meta<'_> = metas.as_mut().map(Elements::json).transpose()?.flatten().unwrap_or_default();
        let source = meta.source(&mut usual, &producers.text()?);
        keys.push(IdKey::of(&source, &ids.text()?).0);
    }
    Ok(())
}
