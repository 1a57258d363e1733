//! Filling in what a producer left out.

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use serde::de::IgnoredAny;
use uuid::{Uuid, fmt::Hyphenated};

use crate::domain::{ContentHash, EventBody, IdKey, Identity, Invalid, NewEvent, Payload, PendingEvent, Principal};

/// The attribute that holds the call's trace context; it does not count against the limit.
pub const TRACEPARENT: &str = "traceparent";

/// What the call gives to its events.
#[derive(Debug)]
pub(super) struct Enrichment {
    producer: ByteString,
    source: ByteString,
    correlation_id: ByteString,
    traceparent: Option<ByteString>,
    ids: Ids,
}

/// Ids that were made ahead, in one buffer that they share.
#[derive(Debug, Default)]
struct Ids {
    left: Bytes,
    made: usize,
}

impl Ids {
    /// Made at once, at most: what one of them keeps in memory.
    const MOST: usize = 64;

    /// A new UUIDv7. The first one is made by itself, and then ever more at once.
    fn next(&mut self) -> ByteString {
        if self.left.is_empty() {
            self.made = (self.made * 2).clamp(1, Self::MOST);
            let mut buffer = BytesMut::with_capacity(self.made * Hyphenated::LENGTH);
            for _ in 0..self.made {
                let mut text = [0; Hyphenated::LENGTH];
                Uuid::now_v7().hyphenated().encode_lower(&mut text);
                buffer.extend_from_slice(&text);
            }
            self.left = buffer.freeze();
        }
        // An id is ASCII.
        ByteString::try_from(self.left.split_to(Hyphenated::LENGTH)).unwrap_or_default()
    }
}

impl Enrichment {
    pub(super) fn new(principal: &Principal, correlation_id: ByteString, traceparent: Option<ByteString>) -> Self {
        let source = EventBody::default_source(&principal.name);
        Self { producer: principal.name.clone(), source, correlation_id, traceparent, ids: Ids::default() }
    }

    /// Fills in every default. The error names sources that belong to somebody else.
    pub(super) fn enrich(&mut self, events: Vec<NewEvent>) -> Result<Vec<PendingEvent>, Invalid> {
        let mut invalid = Invalid::default();
        for (index, event) in events.iter().enumerate() {
            if self.is_foreign(&event.source) {
                let own = &self.source;
                let text = format!("{:?} belongs to another caller; yours is {own:?}", &*event.source);
                invalid.add(format!("events[{index}].source"), text);
            }
        }
        invalid.into_result(())?;
        Ok(events.into_iter().map(|event| self.fill_in(event)).collect())
    }

    /// Sources under `/producers/` and `/users/` are those callers' own.
    fn is_foreign(&self, source: &str) -> bool {
        let owned = source.starts_with("/producers/") || source.starts_with("/users/");
        let rest = source.strip_prefix(&*self.source);
        owned && !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    fn fill_in(&mut self, event: NewEvent) -> PendingEvent {
        let source = if event.source.is_empty() { self.source.clone() } else { event.source.clone() };
        let identity = (!event.id.is_empty())
            .then(|| Identity { key: IdKey::of(&source, &event.id), content: ContentHash::of(&event) });
        let NewEvent {
            r#type,
            key,
            id,
            source: _,
            time,
            content_type,
            mut attributes,
            correlation_id,
            causation_id,
            payload,
        } = event;
        if let Some(traceparent) = &self.traceparent {
            let name = ByteString::from_static(TRACEPARENT);
            attributes.entry(name).or_insert_with(|| traceparent.clone());
        }
        let or = |value: ByteString, default: &ByteString| if value.is_empty() { default.clone() } else { value };
        let body = EventBody {
            r#type,
            key,
            id: if id.is_empty() { self.ids.next() } else { id },
            source,
            time,
            content_type: if content_type.is_empty() { content_type_of(&payload) } else { content_type },
            attributes,
            correlation_id: or(correlation_id, &self.correlation_id),
            causation_id,
            payload: match payload {
                Payload::Json(text) => Payload::Text(text),
                Payload::Text(_) | Payload::Data(_) => payload,
            },
            producer: self.producer.clone(),
        };
        PendingEvent { body, identity }
    }
}

/// The media type of a payload whose producer names none.
fn content_type_of(payload: &Payload) -> ByteString {
    ByteString::from_static(match payload {
        Payload::Data(_) => "application/octet-stream",
        Payload::Json(_) => "application/json",
        Payload::Text(text) if serde_json::from_str::<IgnoredAny>(text).is_ok() => "application/json",
        Payload::Text(_) => "text/plain",
    })
}

#[cfg(test)]
mod tests {
    use bytestring::ByteString;

    use super::Enrichment;
    use crate::domain::{Caller, CredentialRef, NewEvent, Payload, Principal, Role, Username};

    fn event(source: &str, payload: Payload) -> NewEvent {
        NewEvent {
            r#type: "t".into(),
            key: ByteString::new(),
            id: ByteString::new(),
            source: source.into(),
            time: None,
            content_type: ByteString::new(),
            attributes: Default::default(),
            correlation_id: ByteString::new(),
            causation_id: ByteString::new(),
            payload,
        }
    }

    fn enrichment() -> Enrichment {
        let caller = Caller::User { name: Username::parse("ada").unwrap(), role: Role::Operator };
        Enrichment::new(
            &Principal::new(caller, CredentialRef::Key { id: "k".into() }, None),
            "call".into(),
            Some("00-aa-bb-01".into()),
        )
    }

    #[test]
    fn defaults_come_from_the_caller_the_call_and_the_payload() {
        let payloads = [
            (Payload::Text("{\"a\":1}".into()), "application/json"),
            (Payload::Text("{a".into()), "text/plain"),
            (Payload::Json("1".into()), "application/json"),
            (Payload::Data("x".into()), "application/octet-stream"),
        ];
        for (payload, content_type) in payloads {
            let body = enrichment().enrich(vec![event("", payload)]).unwrap().remove(0).body;
            assert_eq!(body.content_type, content_type);
            assert_eq!((&*body.source, &*body.producer, &*body.correlation_id), ("/users/ada", "users/ada", "call"));
            assert_eq!(body.attributes[&ByteString::from("traceparent")], "00-aa-bb-01");
            assert!(!body.id.is_empty());
        }
    }

    #[test]
    fn sources_of_other_callers_are_refused() {
        let text = || Payload::Text("x".into());
        for own in ["", "/users/ada", "/users/ada/laptop", "/shop", "urn:x"] {
            assert!(enrichment().enrich(vec![event(own, text())]).is_ok(), "{own} was refused");
        }
        for foreign in ["/users/adam", "/users/bob", "/producers/ada", "/producers/"] {
            let refused = enrichment().enrich(vec![event("", text()), event(foreign, text())]).unwrap_err();
            assert_eq!(refused.violations()[0].field, "events[1].source", "{foreign} was taken");
        }
    }
}
