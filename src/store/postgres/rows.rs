//! Rows into values; what cannot be is [`StoreError::Corrupt`].

use std::{collections::BTreeMap, time::Duration};

use bytestring::ByteString;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{ColumnIndex, Decode, Postgres, Row, Type, postgres::PgRow, types::Json};

use super::errors::{corrupt, store_error};
use crate::{
    domain::{
        Bounds, Consumer, ConsumerId, Epoch, Filter, LogId, Mode, NewConsumer, NewTopic, Offset, QueuePolicy,
        StartFrom, Timestamp, Topic, TopicId, TypePattern,
    },
    store::StoreError,
};

/// A point in time as the driver has it.
pub(super) type Time = DateTime<Utc>;

/// A column of a row.
pub(super) fn get<'r, T>(row: &'r PgRow, column: &str) -> Result<T, StoreError>
where
    T: Decode<'r, Postgres> + Type<Postgres>,
    for<'c> &'c str: ColumnIndex<PgRow>,
{
    row.try_get(column).map_err(store_error)
}

/// A column that is an offset.
pub(super) fn offset(row: &PgRow, column: &str) -> Result<Offset, StoreError> {
    to_offset(get(row, column)?)
}

/// A column that is a point in time.
pub(super) fn time(row: &PgRow, column: &str) -> Result<Timestamp, StoreError> {
    get(row, column).map(to_timestamp)
}

/// A column that is a point in time or null.
pub(super) fn optional_time(row: &PgRow, column: &str) -> Result<Option<Timestamp>, StoreError> {
    Ok(get::<Option<Time>>(row, column)?.map(to_timestamp))
}

/// A text column that is a name, a role or the like.
pub(super) fn parsed<T>(
    row: &PgRow,
    column: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, StoreError> {
    let text: &str = get(row, column)?;
    parse(text).map_err(|error| corrupt(format!("the {column} {text:?} {error}")))
}

/// An offset from the database.
pub(super) fn to_offset(value: i64) -> Result<Offset, StoreError> {
    Offset::new(value).ok_or_else(|| corrupt(format!("the offset {value} is negative")))
}

/// A time from the database.
pub(super) fn to_timestamp(time: Time) -> Timestamp {
    Timestamp::from_datetime(time)
}

/// Microseconds for the database, at most what it can hold (292,000 years).
pub(super) fn to_micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// A duration from microseconds.
pub(super) fn to_duration(micros: i64) -> Result<Duration, StoreError> {
    number(micros, "duration").map(Duration::from_micros)
}

/// A number that cannot be negative, or above what its type holds.
pub(super) fn number<T: TryFrom<i64>>(value: i64, what: &str) -> Result<T, StoreError> {
    T::try_from(value).map_err(|_| corrupt(format!("the {what} {value} is out of range")))
}

/// A topic, from the columns of `topics` with `head`.
pub(super) fn topic(row: &PgRow) -> Result<Topic, StoreError> {
    Ok(Topic {
        id: TopicId(get(row, "id")?),
        log_id: LogId(get(row, "log_id")?),
        settings: NewTopic {
            name: parsed(row, "name", crate::domain::TopicName::parse)?,
            description: get(row, "description")?,
            retention: get::<Option<i64>>(row, "retention_us")?.map(to_duration).transpose()?,
            retention_bytes: number(get(row, "retention_bytes")?, "retention in bytes")?,
            sealed: get(row, "sealed")?,
        },
        create_time: time(row, "create_time")?,
        bounds: bounds(row)?,
    })
}

/// What a topic holds, from `trimmed_to` and `head`; a head found by a look of its own may be older.
pub(super) fn bounds(row: &PgRow) -> Result<Bounds, StoreError> {
    let trimmed_to = offset(row, "trimmed_to")?;
    Ok(Bounds { head: offset(row, "head")?.max(trimmed_to), trimmed_to })
}

/// A consumer, from the columns of `consumer_rows_v1`.
pub(super) fn consumer(row: &PgRow) -> Result<Consumer, StoreError> {
    let backoff: Vec<i64> = get(row, "queue_backoff_us")?;
    Ok(Consumer {
        id: ConsumerId(get(row, "id")?),
        topic_id: TopicId(get(row, "topic_id")?),
        settings: NewConsumer {
            name: parsed(row, "name", crate::domain::ConsumerName::parse)?,
            topic: parsed(row, "topic", crate::domain::TopicName::parse)?,
            mode: parsed(row, "mode", mode)?,
            filter: get::<Json<StoredFilter>>(row, "filter")?.0.into_filter(),
            start: start(row)?,
            queue: QueuePolicy {
                lease: to_duration(get(row, "queue_lease_us")?)?,
                backoff: backoff.into_iter().map(to_duration).collect::<Result<_, _>>()?,
                max_attempts: number(get(row, "queue_max_attempts")?, "number of attempts")?,
                max_in_flight: number(get(row, "queue_max_in_flight")?, "number of deliveries")?,
            },
        },
        create_time: time(row, "create_time")?,
        stored: offset(row, "stored")?,
        epoch: Epoch(get(row, "epoch")?),
        paused: get(row, "paused")?,
        trimmed_events: number(get(row, "trimmed_events")?, "number of trimmed events")?,
        revision: number(get(row, "revision")?, "revision")?,
    })
}

/// A mode's name in the database.
pub(super) fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Ordered => "ordered",
        Mode::Queue => "queue",
    }
}

fn mode(name: &str) -> Result<Mode, String> {
    let modes = [Mode::Ordered, Mode::Queue];
    modes.into_iter().find(|&mode| mode_name(mode) == name).ok_or_else(|| "is no mode".to_owned())
}

fn start(row: &PgRow) -> Result<StartFrom, StoreError> {
    match get(row, "start_from")? {
        "earliest" => Ok(StartFrom::Earliest),
        "head" => Ok(StartFrom::Head),
        "after" => offset(row, "start_offset").map(StartFrom::After),
        "time" => time(row, "start_time").map(StartFrom::Time),
        other => Err(corrupt(format!("{other:?} is no start"))),
    }
}

/// A filter as it is stored, in JSON.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct StoredFilter {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    types: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keys: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    correlation_ids: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    producers: Vec<String>,
}

impl StoredFilter {
    /// A filter to be stored.
    pub(super) fn of(filter: &Filter) -> Self {
        let Filter { types, keys, attributes, correlation_ids, producers } = filter;
        let texts = |values: &[ByteString]| values.iter().map(|value| value.to_string()).collect();
        Self {
            types: types.iter().map(|pattern| pattern.to_string()).collect(),
            keys: texts(keys),
            attributes: attributes.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            correlation_ids: texts(correlation_ids),
            producers: texts(producers),
        }
    }

    fn into_filter(self) -> Filter {
        let Self { types, keys, attributes, correlation_ids, producers } = self;
        let texts = |values: Vec<String>| values.into_iter().map(ByteString::from).collect();
        Filter {
            types: types.iter().map(|pattern| TypePattern::new(pattern)).collect(),
            keys: texts(keys),
            attributes: attributes.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            correlation_ids: texts(correlation_ids),
            producers: texts(producers),
        }
    }
}
