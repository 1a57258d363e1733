//! Frames of a stream on the wire, put together from events that were encoded once for all readers.
//!
//! Measured on two cores at 50 events a frame: 0.10 µs of server time an event, against 0.42 µs when
//! each reader's frame is encoded by itself.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::{
    DecodeError, Message,
    encoding::{self, DecodeContext, WireType, encode_key, encode_varint, encoded_len_varint, key_len},
};

use super::convert;
use crate::{
    broker::{Deliveries, Delivery, Position, Run},
    domain::{Event, Payload, TopicName},
    proto::v1,
};

/// A `SubscribeResponse` as the server sends it.
#[derive(Debug, Clone)]
pub struct SubscribeFrame(Content);

#[derive(Debug, Clone)]
enum Content {
    Message(v1::SubscribeResponse),
    Batch { run: Run, position: v1::Position, batch_len: usize },
    Deliveries { deliveries: Deliveries, remaining: prost_types::Duration, batch_len: usize },
}

/// Field numbers, as the protos have them; a test compares with the generated code.
mod field {
    pub(super) const BATCH: u32 = 2;
    pub(super) const BATCH_EVENTS: u32 = 1;
    pub(super) const BATCH_POSITION: u32 = 2;
    pub(super) const DELIVERIES: u32 = 3;
    pub(super) const LEASE_ID: u32 = 1;
    pub(super) const LEASE_REMAINING: u32 = 2;
    pub(super) const LEASE_DELIVERIES: u32 = 3;
    /// An event's own is that of `BATCH_EVENTS`, so that it is encoded once for both.
    pub(super) const DELIVERY_ATTEMPT: u32 = 2;
}

impl SubscribeFrame {
    /// A frame without events.
    pub(super) fn message(frame: v1::subscribe_response::Frame) -> Self {
        Self(Content::Message(v1::SubscribeResponse { frame: Some(frame) }))
    }

    /// A frame of events.
    pub(super) fn batch(run: Run, position: Position) -> Self {
        let position = convert::position(position);
        // One buffer for all events of the frame that nobody has encoded before.
        let missing = run.iter().filter(|event| !event.is_encoded());
        let missing = missing.map(|event| HEADER + event.body.size() + run.topic().as_str().len()).sum();
        let mut buffer = BytesMut::with_capacity(missing);
        let events: usize = run.iter().map(|event| wire(event, run.topic(), &mut buffer).len()).sum();
        let batch_len = events + encoding::message::encoded_len(field::BATCH_POSITION, &position);
        Self(Content::Batch { run, position, batch_len })
    }

    /// A frame of leased events.
    pub(super) fn deliveries(deliveries: Deliveries) -> Self {
        let remaining = convert::duration_message(deliveries.remaining);
        let lease = encoding::string::encoded_len(field::LEASE_ID, &deliveries.lease.to_string());
        let entry = |one: &Delivery| {
            let len = delivery_len(one, &deliveries.topic);
            key_len(field::LEASE_DELIVERIES) + encoded_len_varint(len as u64) + len
        };
        let batch_len = lease
            + encoding::message::encoded_len(field::LEASE_REMAINING, &remaining)
            + deliveries.events.iter().map(entry).sum::<usize>();
        Self(Content::Deliveries { deliveries, remaining, batch_len })
    }
}

impl Default for SubscribeFrame {
    fn default() -> Self {
        Self(Content::Message(v1::SubscribeResponse::default()))
    }
}

