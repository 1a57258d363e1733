//! Events.

use bytestring::ByteString;
use tonic::Status;

use super::{Checks, checks::text, timestamp, timestamp_value};
use crate::{
    broker::{Publish, Published},
    domain::{Attributes, Event, Invalid, NewEvent, Payload, TopicName, limits},
    grpc::{call::Call, reason::Reason},
    proto::v1,
};

/// A publish request, checked; every violation of every event at once. `known` is a topic that it may be for.
pub(crate) fn publish(
    request: v1::PublishRequest,
    call: &Call,
    known: &mut Option<TopicName>,
) -> Result<Publish, Status> {
    let v1::PublishRequest { topic, events, expected_head_offset, validate_only } = request;
    let mut checks = Checks::default();
    if known.as_ref().is_none_or(|known| known.as_str() != topic) {
        *known = checks.topic("topic", &topic);
    }
    let topic = known.clone();
    if events.is_empty() || events.len() > limits::REQUEST_EVENTS {
        let text = format!("has {} events; a request takes 1 to {}", events.len(), limits::REQUEST_EVENTS);
        checks.add(Reason::BatchInvalid, "events", text);
    }
    let expected_head =
        expected_head_offset.and_then(|offset| checks.offset(Reason::RequestInvalid, "expected_head_offset", offset));
    let mut checked = Vec::with_capacity(events.len().min(limits::REQUEST_EVENTS));
    for (index, event) in events.into_iter().take(limits::REQUEST_EVENTS).enumerate() {
        match new_event(event) {
            Ok(event) => checked.push(event),
            Err(invalid) => checks.absorb(Reason::EventInvalid, &format!("events[{index}]"), invalid),
        }
    }
    let (correlation_id, traceparent) = (call.correlation_id(), call.traceparent().cloned());
    checks.finish(topic.map(|topic| Publish {
        topic,
        events: checked,
        expected_head,
        validate_only,
        correlation_id,
        traceparent,
    }))
}

/// Where events were recorded.
pub(crate) fn published(published: Vec<Published>) -> v1::PublishResponse {
    let one = |published: Published| v1::Published {
        id: published.id.to_string(),
        offset: published.offset.get(),
        recorded_time: published.recorded_time.map(timestamp),
        duplicate: published.duplicate,
    };
    v1::PublishResponse { published: published.into_iter().map(one).collect() }
}

