//! Bytes that are not the protocol.

use http::{Method, Request};
use http_body_util::Full;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tonic::{Code, body::Body};

use super::world::World;
use crate::{
    api,
    client::{Client, assert_refused},
    harness::{backend::Backend, patience::DEADLINE},
    raw,
};

/// What a server says to bytes, until it closes the connection.
async fn says(world: &World, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(world.server.listen()).await.unwrap();
    // The server may have closed already.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
    let _reset_counts_as_closed = read.expect("the server closes a connection that makes no sense");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_http2_is_closed_without_an_answer_that_looks_like_success() {
    let world = World::on(Backend::Sqlite).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let with_preface = |frames: &[u8]| [preface, frames].concat();
    let cases = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        b"POST /eventflow.v1.TopicService/GetTopic HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".to_vec(),
        vec![0; 4096],
        vec![0xff; 4096],
        // A TLS greeting.
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".to_vec(),
        // A frame that is larger than any, a header block that is not one, data on a stream that was not opened.
        with_preface(&[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]),
        with_preface(&[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 4, 1, 4, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]),
        with_preface(&[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 9, 0]),
    ];
    for bytes in cases {
        let answer = says(&world, &bytes).await;
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert!(!text.contains("200 OK") && !text.contains("grpc-status"), "{text:?}");
    }
    world.is_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_cut_off_in_its_preface_or_its_frames_harms_nobody() {
    let world = World::on(Backend::Sqlite).await;
    let whole = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x04\x01\x04\0\0\0\x01";
    for cut in 0..whole.len() {
        let mut stream = TcpStream::connect(world.server.listen()).await.unwrap();
        stream.write_all(&whole[..cut]).await.unwrap();
    }
    world.is_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_methods_and_services_are_refused_with_or_without_a_credential() {
    let world = World::on(Backend::Sqlite).await;
    let nobody = Client::anonymous(&world.server).await;
    let garbage = nobody.with("garbage");
    for path in [
        "/",
        "//",
        "/nothing",
        "/eventflow.v1.TopicService/",
        "/eventflow.v1.TopicService/Nothing",
        "/eventflow.v1.TopicService/gettopic",
        "/eventflow.v1.TopicService/GetTopic/",
        "/eventflow.v1.TopicService/GetTopic/x",
        "/eventflow.v1.NoService/GetTopic",
        "/eventflow.v2.TopicService/GetTopic",
        "/grpc.health.v1.Health/Nothing",
        "/grpc.health.v1.Nothing/Check",
        "/grpc.channelz.v1.Channelz/GetServers",
        "/%00/%ff",
        "/healthz",
    ] {
        for client in [&world.admin, &nobody, &garbage] {
            let answer = raw::send(client, path, raw::frame(b""), &[]).await;
            assert_refused(&answer.status, Code::Unimplemented, "METHOD_NOT_FOUND");
        }
    }
    world.is_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_verbs_and_content_types_never_reach_the_store() {
    let world = World::on(Backend::Sqlite).await;
    let before = world.names().await;
    let path = api::path_of("TopicService", "CreateTopic");
    // A valid message, { topic: { name: "sneaky" } }.
    let body = raw::frame(b"\x0a\x08\x0a\x06sneaky");
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::OPTIONS, Method::HEAD] {
        let request = Request::builder().method(method.clone()).uri(format!("http://server{path}"));
        let request = request.header("content-type", "application/grpc").body(Body::new(Full::new(body.clone())));
        let answer = raw::exchange(&world.admin, request.unwrap()).await;
        assert_eq!(api::written(&answer.status), "INVALID_ARGUMENT / MESSAGE_MALFORMED", "{method}");
    }
    for content_type in ["application/json", "text/html", "", "grpc"] {
        let request = Request::post(format!("http://server{path}")).header("content-type", content_type);
        let answer = raw::exchange(&world.admin, request.body(Body::new(Full::new(body.clone()))).unwrap()).await;
        assert_eq!(api::written(&answer.status), "INVALID_ARGUMENT / MESSAGE_MALFORMED", "{content_type:?}");
    }
    assert_eq!(world.names().await, before);
    world.is_unharmed().await;
}
