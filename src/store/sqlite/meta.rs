//! What is stored of an event beside its place and its payload: one JSON text.

use std::borrow::Cow;

use bytestring::ByteString;
use serde::{Deserialize, Serialize};

use super::{
    error::corrupt,
    rows::time,
    settings::{Map, borrowed, json, owned, parse},
};
use crate::{
    domain::{EventBody, Payload, Timestamp},
    store::StoreError,
};

/// The column `meta`. What is empty is left out; so is the source, if it is the producer's own.
#[derive(Serialize, Deserialize)]
struct StoredMeta<'a> {
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    r#type: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    key: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    id: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    source: Option<Cow<'a, str>>,
    /// Microseconds since 1970; absent: as recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<i64>,
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    content_type: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Map::is_empty")]
    attributes: Map<'a>,
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    correlation_id: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    causation_id: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    producer: Cow<'a, str>,
}

/// The column `meta` of an event.
pub(super) fn encode_meta(body: &EventBody) -> String {
    let EventBody {
        r#type,
        key,
        id,
        source,
        time,
        content_type,
        attributes,
        correlation_id,
        causation_id,
        payload: _,
        producer,
    } = body;
    let is_default = source.strip_prefix('/') == Some(&**producer);
    json(&StoredMeta {
        r#type: Cow::Borrowed(r#type),
        key: Cow::Borrowed(key),
        id: Cow::Borrowed(id),
        source: (!is_default).then(|| Cow::Borrowed(&**source)),
        time: time.map(Timestamp::micros),
        content_type: Cow::Borrowed(content_type),
        attributes: borrowed(attributes),
        correlation_id: Cow::Borrowed(correlation_id),
        causation_id: Cow::Borrowed(causation_id),
        producer: Cow::Borrowed(producer),
    })
}

/// Reads the column `meta`; what is the same in one event after the other is kept in memory once.
#[derive(Default)]
pub(super) struct MetaReader {
    r#type: ByteString,
    producer: ByteString,
    default_source: ByteString,
    content_type: ByteString,
    correlation_id: ByteString,
}

impl MetaReader {
    /// The body of an event with this payload.
    pub(super) fn body(&mut self, meta: &str, payload: Payload) -> Result<EventBody, StoreError> {
        let meta: StoredMeta = parse(meta).map_err(corrupt)?;
        if share(&mut self.producer, &meta.producer) || self.default_source.is_empty() {
            self.default_source = EventBody::default_source(&self.producer);
        }
        share(&mut self.r#type, &meta.r#type);
        share(&mut self.content_type, &meta.content_type);
        share(&mut self.correlation_id, &meta.correlation_id);
        Ok(EventBody {
            r#type: self.r#type.clone(),
            key: ByteString::from(&*meta.key),
            id: ByteString::from(&*meta.id),
            source: meta.source.map_or_else(|| self.default_source.clone(), |source| ByteString::from(&*source)),
            time: meta.time.map(time).transpose()?,
            content_type: self.content_type.clone(),
            attributes: owned(meta.attributes),
            correlation_id: self.correlation_id.clone(),
            causation_id: ByteString::from(&*meta.causation_id),
            payload,
            producer: self.producer.clone(),
        })
    }
}

/// Makes `kept` the text, and says whether it was another one.
fn share(kept: &mut ByteString, text: &str) -> bool {
    let changed = &**kept != text;
    if changed {
        *kept = text.into();
    }
    changed
}
