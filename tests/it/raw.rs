//! Calls made of bytes, as no generated client would make them.

use bytes::{BufMut, Bytes, BytesMut};
use eventflow::proto::v1::{PublishStreamResponse, publish_stream_response::Result as Outcome};
use futures::{StreamExt, stream};
use http::{HeaderMap, Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use prost::Message;
use tokio::time::timeout;
use tonic::{Code, Status, body::Body};
use tower::ServiceExt;

use crate::{
    client::{Client, as_status},
    harness::patience::DEADLINE,
};

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status of HTTP, 200 for whatever gRPC says.
    pub http: StatusCode,
    /// What came before the messages.
    pub headers: HeaderMap,
    /// The status of gRPC; OK for a stream that has sent a frame; of a publishing stream that went well, what
    /// became of its first request.
    pub status: Status,
}

/// A message in its frame.
pub fn frame(message: &[u8]) -> Bytes {
    frame_with(0, message.len(), message)
}

/// A message in a frame with this flag, which says this length.
pub fn frame_with(flag: u8, length: usize, message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(flag);
    frame.put_u32(u32::try_from(length).expect("a length of a frame has 32 bits"));
    frame.put_slice(message);
    frame.freeze()
}

/// A call whose message is half there, and whose other half never comes.
pub fn half_call(path: &str, id: &str) -> Request<Body> {
    // The frame says 100 bytes.
    let half = stream::once(async { Ok::<_, Status>(Frame::data(frame_with(0, 100, b"half"))) });
    let body = StreamBody::new(half.chain(stream::pending()));
    let request = Request::post(format!("http://server{path}"));
    let request = request.header("content-type", "application/grpc").header("x-request-id", id);
    request.body(Body::new(body)).expect("a request that HTTP knows")
}

/// Sends a body with further headers to the method of a path, and waits for the end, or for the first frame.
pub async fn send(client: &Client, path: &str, body: Bytes, headers: &[(&'static str, &str)]) -> Answer {
    let mut request = Request::post(format!("http://server{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::new(Full::new(body))).expect("a request that HTTP knows");
    let exchange = exchange(client, request);
    timeout(DEADLINE, exchange).await.unwrap_or_else(|_| panic!("{path} was not answered in time"))
}

/// Sends a request as it is.
pub async fn exchange(client: &Client, request: Request<Body>) -> Answer {
    let endless = request.uri().path().ends_with("/Subscribe");
    let publishes = request.uri().path().ends_with("/PublishStream");
    let response = client.transport().oneshot(request).await.expect("the connection stays open");
    let (parts, mut body) = response.into_parts();
    let mut status = Status::from_header_map(&parts.headers);
    let mut messages = BytesMut::new();
    while status.is_none() {
        let Some(frame) = body.frame().await else { break };
        match frame.expect("a body goes on").into_data() {
            Ok(data) => messages.extend_from_slice(&data),
            Err(frame) => status = frame.trailers_ref().and_then(Status::from_header_map),
        }
        if endless && !messages.is_empty() {
            status.get_or_insert_with(|| Status::new(Code::Ok, ""));
        }
    }
    let status = status.unwrap_or_else(|| Status::unknown("no status of gRPC"));
    let pipelined = publishes && status.code() == Code::Ok;
    let status = if pipelined { first_refusal(&messages).unwrap_or(status) } else { status };
    Answer { http: parts.status, headers: parts.headers, status }
}

/// The refusal of the first request of a publishing stream; `None` if it was taken, or if there was none.
fn first_refusal(messages: &[u8]) -> Option<Status> {
    let (header, rest) = messages.split_at_checked(5)?;
    let length = header[1..].iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    let response = PublishStreamResponse::decode(&rest[..length]).expect("a response of a publishing stream");
    match response.result.expect("a response has a result") {
        Outcome::Error(error) => Some(as_status(error)),
        Outcome::Published(_) | Outcome::Closing(_) => None,
    }
}
