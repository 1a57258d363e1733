//! What an event says beyond the columns that every event has: only what is not as usual.

use std::{borrow::Cow, collections::BTreeMap};

use bytes::Bytes;
use bytestring::ByteString;
use serde::{Deserialize, Serialize};

use super::columns;
use crate::{
    domain::{EventBody, Payload},
    store::StoreError,
};

/// The content type of an event whose meta does not say.
const USUAL_CONTENT_TYPE: &str = "application/json";

/// An element of the column `metas`; absent fields are as usual, and a null element is all as usual.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta<'a> {
    /// Absent: `/` and the producer.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Cow<'a, str>>,
    /// Absent: JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<Cow<'a, str>>,
    /// Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<Cow<'a, str>>,
    /// Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    causation_id: Option<Cow<'a, str>>,
    /// Absent: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    /// Absent: text.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<Kind>,
}

/// What a payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// Opaque bytes.
    Data,
    /// UTF-8 text.
    Text,
}

impl<'a> Meta<'a> {
    /// What is unusual about an event; `None` if nothing is.
    pub(super) fn of(body: &'a EventBody) -> Option<Self> {
        let unusual = |value: &'a ByteString| (!value.is_empty()).then_some(Cow::Borrowed(&**value));
        let meta = Self {
            source: (!is_usual_source(&body.source, &body.producer)).then_some(Cow::Borrowed(&*body.source)),
            content_type: (body.content_type != USUAL_CONTENT_TYPE).then_some(Cow::Borrowed(&*body.content_type)),
            correlation_id: unusual(&body.correlation_id),
            causation_id: unusual(&body.causation_id),
            attributes: body.attributes.iter().map(|(name, value)| ((&**name).into(), (&**value).into())).collect(),
            kind: match body.payload {
                Payload::Data(_) => Some(Kind::Data),
                Payload::Text(_) | Payload::Json(_) => None,
            },
        };
        (meta != Self::default()).then_some(meta)
    }
}

impl Meta<'_> {
    /// The source of an event of this producer.
    pub(super) fn source(&mut self, usual: &mut UsualSource, producer: &ByteString) -> ByteString {
        self.source.take().map_or_else(|| usual.of(producer), own)
    }

    /// Completes an event that has everything but what stands here.
    pub(super) fn complete(self, usual: &mut UsualSource, body: EventBody) -> Result<EventBody, StoreError> {
        let Self { source, content_type, correlation_id, causation_id, attributes, kind } = self;
        let data: Bytes = body.payload.bytes().clone();
        Ok(EventBody {
            source: source.map_or_else(|| usual.of(&body.producer), own),
            content_type: content_type.map_or(ByteString::from_static(USUAL_CONTENT_TYPE), own),
            correlation_id: correlation_id.map_or(ByteString::new(), own),
            causation_id: causation_id.map_or(ByteString::new(), own),
            attributes: attributes.into_iter().map(|(name, value)| (own(name), own(value))).collect(),
            payload: match kind {
                Some(Kind::Data) => Payload::Data(data),
                Some(Kind::Text) | None => Payload::Text(columns::text("payloads", data)?),
            },
            ..body
        })
    }
}

/// The usual source, kept from one event to the next, which mostly has the same producer.
#[derive(Debug, Default)]
pub(super) struct UsualSource {
    last: Option<(ByteString, ByteString)>,
}

impl UsualSource {
    /// The usual source of a producer.
    fn of(&mut self, producer: &ByteString) -> ByteString {
        match &self.last {
            Some((last, source)) if last == producer => source.clone(),
            Some(_) | None => {
                let source = EventBody::default_source(producer);
                self.last = Some((producer.clone(), source.clone()));
                source
            }
        }
    }
}

fn is_usual_source(source: &str, producer: &str) -> bool {
    source.strip_prefix('/') == Some(producer)
}

fn own(text: Cow<'_, str>) -> ByteString {
    text.into_owned().into()
}

#[cfg(test)]
mod tests {
    use bytestring::ByteString;

    use super::{Meta, UsualSource};
    use crate::domain::{EventBody, Payload};

    fn usual() -> EventBody {
        EventBody {
            r#type: "order.placed".into(),
            key: "order-1".into(),
            id: "1".into(),
            source: "/producers/shop".into(),
            time: None,
            content_type: "application/json".into(),
            attributes: [].into(),
            correlation_id: ByteString::new(),
            causation_id: ByteString::new(),
            payload: Payload::Text("{}".into()),
            producer: "producers/shop".into(),
        }
    }

    /// The event as it comes back, when everything in its meta was lost but what is in the JSON.
    fn stored(body: &EventBody) -> EventBody {
        let json = Meta::of(body).map(|meta| serde_json::to_string(&meta).unwrap());
        let meta: Meta<'_> = json.map(|json| serde_json::from_str(&json).unwrap()).unwrap_or_default();
        let bare = EventBody {
            source: ByteString::new(),
            content_type: ByteString::new(),
            attributes: [].into(),
            correlation_id: ByteString::new(),
            causation_id: ByteString::new(),
            payload: Payload::Data(body.payload.bytes().clone()),
            ..body.clone()
        };
        meta.complete(&mut UsualSource::default(), bare).unwrap()
    }

    #[test]
    fn a_usual_event_has_no_meta() {
        assert_eq!(Meta::of(&usual()), None);
        assert_eq!(stored(&usual()), usual());
    }

    #[test]
    fn whatever_is_unusual_comes_back() {
        let changes: [fn(&mut EventBody); 9] = [
            |e| e.source = "/elsewhere".into(),
            |e| e.source = ByteString::new(),
            |e| e.content_type = "text/plain".into(),
            |e| e.content_type = ByteString::new(),
            |e| e.correlation_id = "c".into(),
            |e| e.causation_id = "\"\\u0041\u{1}".into(),
            |e| e.attributes = [("a.b".into(), "ä".into()), ("c".into(), ByteString::new())].into(),
            |e| e.payload = Payload::Data("{}".into()),
            |e| e.payload = Payload::Data(b"\xff\0"[..].into()),
        ];
        for (n, change) in changes.iter().enumerate() {
            let mut event = usual();
            change(&mut event);
            assert!(Meta::of(&event).is_some(), "change {n} looked usual");
            assert_eq!(stored(&event), event, "change {n}");
        }
    }
}