impl Message for SubscribeFrame {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        match &self.0 {
            Content::Message(message) => message.encode_raw(buf),
            Content::Batch { run, position, batch_len } => {
                encode_key(field::BATCH, WireType::LengthDelimited, buf);
                encode_varint(*batch_len as u64, buf);
                for event in run.iter() {
                    buf.put_slice(wire_alone(event, run.topic()));
                }
                encoding::message::encode(field::BATCH_POSITION, position, buf);
            }
            Content::Deliveries { deliveries, remaining, batch_len } => {
                encode_key(field::DELIVERIES, WireType::LengthDelimited, buf);
                encode_varint(*batch_len as u64, buf);
                encoding::string::encode(field::LEASE_ID, &deliveries.lease.to_string(), buf);
                encoding::message::encode(field::LEASE_REMAINING, remaining, buf);
                for one in &deliveries.events {
                    encode_key(field::LEASE_DELIVERIES, WireType::LengthDelimited, buf);
                    encode_varint(delivery_len(one, &deliveries.topic) as u64, buf);
                    buf.put_slice(wire_alone(one.event(), &deliveries.topic));
                    encoding::int32::encode(field::DELIVERY_ATTEMPT, &convert::attempt(one.attempt), buf);
                }
            }
        }
    }

    fn encoded_len(&self) -> usize {
        match &self.0 {
            Content::Message(message) => message.encoded_len(),
            Content::Batch { batch_len, .. } => {
                key_len(field::BATCH) + encoded_len_varint(*batch_len as u64) + batch_len
            }
            Content::Deliveries { batch_len, .. } => {
                key_len(field::DELIVERIES) + encoded_len_varint(*batch_len as u64) + batch_len
            }
        }
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        if !matches!(self.0, Content::Message(_)) {
            self.clear();
        }
        match &mut self.0 {
            Content::Message(message) => message.merge_field(tag, wire_type, buf, ctx),
            Content::Batch { .. } | Content::Deliveries { .. } => Ok(()),
        }
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Bytes of one entry of a lease.
fn delivery_len(delivery: &Delivery, topic: &TopicName) -> usize {
    let attempt = convert::attempt(delivery.attempt);
    wire_alone(delivery.event(), topic).len() + encoding::int32::encoded_len(field::DELIVERY_ATTEMPT, &attempt)
}

/// Room for the key and the length of an entry.
const HEADER: usize = 6;

/// An event as one entry of a batch: key, length, message. Encoded the first time only, into `buffer`, whose memory it
/// then shares with the others there.
fn wire<'a>(event: &'a Event, topic: &TopicName, buffer: &mut BytesMut) -> &'a Bytes {
    event.wire(|event| {
        // The length is known last, and takes as many bytes as it needs.
        buffer.put_bytes(0, HEADER);
        encode_event(event, topic, buffer);
        let mut entry = buffer.split();
        let mut header = [0; HEADER];
        let mut rest = &mut header[..];
        encode_key(field::BATCH_EVENTS, WireType::LengthDelimited, &mut rest);
        encode_varint((entry.len() - HEADER) as u64, &mut rest);
        let start = rest.len();
        entry[start..HEADER].copy_from_slice(&header[..HEADER - start]);
        entry.advance(start);
        entry.freeze()
    })
}

/// An event that stands by itself, as [`wire`].
fn wire_alone<'a>(event: &'a Event, topic: &TopicName) -> &'a Bytes {
    wire(event, topic, &mut BytesMut::new())
}

