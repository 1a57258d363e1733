//! What makes publishing idempotent: the key of an event's id, and the hash of its content.

use std::fmt;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{NewEvent, Payload};

/// Where an id stands in the index of a topic's ids.
///
/// The first 8 bytes are the id's own (of its binary form if it is a UUID), so that time-ordered ids
/// go to the right end of the index; the other 8 are of SHA-256 over source and id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdKey(pub Uuid);

/// 128 bits of SHA-256 over an event's fields as sent, before enrichment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentHash(pub Uuid);

/// What an event whose producer gave an id is recognized by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The place of (source, id) in the topic's index.
    pub key: IdKey,
    /// The content that belongs to it.
    pub content: ContentHash,
}

/// Raised when the encoding below changes; hashes of different versions never compare equal.
const HASH_VERSION: u8 = 1;

impl IdKey {
    /// The key of an id under its source, which is never empty.
    pub fn of(source: &str, id: &str) -> Self {
        let mut key = [0; 16];
        let mut head = [0; 8];
        match Uuid::try_parse(id) {
            Ok(uuid) => head.copy_from_slice(&uuid.as_bytes()[..8]),
            Err(_) => {
                for (place, byte) in head.iter_mut().zip(id.bytes()) {
                    *place = byte;
                }
            }
        }
        let mut hash = Hasher::new();
        hash.field(4, source.as_bytes());
        hash.field(3, id.as_bytes());
        key[..8].copy_from_slice(&head);
        key[8..].copy_from_slice(&hash.finish().as_bytes()[..8]);
        Self(Uuid::from_bytes(key))
    }
}

impl ContentHash {
    /// The hash of an event as sent: version, then each field that is set, in the order of its number
    /// in `NewEvent`, as number, length and bytes.
    pub fn of(event: &NewEvent) -> Self {
        let NewEvent { r#type, key, id, source, time, content_type, attributes, correlation_id, causation_id, payload } =
            event;
        let mut hash = Hasher::new();
        hash.field(1, r#type.as_bytes());
        hash.field(2, key.as_bytes());
        hash.field(3, id.as_bytes());
        hash.field(4, source.as_bytes());
        if let Some(time) = time {
            hash.field(5, &time.micros().to_be_bytes());
        }
        hash.field(6, content_type.as_bytes());
        for (name, value) in attributes {
            hash.field(7, name.as_bytes());
            hash.always(7, value.as_bytes());
        }
        hash.field(8, correlation_id.as_bytes());
        hash.field(9, causation_id.as_bytes());
        match payload {
            Payload::Data(data) => hash.always(10, data),
            Payload::Text(text) => hash.always(11, text.as_bytes()),
            Payload::Json(text) => hash.always(12, text.as_bytes()),
        }
        Self(hash.finish())
    }
}

impl fmt::Display for IdKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// SHA-256 over a version byte and length-prefixed fields.
struct Hasher(Sha256);

impl Hasher {
    fn new() -> Self {
        Self(Sha256::new_with_prefix([HASH_VERSION]))
    }

    /// Takes in a field unless it is empty, which is the same as absent.
    fn field(&mut self, number: u8, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.always(number, bytes);
        }
    }

    fn always(&mut self, number: u8, bytes: &[u8]) {
        self.0.update([number]);
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    /// The first 128 bits of the digest.
    fn finish(self) -> Uuid {
        let digest = self.0.finalize();
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        Uuid::from_bytes(half)
    }
}

#[cfg(test)]
mod tests {
    use bytestring::ByteString;

    use super::{ContentHash, IdKey};
    use crate::domain::{NewEvent, Payload, Timestamp};

    fn event() -> NewEvent {
        NewEvent {
            r#type: "order.placed".into(),
            key: "order-1".into(),
            id: "0198f2d4-0000-7000-8000-000000000001".into(),
            source: "/shop".into(),
            time: Timestamp::from_micros(1_700_000_000_000_000),
            content_type: ByteString::new(),
            attributes: [("b".into(), "2".into()), ("a".into(), "1".into())].into(),
            correlation_id: "c".into(),
            causation_id: ByteString::new(),
            payload: Payload::Text("{}".into()),
        }
    }

    /// Changing what is hashed would make every stored id look reused: these values must never change.
    #[test]
    fn hashes_stay_what_they_were() {
        let mut event = event();
        assert_eq!(ContentHash::of(&event).0.to_string(), "856f14f6-0984-23d5-3ff5-6111b1344b35");
        event.time = None;
        event.attributes.clear();
        event.payload = Payload::Data("{}".into());
        assert_eq!(ContentHash::of(&event).0.to_string(), "bc0cf898-aa52-78b9-81f9-47dd695264bb");
        assert_eq!(IdKey::of("/shop", &event.id).0.to_string(), "0198f2d4-0000-7000-a88b-147a9414f9e8");
        assert_eq!(IdKey::of("/shop", "order-1").0.to_string(), "6f726465-722d-3100-60a6-41ebf3d08b3a");
    }

    #[test]
    fn every_field_counts() {
        let base = ContentHash::of(&event());
        let changes: [fn(&mut NewEvent); 11] = [
            |e| e.r#type = "order.placedx".into(),
            |e| e.key = ByteString::new(),
            |e| e.id = "other".into(),
            |e| e.source = "/other".into(),
            |e| e.time = None,
            |e| e.content_type = "text/plain".into(),
            |e| drop(e.attributes.insert("a".into(), "12".into())),
            |e| e.correlation_id = ByteString::new(),
            |e| e.causation_id = "c".into(),
            |e| e.payload = Payload::Data("{}".into()),
            |e| e.payload = Payload::Json("{}".into()),
        ];
        for (n, change) in changes.iter().enumerate() {
            let mut event = event();
            change(&mut event);
            assert_ne!(ContentHash::of(&event), base, "change {n} went unnoticed");
        }
    }

    #[test]
    fn uuids_in_any_spelling_sort_by_time_and_differ() {
        let lower = IdKey::of("/s", "0198f2d4-0000-7000-8000-00000000000a");
        let upper = IdKey::of("/s", "0198F2D4-0000-7000-8000-00000000000A");
        assert_eq!(lower.0.as_bytes()[..8], upper.0.as_bytes()[..8]);
        assert_ne!(lower, upper);
        assert!(lower < IdKey::of("/s", "0198f2d5-0000-7000-8000-00000000000a"));
        assert_ne!(lower, IdKey::of("/t", "0198f2d4-0000-7000-8000-00000000000a"));
    }
}
