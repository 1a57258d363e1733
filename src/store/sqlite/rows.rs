//! Rows as what they stand for. One that cannot be is [`StoreError::Corrupt`].

use bytes::Bytes;
use sqlx::{Row, TypeInfo, ValueRef, sqlite::SqliteRow};
use std::time::Duration;

use super::{
    error::{corrupt, failed},
    settings,
};
use crate::{
    domain::{
        Bounds, Consumer, ConsumerId, ConsumerName, Epoch, LogId, NewConsumer, NewTopic, Offset, Payload, Timestamp,
        Topic, TopicId, TopicName,
    },
    store::StoreError,
};

/// An offset.
pub(super) fn offset(row: &SqliteRow, column: &str) -> Result<Offset, StoreError> {
    let value: i64 = row.try_get(column).map_err(failed)?;
    Offset::new(value).ok_or_else(|| corrupt(format!("{column} is {value}")))
}

/// An offset, from a number.
pub(super) fn to_offset(value: i64) -> Result<Offset, StoreError> {
    Offset::new(value).ok_or_else(|| corrupt(format!("an offset is {value}")))
}

/// A time in microseconds.
pub(super) fn time(micros: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_micros(micros).ok_or_else(|| corrupt(format!("{micros} is no time")))
}

/// A time in microseconds, of a column.
pub(super) fn time_of(row: &SqliteRow, column: &str) -> Result<Timestamp, StoreError> {
    time(row.try_get(column).map_err(failed)?)
}

/// A time in microseconds that may be missing, of a column.
pub(super) fn optional_time(row: &SqliteRow, column: &str) -> Result<Option<Timestamp>, StoreError> {
    let micros: Option<i64> = row.try_get(column).map_err(failed)?;
    micros.map(time).transpose()
}

/// A value that parses, such as a name.
pub(super) fn parsed<T>(
    row: &SqliteRow,
    column: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, StoreError> {
    let text: &str = row.try_get(column).map_err(failed)?;
    parse(text).map_err(|error| corrupt(format!("{column}: {error}")))
}

/// A SHA-256 hash.
pub(super) fn hash(row: &SqliteRow, column: &str) -> Result<[u8; 32], StoreError> {
    let bytes: &[u8] = row.try_get(column).map_err(failed)?;
    bytes.try_into().map_err(|_| corrupt(format!("{column} has {} bytes", bytes.len())))
}

/// A span of time in microseconds, as it is stored.
pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// A topic, of the view `topics_with_heads`.
pub(super) fn topic(row: &SqliteRow) -> Result<Topic, StoreError> {
    let retention: Option<i64> = row.try_get("retention").map_err(failed)?;
    let retention_bytes: i64 = row.try_get("retention_bytes").map_err(failed)?;
    Ok(Topic {
        id: TopicId(row.try_get("id").map_err(failed)?),
        log_id: LogId(row.try_get("log_id").map_err(failed)?),
        settings: NewTopic {
            name: parsed(row, "name", TopicName::parse)?,
            description: row.try_get("description").map_err(failed)?,
            retention: retention.map(|micros| Duration::from_micros(micros.unsigned_abs())),
            retention_bytes: retention_bytes.unsigned_abs(),
            sealed: row.try_get("sealed").map_err(failed)?,
        },
        create_time: time_of(row, "create_time")?,
        bounds: Bounds { head: offset(row, "head")?, trimmed_to: offset(row, "trimmed_to")? },
    })
}

/// A consumer, of the table `consumers`.
pub(super) fn consumer(row: &SqliteRow) -> Result<Consumer, StoreError> {
    let trimmed_events: i64 = row.try_get("trimmed_events").map_err(failed)?;
    let revision: i64 = row.try_get("revision").map_err(failed)?;
    Ok(Consumer {
        id: ConsumerId(row.try_get("id").map_err(failed)?),
        topic_id: TopicId(row.try_get("topic_id").map_err(failed)?),
        settings: NewConsumer {
            name: parsed(row, "name", ConsumerName::parse)?,
            topic: parsed(row, "topic", TopicName::parse)?,
            mode: parsed(row, "mode", settings::decode_mode)?,
            filter: parsed(row, "filter", settings::decode_filter)?,
            start: parsed(row, "start", settings::decode_start)?,
            queue: parsed(row, "queue", settings::decode_queue)?,
        },
        create_time: time_of(row, "create_time")?,
        stored: offset(row, "stored")?,
        epoch: Epoch(row.try_get("epoch").map_err(failed)?),
        paused: row.try_get("paused").map_err(failed)?,
        trimmed_events: trimmed_events.unsigned_abs(),
        revision: revision.unsigned_abs(),
    })
}

/// A payload's type in the database is its kind.
pub(super) fn payload(row: &SqliteRow, column: &str) -> Result<Payload, StoreError> {
    let value = row.try_get_raw(column).map_err(failed)?;
    let is_text = value.type_info().name() == "TEXT";
    if is_text {
        let text: &str = row.try_get_unchecked(column).map_err(failed)?;
        Ok(Payload::Text(text.into()))
    } else {
        let data: &[u8] = row.try_get_unchecked(column).map_err(failed)?;
        Ok(Payload::Data(Bytes::copy_from_slice(data)))
    }
}
