//! The chain of a topic: hashes by which it can be told whether stored events still are what they were.

use std::fmt;

use sha2::{Digest, Sha256};

use super::{Event, EventBody, LogId, Offset, Payload};

/// The version of the encoding below: raised when it changes; links of earlier versions stay.
pub const CHAIN_VERSION: u8 = 1;

/// The hash of a link, and through it of all links before.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChainHash(pub [u8; 32]);

/// A range of a topic's events, and what they were when it was linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Its first event.
    pub first: Offset,
    /// Its last event.
    pub last: Offset,
    /// The topic's log when the link was made.
    pub log_id: LogId,
    /// Of the encoding under the hash.
    pub version: u8,
    /// Of the link before, and of the events.
    pub hash: ChainHash,
}

/// The end of a chain: its newest link, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainEnd {
    /// The last offset that is linked; 0 if there is no link.
    pub offset: Offset,
    /// The hash there; [`ChainHash::NONE`] if there is no link.
    pub hash: ChainHash,
}

impl ChainHash {
    /// What the first link of a topic is chained to.
    pub const NONE: ChainHash = ChainHash([0; 32]);

    /// From 64 hexadecimal digits; the error says what to change.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "is not a hash; write its 64 hexadecimal digits".to_owned();
        let mut hash = [0; 32];
        let digits = text.as_bytes();
        if digits.len() != hash.len() * 2 {
            return Err(wrong());
        }
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |place: usize| char::from(pair[place]).to_digit(16);
            let (Some(high), Some(low)) = (digit(0), digit(1)) else { return Err(wrong()) };
            *byte = (high * 16 + low) as u8;
        }
        Ok(Self(hash))
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Link {
    /// The link of these events, which are consecutive, behind the link of hash `previous`; `None` if there
    /// are no events.
    pub fn of(log_id: LogId, previous: ChainHash, events: &[Event]) -> Option<Self> {
        let (first, last) = (events.first()?.offset, events.last()?.offset);
        let hash = hash(log_id, previous, first, last, events);
        Some(Self { first, last, log_id, version: CHAIN_VERSION, hash })
    }

    /// Whether the link is what it would be if it were made of these events anew.
    pub fn is_of(&self, previous: ChainHash, events: &[Event]) -> bool {
        Self::of(self.log_id, previous, events) == Some(*self)
    }
}

/// SHA-256 over: the version, the log id, the hash before, the first and the last offset; then of each event
/// the fields of the message `Event` that are not empty, each as its number (1 byte), its length (8 bytes,
/// the most significant first) and its bytes. The offset comes first, the others in the order of their
/// numbers; times are microseconds since 1970 in 8 bytes, and an attribute is two fields of one number.
fn hash(log_id: LogId, previous: ChainHash, first: Offset, last: Offset, events: &[Event]) -> ChainHash {
    let mut hash = Hasher(Sha256::new_with_prefix([CHAIN_VERSION]));
    hash.0.update(log_id.0.as_bytes());
    hash.0.update(previous.0);
    hash.0.update(first.get().to_be_bytes());
    hash.0.update(last.get().to_be_bytes());
    for event in events {
        hash.event(event);
    }
    ChainHash(hash.0.finalize().into())
}

struct Hasher(Sha256);

