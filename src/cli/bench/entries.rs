//! The events of a batch, read where they lie: nothing is copied or allocated for them.

use prost::{
    DecodeError,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};

use crate::cli::failure::Failure;

/// Field numbers; a test compares with the generated code.
mod field {
    pub(super) const BATCH_EVENTS: u32 = 1;
    pub(super) const EVENT_TEXT: u32 = 11;
    pub(super) const EVENT_OFFSET: u32 = 21;
}

/// The entries of an encoded `EventBatch`, one after the other.
#[derive(Debug)]
pub(super) struct Events<'a>(Fields<'a>);

/// `Event`, as far as it is looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Event<'a> {
    pub(super) text: &'a [u8],
    pub(super) offset: i64,
}

impl<'a> Events<'a> {
    /// The events of a batch.
    pub(super) fn of(batch: &'a [u8]) -> Self {
        Self(Fields(batch))
    }

    /// The next event.
    pub(super) fn next(&mut self) -> Result<Option<Event<'a>>, Failure> {
        while let Some((number, value)) = self.0.next()? {
            if let (field::BATCH_EVENTS, Value::Bytes(event)) = (number, value) {
                return Event::read(event).map(Some);
            }
        }
        Ok(None)
    }
}

impl<'a> Event<'a> {
    fn read(message: &'a [u8]) -> Result<Self, Failure> {
        let (mut event, mut fields) = (Self::default(), Fields(message));
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (field::EVENT_TEXT, Value::Bytes(text)) => event.text = text,
                (field::EVENT_OFFSET, Value::Number(offset)) => event.offset = offset.cast_signed(),
                _ => {}
            }
        }
        Ok(event)
    }
}

/// The fields of a message.
#[derive(Debug)]
struct Fields<'a>(&'a [u8]);

/// The value of a field, where it is of interest.
#[derive(Debug)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Other,
}

impl<'a> Fields<'a> {
    /// The next field, with its number.
    fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, Failure> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let (number, wire_type) = decode_key(&mut self.0).map_err(unreadable)?;
        let value = match wire_type {
            WireType::Varint => Value::Number(decode_varint(&mut self.0).map_err(unreadable)?),
            WireType::LengthDelimited => {
                let len = decode_varint(&mut self.0).map_err(unreadable)?;
                let split = usize::try_from(len).ok().and_then(|len| self.0.split_at_checked(len));
                let (value, rest) = split.ok_or_else(|| Failure::Local(format!("{UNREADABLE}: it is cut off")))?;
                self.0 = rest;
                Value::Bytes(value)
            }
            other => {
                skip_field(other, number, &mut self.0, DecodeContext::default()).map_err(unreadable)?;
                Value::Other
            }
        };
        Ok(Some((number, value)))
    }
}

const UNREADABLE: &str = "the server sent a batch that cannot be read";

fn unreadable(error: DecodeError) -> Failure {
    Failure::Local(format!("{UNREADABLE}: {error}"))
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::{Event, Events};
    use crate::proto::v1;

    fn batch() -> Vec<u8> {
        let event = |offset, payload| v1::Event {
            id: "i".into(),
            topic: "orders".into(),
            recorded_time: Some(prost_types::Timestamp { seconds: 1, nanos: 2 }),
            offset,
            payload: Some(payload),
            ..Default::default()
        };
        let events = vec![
            event(7, v1::event::Payload::Text("first".into())),
            event(8, v1::event::Payload::Data("no text".into())),
        ];
        v1::EventBatch { events, ..Default::default() }.encode_to_vec()
    }

    #[test]
    fn events_are_what_the_generated_code_makes() {
        let batch = batch();
        let mut events = Events::of(&batch);
        assert_eq!(events.next().unwrap(), Some(Event { text: b"first", offset: 7 }));
        assert_eq!(events.next().unwrap(), Some(Event { text: b"", offset: 8 }));
        assert_eq!(events.next().unwrap(), None);
    }

    #[test]
    fn a_batch_that_is_cut_off_is_told() {
        let batch = batch();
        for len in 1..batch.len() - 1 {
            let mut events = Events::of(&batch[..len]);
            let mut read = || -> Result<usize, super::Failure> {
                let mut count = 0;
                while events.next()?.is_some() {
                    count += 1;
                }
                Ok(count)
            };
            assert!(read().map_or(true, |count| count < 2), "cut at {len}");
        }
    }
}
