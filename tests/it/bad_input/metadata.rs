//! Metadata that is too long or not what it should be.

use eventflow::proto::v1;
use http::{Request, StatusCode};
use prost::Message;
use tokio::{net::TcpStream, time::timeout};
use tonic::Code;

use super::world::{TOPIC, World};
use crate::{
    api,
    client::{assert_refused, event},
    harness::{backend::Backend, patience::DEADLINE},
    raw,
};

fn publish() -> bytes::Bytes {
    let request = v1::PublishRequest { topic: TOPIC.into(), events: vec![event("x")], ..Default::default() };
    raw::frame(&request.encode_to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_of_calls_have_1_to_128_printable_characters() {
    let world = World::on(Backend::Sqlite).await;
    let path = api::path_of("EventService", "Publish");
    for name in ["x-request-id", "x-correlation-id"] {
        for len in [1, 127, 128] {
            let answer = raw::send(&world.admin, &path, publish(), &[(name, &"x".repeat(len))]).await;
            assert!(api::is_ok(&answer.status), "{name} of {len}: {:?}", answer.status);
        }
        let head = world.head().await;
        for bad in [String::new(), "x".repeat(129), "x".repeat(8000), "ä".into(), "a\tb\u{80}".into()] {
            let answer = raw::send(&world.admin, &path, publish(), &[(name, &bad)]).await;
            assert_refused(&answer.status, Code::InvalidArgument, "REQUEST_INVALID");
            assert!(answer.status.message().contains(name), "{:?}", answer.status);
        }
        assert_eq!(world.head().await, head);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_context_that_is_none_is_ignored() {
    let world = World::on(Backend::Sqlite).await;
    let path = api::path_of("EventService", "Publish");
    let long = "0".repeat(5000);
    for bad in ["", "x", "00-0-0-0", &long, "ä", "00-00000000000000000000000000000000-0000000000000000-00"] {
        let answer = raw::send(&world.admin, &path, publish(), &[("traceparent", bad)]).await;
        assert!(api::is_ok(&answer.status), "{bad:?}: {:?}", answer.status);
    }
    let mut stream = world.admin.subscribe(crate::client::after(TOPIC, 1)).await.unwrap();
    for event in stream.events(6).await {
        assert_eq!((event.correlation_id.as_str(), event.attributes.len()), ("", 0));
    }
}

/// The status of HTTP that a call gets whose headers have so many bytes, counted as HTTP/2 does.
async fn with_headers_of(world: &World, bytes: usize) -> StatusCode {
    let stream = TcpStream::connect(world.server.listen()).await.unwrap();
    let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let path = api::path_of("EventService", "Publish");
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "server"),
        (":path", &path),
        ("content-type", "application/grpc"),
        ("x-any", ""),
    ];
    // 32 are counted for each.
    let others: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
    let request = Request::post(format!("http://server{path}")).header("content-type", "application/grpc");
    let request = request.header("x-any", "x".repeat(bytes - others)).body(()).unwrap();
    let (response, _) = requests.send_request(request, true).unwrap();
    let status = timeout(DEADLINE, response).await.expect("an answer in time").unwrap().status();
    connection.abort();
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_16_kib_of_metadata_is_answered_below_grpc() {
    const LIMIT: usize = 16 << 10;
    let world = World::on(Backend::Sqlite).await;
    for (bytes, wanted) in
        [(LIMIT - 1, StatusCode::OK), (LIMIT, StatusCode::OK), (LIMIT + 1, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)]
    {
        assert_eq!(with_headers_of(&world, bytes).await, wanted, "{bytes} bytes");
    }
    let path = api::path_of("EventService", "Publish");
    let answer = raw::send(&world.admin, &path, publish(), &[("x-any", &"x".repeat(15_000))]).await;
    assert!(api::is_ok(&answer.status), "{:?}", answer.status);
    let head = world.head().await;
    for len in [LIMIT, 20_000] {
        let answer = raw::send(&world.admin, &path, publish(), &[("x-any", &"x".repeat(len))]).await;
        assert_eq!(answer.http, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "{len} bytes");
    }
    assert_eq!(world.head().await, head);
    world.is_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_that_makes_no_sense_neither_hangs_nor_fails_the_server() {
    let world = World::on(Backend::Sqlite).await;
    let path = api::path_of("TopicService", "GetTopic");
    let body = raw::frame(&v1::GetTopicRequest { name: TOPIC.into() }.encode_to_vec());
    for timeout in ["", "S", "-1S", "1", "99999999H", "999999999S", "1x", "ä", "1e3S"] {
        let answer = raw::send(&world.admin, &path, body.clone(), &[("grpc-timeout", timeout)]).await;
        let code = answer.status.code();
        let told = [Code::Ok, Code::InvalidArgument, Code::DeadlineExceeded, Code::Cancelled].contains(&code);
        assert!(told, "{timeout:?}: {:?}", answer.status);
    }
    world.is_unharmed().await;
}