/// An event as sent.
fn new_event(event: v1::NewEvent) -> Result<NewEvent, Invalid> {
    let v1::NewEvent { r#type, key, id, source, time, content_type, attributes, correlation_id, causation_id, payload } =
        event;
    let mut invalid = Invalid::default();
    invalid.check("type", event_type(&r#type));
    let texts = [
        ("key", &key, limits::KEY_BYTES),
        ("id", &id, limits::ID_BYTES),
        ("source", &source, limits::LABEL_BYTES),
        ("content_type", &content_type, limits::LABEL_BYTES),
        ("correlation_id", &correlation_id, limits::ID_BYTES),
        ("causation_id", &causation_id, limits::ID_BYTES),
    ];
    for (field, value, max) in texts {
        invalid.check(field, text(value, max));
    }
    let time = time.and_then(|time| invalid.check("time", timestamp_value(time)));
    if attributes.len() > limits::ATTRIBUTES {
        let text = format!("has {} entries; at most {} are taken", attributes.len(), limits::ATTRIBUTES);
        invalid.add("attributes", text);
    }
    let mut kept = Attributes::new();
    for (name, value) in attributes {
        if let Err(description) = attribute(&name, &value) {
            invalid.add(format!("attributes[{name:?}]"), description);
        }
        kept.insert(name.into(), value.into());
    }
    let payload = self::payload(payload, &mut invalid);
    let event = NewEvent {
        r#type: r#type.into(),
        key: key.into(),
        id: id.into(),
        source: source.into(),
        time,
        content_type: content_type.into(),
        attributes: kept,
        correlation_id: correlation_id.into(),
        causation_id: causation_id.into(),
        payload,
    };
    invalid.into_result(event)
}

fn event_type(r#type: &str) -> Result<(), String> {
    if r#type.is_empty() {
        return Err("must be set, for example \"order.placed\"".to_owned());
    }
    text(r#type, limits::LABEL_BYTES)?;
    match r#type.chars().find(|&c| c == '*' || c.is_control()) {
        Some(c) => Err(format!("holds {c:?}; a type has no \"*\" and no control characters")),
        None => Ok(()),
    }
}

pub(super) fn attribute(name: &str, value: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > limits::ATTRIBUTE_NAME_BYTES || !name.bytes().all(allowed) {
        return Err(format!("a name is 1 to {} of [A-Za-z0-9._-]", limits::ATTRIBUTE_NAME_BYTES));
    }
    text(value, limits::ATTRIBUTE_VALUE_BYTES)
}

fn payload(payload: Option<v1::new_event::Payload>, invalid: &mut Invalid) -> Payload {
    let (field, payload) = match payload {
        None => ("data", Payload::Data(bytes::Bytes::new())),
        Some(v1::new_event::Payload::Data(data)) => ("data", Payload::Data(data)),
        Some(v1::new_event::Payload::Text(text)) => ("text", Payload::Text(text.into())),
        Some(v1::new_event::Payload::Json(value)) => match json(value, 0) {
            Ok(value) => ("json", Payload::Json(value.to_string().into())),
            Err(description) => {
                invalid.add("json", description);
                return Payload::Json(ByteString::new());
            }
        },
    };
    let len = payload.bytes().len();
    if len > limits::PAYLOAD_BYTES {
        invalid.add(field, format!("has {len} bytes; a payload has at most {}", limits::PAYLOAD_BYTES));
    }
    if let Payload::Text(text) | Payload::Json(text) = &payload
        && text.contains('\0')
    {
        invalid.add(field, "holds U+0000, which is not taken in text; send it as data");
    }
    payload
}

/// A JSON value that was sent inline. Its numbers are doubles; whole ones are written without a point.
fn json(value: prost_types::Value, depth: usize) -> Result<serde_json::Value, String> {
    use prost_types::value::Kind;
    if depth > limits::JSON_DEPTH {
        return Err(format!("is nested more than {} deep", limits::JSON_DEPTH));
    }
    Ok(match value.kind {
        None => return Err("is not set".to_owned()),
        Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::BoolValue(value)) => value.into(),
        Some(Kind::StringValue(value)) => whole(value)?.into(),
        Some(Kind::NumberValue(value)) => number(value)?,
        Some(Kind::ListValue(list)) => {
            let values = list.values.into_iter().map(|value| json(value, depth + 1));
            values.collect::<Result<Vec<_>, _>>()?.into()
        }
        Some(Kind::StructValue(object)) => {
            let fields = object.fields.into_iter().map(|(name, value)| Ok((whole(name)?, json(value, depth + 1)?)));
            serde_json::Value::Object(fields.collect::<Result<_, String>>()?)
        }
    })
}

/// A string of a JSON value. Written as `\u0000` it would be stored, and Postgres could not look into it.
fn whole(text: String) -> Result<String, String> {
    match text.contains('\0') {
        true => Err("holds U+0000, which is not taken in text; send it as data".to_owned()),
        false => Ok(text),
    }
}

fn number(value: f64) -> Result<serde_json::Value, String> {
    /// Whole numbers up to here are exact in a double.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT && !(value == 0.0 && value.is_sign_negative()) {
        return Ok((value as i64).into());
    }
    let number = serde_json::Number::from_f64(value).ok_or("holds a number that JSON does not have")?;
    Ok(serde_json::Value::Number(number))
}

/// An event as the generated code has it, for answers that are not shared.
pub(crate) fn event(event: &Event, topic: &TopicName) -> v1::Event {
    let body = event.body.clone();
    v1::Event {
        r#type: body.r#type.to_string(),
        key: body.key.to_string(),
        id: body.id.to_string(),
        source: body.source.to_string(),
        time: Some(timestamp(event.time())),
        content_type: body.content_type.to_string(),
        attributes: body.attributes.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        correlation_id: body.correlation_id.to_string(),
        causation_id: body.causation_id.to_string(),
        payload: Some(match body.payload {
            Payload::Data(data) => v1::event::Payload::Data(data),
            Payload::Text(text) | Payload::Json(text) => v1::event::Payload::Text(text.to_string()),
        }),
        topic: topic.to_string(),
        offset: event.offset.get(),
        recorded_time: Some(timestamp(event.recorded_time)),
        producer: body.producer.to_string(),
    }
}