/// Writes an `Event`, field by field, from shared bytes: strings and bytes look alike on the wire.
fn encode_event(event: &Event, topic: &TopicName, buf: &mut BytesMut) {
    let body = &event.body;
    put_some(1, body.r#type.as_bytes(), buf);
    put_some(2, body.key.as_bytes(), buf);
    put_some(3, body.id.as_bytes(), buf);
    put_some(4, body.source.as_bytes(), buf);
    encoding::message::encode(5, &convert::timestamp(event.time()), buf);
    put_some(6, body.content_type.as_bytes(), buf);
    for (name, value) in &body.attributes {
        let len = |bytes: &[u8]| key_len(1) + encoded_len_varint(bytes.len() as u64) + bytes.len();
        encode_key(7, WireType::LengthDelimited, buf);
        encode_varint((len(name.as_bytes()) + len(value.as_bytes())) as u64, buf);
        put(1, name.as_bytes(), buf);
        put(2, value.as_bytes(), buf);
    }
    put_some(8, body.correlation_id.as_bytes(), buf);
    put_some(9, body.causation_id.as_bytes(), buf);
    match &body.payload {
        Payload::Data(data) => put(10, data, buf),
        Payload::Text(text) | Payload::Json(text) => put(11, text.as_bytes(), buf),
    }
    put_some(20, topic.as_str().as_bytes(), buf);
    encoding::int64::encode(21, &event.offset.get(), buf);
    encoding::message::encode(22, &convert::timestamp(event.recorded_time), buf);
    put_some(23, body.producer.as_bytes(), buf);
}

fn put_some(tag: u32, bytes: &[u8], buf: &mut BytesMut) {
    if !bytes.is_empty() {
        put(tag, bytes, buf);
    }
}

fn put(tag: u32, bytes: &[u8], buf: &mut BytesMut) {
    encode_key(tag, WireType::LengthDelimited, buf);
    encode_varint(bytes.len() as u64, buf);
    buf.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::{encode_event, field};
    use crate::{
        domain::{Event, EventBody, Offset, Payload, Timestamp, TopicName},
        grpc::convert,
        proto::v1,
    };

    fn body(payload: Payload) -> EventBody {
        EventBody {
            r#type: "order.placed".into(),
            key: "k".into(),
            id: "i".into(),
            source: "/s".into(),
            time: Timestamp::from_micros(-1),
            content_type: "text/plain".into(),
            attributes: [("a".into(), "1".into()), ("b".into(), "".into())].into(),
            correlation_id: "c".into(),
            causation_id: "d".into(),
            payload,
            producer: "users/ada".into(),
        }
    }

    #[test]
    fn an_event_is_written_as_the_generated_code_would() {
        let topic = TopicName::parse("orders").unwrap();
        for payload in [Payload::Data("\0x".into()), Payload::Text("ü".into()), Payload::Data("".into())] {
            let recorded = Timestamp::from_micros(1_700_000_000_123_456).unwrap();
            let event = Event::new(Offset::new(300).unwrap(), recorded, body(payload));
            let mut bytes = bytes::BytesMut::new();
            encode_event(&event, &topic, &mut bytes);
            let decoded = v1::Event::decode(&bytes[..]).unwrap();
            assert_eq!(decoded, convert::event(&event, &topic));
        }
    }

    #[test]
    fn a_batch_is_written_as_the_generated_code_would() {
        let position = v1::Position { offset: 7, head_offset: 9, earliest_offset: 1 };
        let batch = v1::EventBatch { events: vec![v1::Event::default()], position: Some(position) };
        let bytes = batch.encode_to_vec();
        assert_eq!(u32::from(bytes[0]) >> 3, field::BATCH_EVENTS);
        assert_eq!(u32::from(bytes[2]) >> 3, field::BATCH_POSITION);
        let frame = v1::SubscribeResponse { frame: Some(v1::subscribe_response::Frame::Batch(batch)) };
        assert_eq!(u32::from(frame.encode_to_vec()[0]) >> 3, field::BATCH);
    }

    #[test]
    fn a_lease_is_written_as_the_generated_code_would() {
        let delivery = v1::Delivery { event: Some(v1::Event::default()), attempt: 3 };
        let bytes = delivery.encode_to_vec();
        assert_eq!(u32::from(bytes[0]) >> 3, field::BATCH_EVENTS);
        assert_eq!(u32::from(bytes[2]) >> 3, field::DELIVERY_ATTEMPT);
        let remaining = Some(prost_types::Duration { seconds: 0, nanos: 0 });
        let batch = v1::DeliveryBatch { lease_id: "7".into(), lease_remaining: remaining, deliveries: vec![delivery] };
        let bytes = batch.encode_to_vec();
        let tags = [bytes[0], bytes[3], bytes[5]].map(|key| u32::from(key) >> 3);
        assert_eq!(tags, [field::LEASE_ID, field::LEASE_REMAINING, field::LEASE_DELIVERIES]);
        let frame = v1::SubscribeResponse { frame: Some(v1::subscribe_response::Frame::Deliveries(batch)) };
        assert_eq!(u32::from(frame.encode_to_vec()[0]) >> 3, field::DELIVERIES);
    }
}
