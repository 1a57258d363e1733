//! Payloads as people read them.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::output::plain;
use crate::proto::v1::{Event, event::Payload};

/// An event's payload on one line: text as it is, anything else in base64.
pub(super) fn payload(event: &Event) -> String {
    match &event.payload {
        Some(Payload::Text(text)) => plain(text),
        Some(Payload::Data(data)) if !data.is_empty() => format!("base64:{}", STANDARD.encode(data)),
        Some(Payload::Data(_)) | None => String::new(),
    }
}