impl Hasher {
    fn event(&mut self, event: &Event) {
        let EventBody {
            r#type,
            key,
            id,
            source,
            time: _,
            content_type,
            attributes,
            correlation_id,
            causation_id,
            payload,
            producer,
        } = &event.body;
        self.always(21, &event.offset.get().to_be_bytes());
        self.field(1, r#type.as_bytes());
        self.field(2, key.as_bytes());
        self.field(3, id.as_bytes());
        self.field(4, source.as_bytes());
        self.always(5, &event.time().micros().to_be_bytes());
        self.field(6, content_type.as_bytes());
        for (name, value) in attributes {
            self.always(7, name.as_bytes());
            self.always(7, value.as_bytes());
        }
        self.field(8, correlation_id.as_bytes());
        self.field(9, causation_id.as_bytes());
        match payload {
            Payload::Data(data) => self.always(10, data),
            Payload::Text(text) | Payload::Json(text) => self.always(11, text.as_bytes()),
        }
        self.always(22, &event.recorded_time.micros().to_be_bytes());
        self.field(23, producer.as_bytes());
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
}

#[cfg(test)]
mod tests {
    use bytestring::ByteString;
    use uuid::Uuid;

    use super::{ChainHash, Link};
    use crate::domain::{Event, EventBody, LogId, Offset, Payload, Timestamp};

    fn body() -> EventBody {
        EventBody {
            r#type: "order.placed".into(),
            key: "order-1".into(),
            id: "0198f2d4-0000-7000-8000-000000000001".into(),
            source: "/shop".into(),
            time: Timestamp::from_micros(1_700_000_000_000_000),
            content_type: "application/json".into(),
            attributes: [("b".into(), "2".into()), ("a".into(), ByteString::new())].into(),
            correlation_id: "c".into(),
            causation_id: ByteString::new(),
            payload: Payload::Text("{}".into()),
            producer: "producers/shop".into(),
        }
    }

    fn event(offset: i64, body: EventBody) -> Event {
        let recorded = Timestamp::from_micros(1_700_000_001_000_000 + offset).unwrap();
        Event::new(Offset::new(offset).unwrap(), recorded, body)
    }

    fn link(previous: ChainHash, events: &[Event]) -> Link {
        Link::of(LogId(Uuid::from_u128(7)), previous, events).unwrap()
    }

    /// Changing what is hashed would make every stored link look altered: these values must never change. They
    /// were computed by another program from the description.
    #[test]
    fn hashes_stay_what_they_were() {
        let plain = EventBody { time: None, attributes: [].into(), payload: Payload::Data("x".into()), ..body() };
        let first = link(ChainHash::NONE, &[event(1, body()), event(2, plain.clone())]);
        assert_eq!(first.hash.to_string(), "2fe509e2369e3fc68ae673c20f48dcf169cfb263316581ba83ea18f2ccd8ddfd");
        let second = link(first.hash, &[event(3, plain)]);
        assert_eq!(second.hash.to_string(), "78611a87f4b5f7cc4bc803472a967027150c2afd587a5fa35492ee370230c0af");
    }

    #[test]
    fn every_field_counts() {
        let base = link(ChainHash::NONE, &[event(1, body())]);
        let changes: [fn(&mut EventBody); 12] = [
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
            |e| e.payload = Payload::Text("{} ".into()),
            |e| e.producer = "producers/shop2".into(),
        ];
        for (n, change) in changes.iter().enumerate() {
            let mut changed = body();
            change(&mut changed);
            assert!(!base.is_of(ChainHash::NONE, &[event(1, changed)]), "change {n} went unnoticed");
        }
        assert!(base.is_of(ChainHash::NONE, &[event(1, body())]));
        let later = Event::new(Offset::new(1).unwrap(), Timestamp::MAX, body());
        assert!(!base.is_of(ChainHash::NONE, &[later]), "the recorded time went unnoticed");
        for other in [vec![event(2, body())], vec![event(1, body()), event(2, body())], vec![]] {
            assert!(!base.is_of(ChainHash::NONE, &other), "{} events were taken", other.len());
        }
        assert!(!base.is_of(base.hash, &[event(1, body())]), "the link before went unnoticed");
        let other_log = Link { log_id: LogId(Uuid::from_u128(8)), ..base };
        assert!(!other_log.is_of(ChainHash::NONE, &[event(1, body())]), "the log went unnoticed");
    }

    /// An event that carries its own time is as readers see one that was recorded at that time.
    #[test]
    fn a_time_that_was_filled_in_is_the_recorded_one() {
        let recorded = event(1, body()).recorded_time;
        let [given, filled] = [Some(recorded), None].map(|time| EventBody { time, ..body() });
        assert_eq!(link(ChainHash::NONE, &[event(1, given)]), link(ChainHash::NONE, &[event(1, filled)]));
    }

    #[test]
    fn hashes_are_written_in_hexadecimal() {
        let hash = link(ChainHash::NONE, &[event(1, body())]).hash;
        assert_eq!(ChainHash::parse(&hash.to_string()), Ok(hash));
        assert_eq!(ChainHash::parse(&hash.to_string().to_uppercase()), Ok(hash));
        let digits = hash.to_string();
        for bad in ["", &digits[1..], &format!("{digits}00"), &format!("{}g", &digits[1..]), &"ä".repeat(32)] {
            assert!(ChainHash::parse(bad).is_err(), "{bad:?} was taken for a hash");
        }
    }
}
