//! What is stored as JSON: settings of consumers and producers.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use bytestring::ByteString;
use serde::{Deserialize, Serialize};

use super::rows::micros;
use crate::domain::{
    Attributes, ConsumerChange, Filter, Mode, Offset, QueuePolicy, StartFrom, Timestamp, TopicPattern, TypePattern,
};

/// Names and values; the text is borrowed where JSON lets it.
pub(super) type Map<'a> = BTreeMap<Cow<'a, str>, Cow<'a, str>>;

#[derive(Serialize, Deserialize)]
struct StoredFilter<'a> {
    types: Vec<String>,
    #[serde(borrow)]
    keys: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    attributes: Map<'a>,
    #[serde(borrow)]
    correlation_ids: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    producers: Vec<Cow<'a, str>>,
}

/// A filter as JSON.
pub(super) fn encode_filter(filter: &Filter) -> String {
    let Filter { types, keys, attributes, correlation_ids, producers } = filter;
    json(&StoredFilter {
        types: types.iter().map(TypePattern::to_string).collect(),
        keys: list(keys),
        attributes: borrowed(attributes),
        correlation_ids: list(correlation_ids),
        producers: list(producers),
    })
}

/// A filter from JSON.
pub(super) fn decode_filter(text: &str) -> Result<Filter, String> {
    let StoredFilter { types, keys, attributes, correlation_ids, producers } = parse(text)?;
    let strings = |list: Vec<Cow<str>>| list.iter().map(|text| ByteString::from(&**text)).collect();
    Ok(Filter {
        types: types.iter().map(|pattern| TypePattern::new(pattern)).collect(),
        keys: strings(keys),
        attributes: owned(attributes),
        correlation_ids: strings(correlation_ids),
        producers: strings(producers),
    })
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredStart {
    Earliest,
    Head,
    After(i64),
    Time(i64),
}

/// A start as JSON.
pub(super) fn encode_start(start: StartFrom) -> String {
    json(&match start {
        StartFrom::Earliest => StoredStart::Earliest,
        StartFrom::Head => StoredStart::Head,
        StartFrom::After(offset) => StoredStart::After(offset.get()),
        StartFrom::Time(time) => StoredStart::Time(time.micros()),
    })
}

/// A start from JSON.
pub(super) fn decode_start(text: &str) -> Result<StartFrom, String> {
    Ok(match parse(text)? {
        StoredStart::Earliest => StartFrom::Earliest,
        StoredStart::Head => StartFrom::Head,
        StoredStart::After(offset) => StartFrom::After(Offset::parse(offset)?),
        StoredStart::Time(micros) => {
            StartFrom::Time(Timestamp::from_micros(micros).ok_or_else(|| format!("{micros} is no time"))?)
        }
    })
}

#[derive(Serialize, Deserialize)]
struct StoredQueue {
    lease_micros: i64,
    backoff_micros: Vec<i64>,
    max_attempts: u32,
    max_in_flight: u32,
}

/// A queue's policy as JSON.
pub(super) fn encode_queue(queue: &QueuePolicy) -> String {
    let QueuePolicy { lease, backoff, max_attempts, max_in_flight } = queue;
    json(&StoredQueue {
        lease_micros: micros(*lease),
        backoff_micros: backoff.iter().copied().map(micros).collect(),
        max_attempts: *max_attempts,
        max_in_flight: *max_in_flight,
    })
}

#[derive(Serialize)]
struct StoredQueueChange {
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_micros: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backoff_micros: Option<Vec<i64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_in_flight: Option<u32>,
}

/// What is to change about a queue's policy, as JSON that is merged into it.
pub(super) fn encode_queue_change(change: &ConsumerChange) -> String {
    let ConsumerChange { filter: _, lease, backoff, max_attempts, max_in_flight } = change;
    json(&StoredQueueChange {
        lease_micros: lease.map(micros),
        backoff_micros: backoff.as_ref().map(|backoff| backoff.iter().copied().map(micros).collect()),
        max_attempts: *max_attempts,
        max_in_flight: *max_in_flight,
    })
}

/// A queue's policy from JSON.
pub(super) fn decode_queue(text: &str) -> Result<QueuePolicy, String> {
    let StoredQueue { lease_micros, backoff_micros, max_attempts, max_in_flight } = parse(text)?;
    let duration = |micros: i64| Duration::from_micros(micros.unsigned_abs());
    Ok(QueuePolicy {
        lease: duration(lease_micros),
        backoff: backoff_micros.into_iter().map(duration).collect(),
        max_attempts,
        max_in_flight,
    })
}

/// A mode in words.
pub(super) fn encode_mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Ordered => "ordered",
        Mode::Queue => "queue",
    }
}

/// A mode from words.
pub(super) fn decode_mode(text: &str) -> Result<Mode, String> {
    match text {
        "ordered" => Ok(Mode::Ordered),
        "queue" => Ok(Mode::Queue),
        other => Err(format!("{other:?} is no mode")),
    }
}

/// A producer's topics as JSON.
pub(super) fn encode_patterns(patterns: &[TopicPattern]) -> String {
    json(&patterns.iter().map(TopicPattern::to_string).collect::<Vec<_>>())
}

/// A producer's topics from JSON.
pub(super) fn decode_patterns(text: &str) -> Result<Vec<TopicPattern>, String> {
    let patterns: Vec<String> = parse(text)?;
    patterns.iter().map(|pattern| TopicPattern::parse(pattern)).collect()
}

/// A value as JSON.
#[expect(clippy::expect_used, reason = "text, numbers, lists and maps with text keys are always JSON")]
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("a stored setting is not JSON")
}

/// A value from JSON; the error says where it is wrong.
pub(super) fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn list(texts: &[ByteString]) -> Vec<Cow<'_, str>> {
    texts.iter().map(|text| Cow::Borrowed(&**text)).collect()
}

/// Attributes, borrowed for writing.
pub(super) fn borrowed(attributes: &Attributes) -> Map<'_> {
    attributes.iter().map(|(name, value)| (Cow::Borrowed(&**name), Cow::Borrowed(&**value))).collect()
}

/// Attributes, as they were read.
pub(super) fn owned(map: Map<'_>) -> Attributes {
    map.iter().map(|(name, value)| (ByteString::from(&**name), ByteString::from(&**value))).collect()
}
