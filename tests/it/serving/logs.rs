//! One line at the end of each call.

use eventflow::proto::v1;
use http::Request;
use prost::Message;
use serde_json::Value;
use tonic::{Code, body::Body};
use tower::ServiceExt;

use crate::{
    api,
    client::{A_WHILE, Client, assert_refused, event, from_earliest},
    harness::{
        backend::{Backend, on_both_stores},
        patience::eventually,
        postgres::Postgres,
        server::Server,
    },
    raw,
};

/// The lines that end calls with this request id.
fn ends(server: &Server, id: &str) -> Vec<Value> {
    let log = server.log();
    // What is printed for people is no JSON.
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["span"]["request_id"] == id && !line["duration_ms"].is_null()).collect()
}

/// Sends a call and asserts that exactly one line tells of its end.
async fn logged(server: &Server, client: &Client, path: &str, body: bytes::Bytes, principal: &str) {
    let id = uuid::Uuid::new_v4().to_string();
    let correlation = format!("of-{id}");
    let answer = raw::send(client, path, body, &[("x-request-id", &id), ("x-correlation-id", &correlation)]).await;
    // An open stream has not ended; it does when the answer is dropped, as it was.
    let open = path.ends_with("/Subscribe") && api::is_ok(&answer.status);
    let code = if open { "Cancelled".to_owned() } else { format!("{:?}", answer.status.code()) };
    assert_end(server, &id, path, principal, &code).await;
    let line = ends(server, &id).pop().unwrap();
    assert_eq!(line["span"]["correlation_id"], correlation.as_str(), "{line}");
    let reason = answer.status.metadata().get("eventflow-reason").map(|reason| reason.to_str().unwrap());
    assert_eq!(line["reason"].as_str(), reason, "{line}");
}

async fn assert_end(server: &Server, id: &str, path: &str, principal: &str, code: &str) {
    let line = eventually("the line of a call", async || ends(server, id).pop()).await;
    assert_eq!(line["span"]["method"], path);
    assert_eq!(line["principal"], principal, "{line}");
    assert_eq!(line["code"], code, "{line}");
    assert_eq!(line["level"], "INFO", "{line}");
    assert!(line["duration_ms"].as_f64().is_some_and(|ms| (0.0..60_000.0).contains(&ms)), "{line}");
    assert!(line["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")), "{line}");
    assert_eq!(ends(server, id).len(), 1, "more than one line");
}

