//! Events as they are sent.

use super::Template;
use crate::{
    cli::json,
    proto::v1::{NewEvent, new_event::Payload},
};

/// An event of this template. The payload is text if it is UTF-8.
pub(super) fn with_payload(template: &Template, payload: Vec<u8>) -> NewEvent {
    let Template { r#type, key, id, source, time, content_type, attributes, correlation_id, causation_id } =
        template.clone();
    let payload = match String::from_utf8(payload) {
        Ok(text) => Payload::Text(text),
        Err(binary) => Payload::Data(binary.into_bytes().into()),
    };
    let event = NewEvent {
        r#type: r#type.unwrap_or_default(),
        key,
        id: id.unwrap_or_default(),
        source,
        time,
        content_type,
        attributes: attributes.into_iter().collect(),
        correlation_id,
        causation_id,
        payload: Some(payload),
    };
    with_id(event)
}

/// An event from a line of proto JSON.
pub(super) fn from_envelope(line: &[u8]) -> Result<NewEvent, String> {
    json::new_event(line).map(with_id)
}

/// An id makes a repeated call store the event once.
fn with_id(mut event: NewEvent) -> NewEvent {
    if event.id.is_empty() {
        event.id = uuid::Uuid::now_v7().to_string();
    }
    event
}

#[cfg(test)]
mod tests {
    use super::{Payload, from_envelope};

    #[test]
    fn an_id_is_kept_and_else_made() {
        assert_eq!(from_envelope(br#"{"id":"x","type":"a","text":"t"}"#).map(|event| event.id).as_deref(), Ok("x"));
        let (one, two) = (from_envelope(b"{}").expect("valid"), from_envelope(b"{}").expect("valid"));
        assert!(one.id.len() == 36 && one.id < two.id, "{} does not come before {}", one.id, two.id);
        assert_eq!(one.payload, None::<Payload>);
    }
}
