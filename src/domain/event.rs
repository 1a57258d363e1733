//! Events, before and after they are recorded.

use std::{collections::BTreeMap, sync::OnceLock};

use bytes::Bytes;
use bytestring::ByteString;

use super::{Offset, Timestamp};

/// Further context of an event, by name, in the order of names.
pub type Attributes = BTreeMap<ByteString, ByteString>;

/// What an event carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Opaque bytes.
    Data(Bytes),
    /// UTF-8 text, kept byte for byte.
    Text(ByteString),
    /// A JSON value that was sent inline, as compact JSON text; recorded as text.
    Json(ByteString),
}

impl Payload {
    /// The bytes of the payload, whatever it is.
    pub fn bytes(&self) -> &Bytes {
        match self {
            Self::Data(data) => data,
            Self::Text(text) | Self::Json(text) => text.as_bytes(),
        }
    }
}

/// An event as its producer sent it, checked, without any default filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// What happened.
    pub r#type: ByteString,
    /// The entity it happened to; empty: none.
    pub key: ByteString,
    /// The producer's id; empty: none.
    pub id: ByteString,
    /// Where it happened; empty: the caller's own source.
    pub source: ByteString,
    /// When it happened; `None`: the time of recording.
    pub time: Option<Timestamp>,
    /// Media type of the payload; empty: by the payload.
    pub content_type: ByteString,
    /// Further context.
    pub attributes: Attributes,
    /// Business transaction; empty: by the call.
    pub correlation_id: ByteString,
    /// The event that caused this one; empty: none.
    pub causation_id: ByteString,
    /// The payload.
    pub payload: Payload,
}

/// What is kept of an event, with every default filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventBody {
    /// What happened.
    pub r#type: ByteString,
    /// The entity it happened to; empty: none.
    pub key: ByteString,
    /// The producer's id, or one that the server made.
    pub id: ByteString,
    /// Where it happened.
    pub source: ByteString,
    /// When it happened; `None`: when it was recorded.
    pub time: Option<Timestamp>,
    /// Media type of the payload.
    pub content_type: ByteString,
    /// Further context.
    pub attributes: Attributes,
    /// Business transaction; empty: none.
    pub correlation_id: ByteString,
    /// The event that caused this one; empty: none.
    pub causation_id: ByteString,
    /// The payload, never [`Payload::Json`].
    pub payload: Payload,
    /// Who published it: `producers/shop` or `users/ada`.
    pub producer: ByteString,
}

impl EventBody {
    /// The source of events whose producer names none.
    pub fn default_source(producer: &str) -> ByteString {
        format!("/{producer}").into()
    }

    /// About how many bytes the event takes in memory, on disk and on the wire.
    pub fn size(&self) -> usize {
        const FIXED: usize = 64;
        let attributes: usize = self.attributes.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
        FIXED
            + self.r#type.len()
            + self.key.len()
            + self.id.len()
            + self.source.len()
            + self.content_type.len()
            + self.correlation_id.len()
            + self.causation_id.len()
            + self.producer.len()
            + self.payload.bytes().len()
            + attributes
    }
}

/// A recorded event. It never changes.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its place in the topic.
    pub offset: Offset,
    /// When the store recorded it; never decreases along a topic.
    pub recorded_time: Timestamp,
    /// What its producer said, and what was filled in.
    pub body: EventBody,
    /// The event as it goes over the wire, made when first needed; opaque here.
    wire: OnceLock<Bytes>,
}

impl Event {
    /// An event at its place.
    pub fn new(offset: Offset, recorded_time: Timestamp, body: EventBody) -> Self {
        Self { offset, recorded_time, body, wire: OnceLock::new() }
    }

    /// When it happened: by its producer's clock, or when it was recorded.
    pub fn time(&self) -> Timestamp {
        self.body.time.unwrap_or(self.recorded_time)
    }

    /// Whether the event was encoded.
    pub fn is_encoded(&self) -> bool {
        self.wire.get().is_some()
    }

    /// The encoded event, encoded by `encode` the first time and shared from then on.
    pub fn wire(&self, encode: impl FnOnce(&Self) -> Bytes) -> &Bytes {
        self.wire.get_or_init(|| encode(self))
    }
}
