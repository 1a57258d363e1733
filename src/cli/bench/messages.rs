//! The messages of a publishing stream, as far as they are looked at: the publisher shares a machine with the server
//! that it measures, and has neither ids nor times of what was recorded copied for nothing.

use bytes::Bytes;

use crate::proto::v1;

/// `PublishStreamRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Request {
    #[prost(int64, tag = "1")]
    pub(super) sequence: i64,
    #[prost(message, optional, tag = "2")]
    pub(super) publish: Option<Publish>,
}

/// `PublishRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Publish {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) topic: Bytes,
    #[prost(message, repeated, tag = "2")]
    pub(super) events: Vec<NewEvent>,
}

/// `NewEvent`, of which the payload is a text.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct NewEvent {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) r#type: Bytes,
    #[prost(string, tag = "2")]
    pub(super) key: String,
    #[prost(string, tag = "3")]
    pub(super) id: String,
    #[prost(string, tag = "11")]
    pub(super) text: String,
}

/// `PublishStreamResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Response {
    #[prost(int64, tag = "1")]
    pub(super) sequence: i64,
    #[prost(message, optional, tag = "2")]
    pub(super) published: Option<PublishResponse>,
    #[prost(message, optional, tag = "3")]
    pub(super) error: Option<v1::PublishError>,
    #[prost(message, optional, tag = "4")]
    pub(super) closing: Option<v1::Closing>,
}

/// `PublishResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PublishResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) published: Vec<Published>,
}

/// `Published`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Published {
    #[prost(int64, tag = "2")]
    pub(super) offset: i64,
    #[prost(bool, tag = "4")]
    pub(super) duplicate: bool,
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::{NewEvent, Publish, Published, Request, Response};
    use crate::proto::v1;

    #[test]
    fn requests_are_what_the_generated_code_takes_them_for() {
        let event = NewEvent { r#type: "t".into(), key: "k".into(), id: "i".into(), text: "x".into() };
        let request = Request { sequence: 7, publish: Some(Publish { topic: "orders".into(), events: vec![event] }) };
        let payload = Some(v1::new_event::Payload::Text("x".into()));
        let event = v1::NewEvent { r#type: "t".into(), key: "k".into(), id: "i".into(), payload, ..Default::default() };
        let publish = v1::PublishRequest { topic: "orders".into(), events: vec![event], ..Default::default() };
        let expected = v1::PublishStreamRequest { sequence: 7, publish: Some(publish) };
        assert_eq!(v1::PublishStreamRequest::decode(&request.encode_to_vec()[..]), Ok(expected));
    }

    #[test]
    fn responses_are_what_the_generated_code_makes() {
        let published = v1::Published { id: "i".into(), offset: 3, duplicate: true, ..Default::default() };
        let results = [
            v1::publish_stream_response::Result::Published(v1::PublishResponse { published: vec![published] }),
            v1::publish_stream_response::Result::Error(v1::PublishError { code: 5, ..Default::default() }),
            v1::publish_stream_response::Result::Closing(v1::Closing { reason: 1, ..Default::default() }),
        ];
        let read = |result| {
            let response = v1::PublishStreamResponse { sequence: 9, result: Some(result) };
            Response::decode(&response.encode_to_vec()[..]).unwrap()
        };
        let [done, failed, closing] = results.map(read);
        assert_eq!(done.sequence, 9);
        assert_eq!(done.published.unwrap().published, [Published { offset: 3, duplicate: true }]);
        assert_eq!(failed.error.unwrap().code, 5);
        assert_eq!(closing.closing.unwrap().reason, 1);
    }
}
