//! Topics, and places in them.

use std::time::Duration;

use tonic::Status;

use super::{Checks, checks::text, duration, duration_message, timestamp};
use crate::{
    broker::Position,
    domain::{NewTopic, Topic, TopicChange, TopicName, limits},
    grpc::{reason::Reason, status::Problem},
    proto::v1,
};

/// A topic to be created. What only the server sets is ignored.
pub(crate) fn new_topic(topic: Option<v1::Topic>) -> Result<NewTopic, Status> {
    let Some(topic) = topic else {
        let missing = crate::domain::Invalid::one("topic", "must be set");
        return Err(Problem::invalid(Reason::RequestInvalid, &missing).into());
    };
    let v1::Topic {
        name,
        description,
        retention,
        retention_bytes,
        sealed,
        create_time: _,
        head_offset: _,
        earliest_offset: _,
        log_id: _,
    } = topic;
    let mut checks = Checks::default();
    let name = checks.topic("topic.name", &name);
    checks.check(Reason::RequestInvalid, "topic.description", text(&description, limits::DESCRIPTION_BYTES));
    let retention = retention.and_then(|value| self::retention(&mut checks, "topic.retention", value)).flatten();
    let retention_bytes = self::retention_bytes(&mut checks, "topic.retention_bytes", retention_bytes);
    let new = name.zip(retention_bytes);
    checks.finish(new.map(|(name, retention_bytes)| NewTopic { name, description, retention, retention_bytes, sealed }))
}

/// What to change about a topic.
pub(crate) fn topic_change(request: v1::UpdateTopicRequest) -> Result<(TopicName, TopicChange), Status> {
    let v1::UpdateTopicRequest { name, description, retention, retention_bytes, sealed } = request;
    let mut checks = Checks::default();
    let name = checks.topic("name", &name);
    if let Some(description) = &description {
        checks.check(Reason::RequestInvalid, "description", text(description, limits::DESCRIPTION_BYTES));
    }
    let retention = retention.and_then(|value| self::retention(&mut checks, "retention", value));
    let retention_bytes =
        retention_bytes.and_then(|bytes| self::retention_bytes(&mut checks, "retention_bytes", bytes));
    checks.finish(name.map(|name| (name, TopicChange { description, retention, retention_bytes, sealed })))
}

/// A retention; 0 s is for ever. Both stores keep microseconds.
fn retention(checks: &mut Checks, field: &str, value: prost_types::Duration) -> Option<Option<Duration>> {
    let value = checks.check(Reason::RequestInvalid, field, duration(value))?;
    let micros = Duration::from_micros(u64::try_from(value.as_micros()).unwrap_or(u64::MAX));
    Some((!micros.is_zero()).then_some(micros))
}

fn retention_bytes(checks: &mut Checks, field: &str, value: i64) -> Option<u64> {
    let value = u64::try_from(value).map_err(|_| format!("{value} is negative; 0 keeps all"));
    checks.check(Reason::RequestInvalid, field, value)
}

/// A topic for the wire.
pub(crate) fn topic(topic: Topic) -> v1::Topic {
    let Topic { id: _, log_id, settings, create_time, bounds } = topic;
    let NewTopic { name, description, retention, retention_bytes, sealed } = settings;
    v1::Topic {
        name: name.to_string(),
        description,
        retention: retention.map(duration_message),
        retention_bytes: i64::try_from(retention_bytes).unwrap_or(i64::MAX),
        sealed,
        create_time: Some(timestamp(create_time)),
        head_offset: bounds.head.get(),
        earliest_offset: bounds.earliest().get(),
        log_id: log_id.to_string(),
    }
}

/// A place for the wire.
pub(crate) fn position(position: Position) -> v1::Position {
    let Position { offset, bounds } = position;
    v1::Position { offset: offset.get(), head_offset: bounds.head.get(), earliest_offset: bounds.earliest().get() }
}
