//! Proto JSON, by the descriptors of the API.

use std::sync::OnceLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};

use super::failure::Failure;
use crate::proto::{DESCRIPTORS, v1};

/// Which fields with default values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Defaults {
    /// None, as is usual for proto JSON: events.
    Left,
    /// All, so that a script finds `head_offset` also when it is 0.
    Written,
}

/// One message as one line of JSON: proto field names, 64-bit numbers as strings.
pub(super) fn line(name: &str, message: &impl Message, defaults: Defaults) -> Result<String, Failure> {
    let broken = |error: &dyn std::fmt::Display| Failure::Local(format!("{name} cannot be written as JSON: {error}"));
    let dynamic = DynamicMessage::decode(descriptor(name)?, message.encode_to_vec().as_slice())
        .map_err(|error| broken(&error))?;
    let options = SerializeOptions::new().use_proto_field_name(true).skip_default_fields(defaults == Defaults::Left);
    let mut text = Vec::new();
    dynamic
        .serialize_with_options(&mut serde_json::Serializer::new(&mut text), &options)
        .map_err(|error| broken(&error))?;
    String::from_utf8(text).map_err(|error| broken(&error))
}

/// An event to publish, from one line of JSON. The error says what is wrong with it.
pub(super) fn new_event(text: &[u8]) -> Result<v1::NewEvent, String> {
    let descriptor = descriptor("NewEvent").map_err(|failure| failure.to_string())?;
    let mut reader = serde_json::Deserializer::from_slice(text);
    let dynamic = DynamicMessage::deserialize(descriptor, &mut reader).map_err(|error| error.to_string())?;
    reader.end().map_err(|error| error.to_string())?;
    dynamic.transcode_to().map_err(|error| error.to_string())
}

fn descriptor(name: &str) -> Result<MessageDescriptor, Failure> {
    static POOL: OnceLock<Option<DescriptorPool>> = OnceLock::new();
    POOL.get_or_init(|| DescriptorPool::decode(DESCRIPTORS).ok())
        .as_ref()
        .and_then(|pool| pool.get_message_by_name(&format!("eventflow.v1.{name}")))
        .ok_or_else(|| Failure::Local(format!("this program does not know the message {name}")))
}

#[cfg(test)]
mod tests {
    use super::{Defaults, line, new_event};
    use crate::proto::v1::{Event, NewEvent, Topic, new_event::Payload};

    #[test]
    fn an_envelope_may_use_both_spellings_and_every_payload() {
        let event = new_event(br#"{"type":"a","correlation_id":"c","contentType":"x","json":{"n":1}}"#).expect("valid");
        assert_eq!(
            (event.r#type.as_str(), event.correlation_id.as_str(), event.content_type.as_str()),
            ("a", "c", "x")
        );
        assert!(matches!(event.payload, Some(Payload::Json(_))));
        let event = new_event(br#"{"type":"a","data":"AQI=","time":"2026-11-23T10:00:00Z"}"#).expect("valid");
        assert_eq!(event.payload, Some(Payload::Data(vec![1, 2].into())));
        assert_eq!(event.time.map(|time| time.nanos), Some(0));
    }

    #[test]
    fn a_wrong_envelope_is_refused() {
        for bad in
            [&br#"{"typ":"a"}"#[..], br#"{"type":1}"#, b"", b"[]", br#"{"type":"a"} {}"#, br#"{"text":"a","data":""}"#]
        {
            assert!(new_event(bad).is_err(), "{} was taken", String::from_utf8_lossy(bad));
        }
        assert_eq!(new_event(b"{}"), Ok(NewEvent::default()));
    }

    #[test]
    fn offsets_are_strings_and_names_those_of_the_proto() {
        let event = Event { offset: 7, correlation_id: "c".to_owned(), ..Event::default() };
        let text = line("Event", &event, Defaults::Left).expect("written");
        assert_eq!(text, r#"{"correlation_id":"c","offset":"7"}"#);
    }

    #[test]
    fn settings_show_their_defaults() {
        let text = line("Topic", &Topic::default(), Defaults::Written).expect("written");
        assert!(text.contains(r#""head_offset":"0""#) && text.contains(r#""sealed":false"#), "{text}");
    }
}