on_both_stores! {
    async fn every_call_has_exactly_one_line_at_its_end(backend: Backend) {
        let server = backend.server().await.flag("--log-format", "json").start().await;
        let admin = Client::admin(&server).await;
        admin.create_topic("orders").await;
        let shop = admin.producer("shop", &["orders"]).await;
        let nobody = Client::anonymous(&server).await;
        let publish = v1::PublishRequest { topic: "orders".into(), events: vec![event("x")], ..Default::default() };
        let publish = raw::frame(&publish.encode_to_vec());
        let get = api::path_of("TopicService", "GetTopic");
        let subscribe = api::path_of("ConsumerService", "Subscribe");
        let stream = raw::frame(&from_earliest("orders").encode_to_vec());
        let (empty, garbage) = (raw::frame(b""), raw::frame(b"\xff"));
        for (client, path, body, principal) in [
            (&shop, &api::path_of("EventService", "Publish"), &publish, "producers/shop"),
            (&admin, &api::path_of("EventService", "Publish"), &publish, "users/admin"),
            (&admin, &get, &empty, "users/admin"),
            (&admin, &get, &garbage, "users/admin"),
            (&nobody, &get, &empty, "-"),
            (&nobody.with("efk_garbage"), &get, &empty, "-"),
            (&shop, &api::path_of("TopicService", "ListTopics"), &empty, "-"),
            (&admin, &api::path_of("TopicService", "DeleteTopic"), &empty, "users/admin"),
            (&admin, &api::path_of("TopicService", "Nothing"), &empty, "-"),
            (&nobody, &"/".to_owned(), &empty, "-"),
            (&nobody, &api::path_of("AuthService", "Login"), &empty, "-"),
            (&nobody, &"/grpc.health.v1.Health/Check".to_owned(), &empty, "-"),
            (&admin, &subscribe, &stream, "users/admin"),
            (&admin, &subscribe, &empty, "users/admin"),
        ] {
            logged(&server, client, path, body.clone(), principal).await;
        }
        for line in server.log().lines() {
            assert!(!line.contains("\"level\":\"ERROR\""), "{line}");
        }
    }

    async fn a_stream_that_ends_well_is_logged_when_it_ends(backend: Backend) {
        let server = backend.server().await.flag("--log-format", "json").start().await;
        let admin = Client::admin(&server).await;
        admin.create_topic("orders").await;
        for (stop_at, code) in [(v1::StopAt::Head, "Ok"), (v1::StopAt::Never, "Cancelled")] {
            let id = uuid::Uuid::new_v4().to_string();
            let request = v1::SubscribeRequest { stop_at: stop_at.into(), ..from_earliest("orders") };
            let mut request = tonic::Request::new(request);
            request.metadata_mut().insert("x-request-id", id.parse().unwrap());
            let mut frames = admin.consumers().subscribe(request).await.unwrap().into_inner();
            assert!(frames.message().await.unwrap().is_some());
            if stop_at == v1::StopAt::Never {
                tokio::time::sleep(A_WHILE).await;
                assert_eq!(ends(&server, &id).len(), 0, "the stream is still open");
            } else {
                while frames.message().await.unwrap().is_some() {}
            }
            drop(frames);
            assert_end(&server, &id, &api::path_of("ConsumerService", "Subscribe"), "users/admin", code).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_call_and_what_has_no_acceptable_id_has_a_line_too() {
    let server = Backend::Sqlite.server().await.flag("--log-format", "json").start().await;
    let nobody = Client::anonymous(&server).await;
    let path = api::path_of("TopicService", "GetTopic");
    let request = Request::get(format!("http://server{path}")).header("x-request-id", "a-get").body(Body::empty());
    raw::exchange(&nobody, request.unwrap()).await;
    assert_end(&server, "a-get", &path, "-", "InvalidArgument").await;

    let headers = [("x-request-id", "x".repeat(129)), ("x-correlation-id", "its-only-name".to_owned())];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let answer = raw::send(&nobody, &path, raw::frame(b""), &headers).await;
    let made = answer.headers["x-request-id"].to_str().unwrap();
    assert_end(&server, made, &path, "-", "InvalidArgument").await;
    assert_eq!(ends(&server, made)[0]["span"]["correlation_id"], "its-only-name");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_call_logs_names_the_call_however_little_is_logged() {
    let mut postgres = Postgres::private().await;
    let server = Server::embedded().environment("EVENTFLOW_DATABASE_URL", &postgres.url("postgres"));
    let server = server.flag("--log-format", "json").flag("--log", "warn").start().await;
    let admin = Client::admin(&server).await;
    postgres.crash().await;
    let headers = [("x-request-id", "unlucky"), ("x-correlation-id", "order-7")];
    let path = api::path_of("TopicService", "ListTopics");
    let answer = raw::send(&admin, &path, raw::frame(b""), &headers).await;
    assert_refused(&answer.status, Code::Unavailable, "STORAGE_UNAVAILABLE");
    let lines = server.log();
    let mut lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = lines.find(|line| line["message"] == "a call failed for want of the store").expect("a line of the call");
    assert_eq!(line["span"]["request_id"], "unlucky", "{line}");
    assert_eq!(line["span"]["correlation_id"], "order-7", "{line}");
    assert_eq!(line["span"]["method"], path, "{line}");
    assert_eq!(ends(&server, "unlucky").len(), 0, "calls that end are no warnings");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_in_the_middle_of_its_request_is_no_fault_of_the_server() {
    let server = Backend::Sqlite.server().await.flag("--log-format", "json").start().await;
    let admin = Client::admin(&server).await;
    let id = uuid::Uuid::new_v4().to_string();
    let path = api::path_of("TopicService", "GetTopic");
    let call = tokio::spawn(admin.transport().oneshot(raw::half_call(&path, &id)));
    tokio::time::sleep(A_WHILE).await;
    call.abort();
    let line = eventually("the line of a call", async || ends(&server, &id).pop()).await;
    assert!(["Cancelled", "InvalidArgument"].iter().any(|code| line["code"] == *code), "{line}");
    assert!(!server.log().contains("\"level\":\"ERROR\""), "{}", server.log());
}
