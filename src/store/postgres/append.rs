//! Appends a batch as one row, by one call.

use sqlx::{postgres::PgRow, types::Json};
use uuid::Uuid;

use super::{PostgresStore, errors::corrupt, meta::Meta, rows};
use crate::{
    domain::{AppendBatch, ContentHash, EventBody, IdKey, KnownId, PendingEvent, TopicId},
    store::{AppendError, Appended},
};

/// Appends a batch: see [`LogStore::append`](crate::store::LogStore::append).
pub(super) async fn append(
    store: &PostgresStore,
    topic: TopicId,
    batch: &AppendBatch,
) -> Result<Appended, AppendError> {
    let AppendBatch { id, seen, expected_head, events } = batch;
    let column = |field: fn(&EventBody) -> &str| -> Vec<&str> { events.iter().map(|e| field(&e.body)).collect() };
    let bytes: usize = events.iter().map(|event| event.body.size()).sum();
    let identities = Identities::of(events);
    let statement = sqlx::query(include_str!("sql/append.sql"))
        .bind(topic.0)
        .bind(id.0)
        .bind(seen.head.get())
        .bind(expected_head.map(|head| head.get()))
        .bind(i32::try_from(bytes).unwrap_or(i32::MAX))
        .bind(column(|body| &body.id))
        .bind(column(|body| &body.r#type))
        .bind(column(|body| &body.key))
        .bind(null_if_all_are(events.iter().map(|event| event.body.time.map(|time| time.to_datetime())).collect()))
        .bind(column(|body| &body.producer))
        .bind(null_if_all_are(events.iter().map(|event| Meta::of(&event.body).map(Json)).collect()))
        .bind(events.iter().map(|event| &event.body.payload.bytes()[..]).collect::<Vec<&[u8]>>())
        .bind(identities.keys)
        .bind(identities.hashes)
        .bind(identities.places);
    match store.appends.one_if("append", seen.incarnation, statement).await? {
        Some(row) => outcome(&row),
        None => Err(AppendError::ServerChanged),
    }
}

/// A column of which many batches have nothing.
fn null_if_all_are<T>(values: Vec<Option<T>>) -> Option<Vec<Option<T>>> {
    values.iter().any(Option::is_some).then_some(values)
}

/// The identities in a batch, as columns.
#[derive(Default)]
struct Identities {
    keys: Vec<Uuid>,
    hashes: Vec<Uuid>,
    /// Of the events, from 1.
    places: Vec<i32>,
}

impl Identities {
    fn of(events: &[PendingEvent]) -> Self {
        let mut identities = Self::default();
        for (place, event) in (1..).zip(events) {
            if let Some(identity) = &event.identity {
                identities.keys.push(identity.key.0);
                identities.hashes.push(identity.content.0);
                identities.places.push(place);
            }
        }
        identities
    }
}

fn outcome(row: &PgRow) -> Result<Appended, AppendError> {
    match rows::get::<&str>(row, "outcome")? {
        "stored" => Ok(Appended::Stored {
            first: rows::offset(row, "first_offset")?,
            recorded_time: rows::time(row, "recorded_time")?,
        }),
        "known" => known(row),
        "topic_not_found" => Err(AppendError::TopicNotFound),
        "forgotten" => Err(AppendError::Forgotten),
        "sealed" => Err(AppendError::TopicSealed),
        "head_moved" => Err(AppendError::HeadMoved { head: rows::offset(row, "head")? }),
        other => Err(corrupt(format!("an append ended with {other:?}")).into()),
    }
}

fn known(row: &PgRow) -> Result<Appended, AppendError> {
    let keys: Vec<Uuid> = rows::get(row, "known_keys")?;
    let offsets: Vec<i64> = rows::get(row, "known_offsets")?;
    let hashes: Vec<Uuid> = rows::get(row, "known_hashes")?;
    let times: Vec<Option<rows::Time>> = rows::get(row, "known_times")?;
    let known = keys.into_iter().zip(offsets).zip(hashes).zip(times);
    let known = known.map(|(((key, offset), hash), time)| {
        Ok(KnownId {
            key: IdKey(key),
            offset: rows::to_offset(offset)?,
            content: ContentHash(hash),
            recorded_time: time
                .map(rows::to_timestamp)
                .ok_or_else(|| corrupt(format!("the event of id {key} at offset {offset} is missing")))?,
        })
    });
    known.collect::<Result<_, AppendError>>().map(Appended::Known)
}
