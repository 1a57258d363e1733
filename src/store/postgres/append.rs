//! Appends a batch as one row, by one call.

use sqlx::{postgres::PgRow, types::Json};
use uuid::Uuid;

use super::{PostgresStore, errors::corrupt, lane::Statement, meta::Meta, rows};
use crate::{
    domain::{AppendBatch, ContentHash, EventBody, IdKey, KnownId, PendingEvent, TopicId},
    store::{AppendError, Appended},
};

impl PostgresStore {
    /// Appends a batch by a statement of its own.
    pub(super) async fn append_alone(&self, topic: TopicId, batch: &AppendBatch) -> Result<Appended, AppendError> {
        let AppendBatch { id, seen, expected_head, events } = batch;
        let identities = Identities::of(events);
        let statement = sqlx::query(include_str!("sql/append.sql"))
            .bind(topic.0)
            .bind(id.0)
            .bind(seen.head.get())
            .bind(expected_head.map(|head| head.get()))
            .bind(i32::try_from(size(events)).unwrap_or(i32::MAX));
        let statement = Columns::of(events.iter())
            .bind_to(statement)
            .bind(identities.keys)
            .bind(identities.hashes)
            .bind(identities.places);
        match self.appends.one_if("append", seen.incarnation, statement).await? {
            Some(row) => outcome(&row),
            None => Err(AppendError::ServerChanged),
        }
    }
}

/// Bytes of events, as they are counted.
pub(super) fn size(events: &[PendingEvent]) -> usize {
    events.iter().map(|event| event.body.size()).sum()
}

/// Events, column by column.
pub(super) struct Columns<'e> {
    ids: Vec<&'e str>,
    types: Vec<&'e str>,
    keys: Vec<&'e str>,
    times: Option<Vec<Option<rows::Time>>>,
    producers: Vec<&'e str>,
    metas: Option<Vec<Option<Json<Meta<'e>>>>>,
    payloads: Vec<&'e [u8]>,
}

impl<'e> Columns<'e> {
    /// The columns of some events.
    pub(super) fn of(events: impl Iterator<Item = &'e PendingEvent> + Clone) -> Self {
        let column =
            |field: fn(&EventBody) -> &str| -> Vec<&'e str> { events.clone().map(|e| field(&e.body)).collect() };
        Self {
            ids: column(|body| &body.id),
            types: column(|body| &body.r#type),
            keys: column(|body| &body.key),
            times: null_if_all_are(
                events.clone().map(|event| event.body.time.map(|time| time.to_datetime())).collect(),
            ),
            producers: column(|body| &body.producer),
            metas: null_if_all_are(events.clone().map(|event| Meta::of(&event.body).map(Json)).collect()),
            payloads: events.clone().map(|event| &event.body.payload.bytes()[..]).collect(),
        }
    }

    /// Binds them, as they are in the tables.
    pub(super) fn bind_to<'q>(self, statement: Statement<'q>) -> Statement<'q>
    where
        'e: 'q,
    {
        let statement = statement.bind(self.ids).bind(self.types).bind(self.keys).bind(self.times);
        statement.bind(self.producers).bind(self.metas).bind(self.payloads)
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
