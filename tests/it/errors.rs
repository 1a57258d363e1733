//! Every error, whole; and who gets as far as which call.

use std::collections::BTreeSet;

use eventflow::proto::v1;
use prost::Message;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{
    api,
    client::{Client, assert_refused, event, from_earliest},
    harness::{
        backend::{Backend, on_both_stores},
        place::Place,
    },
    raw,
};

/// RPCs that need no credential.
const OPEN: [&str; 2] = ["Login", "RefreshToken"];

/// The answer of an RPC to an empty message.
async fn empty_call(client: &Client, path: &str, headers: &[(&'static str, &str)]) -> Status {
    raw::send(client, path, raw::frame(b""), headers).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_but_the_open_ones_asks_for_a_credential() {
    let server = Backend::Sqlite.server().await.start().await;
    let nobody = Client::anonymous(&server).await;
    for method in api::methods() {
        let path = api::path(&method);
        let status = empty_call(&nobody, &path, &[]).await;
        let missing = api::written(&status) == "UNAUTHENTICATED / CREDENTIAL_MISSING";
        assert_eq!(missing, !OPEN.contains(&method.name()), "{path}: {status:?}");
        for bad in [
            "Bearer x",
            "Bearer ",
            "Basic YTpi",
            "x",
            "Bearer efk_a_b",
            "Bearer a.b.c",
            "Bearer eyJhbGciOiJub25lIn0.e30.",
        ] {
            let status = empty_call(&nobody, &path, &[("authorization", bad)]).await;
            let invalid = api::written(&status) == "UNAUTHENTICATED / CREDENTIAL_INVALID";
            // The open ones do not look at it, and find nothing that is right in an empty message.
            assert!(invalid, "{path} {bad}: {status:?}");
        }
        let status = empty_call(&nobody, &path, &[("x-api-key", "garbage"), ("x-api-key", "other")]).await;
        assert!(!api::is_ok(&status), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_of_the_protos_is_served() {
    let server = Backend::Sqlite.server().await.start().await;
    // By a key, since Logout would end the session of a token.
    let key = std::fs::read_to_string(server.data_dir().join("embedded-key")).unwrap();
    let admin = Client::anonymous(&server).await.with(key.trim());
    for method in api::methods() {
        let status = empty_call(&admin, &api::path(&method), &[]).await;
        assert_ne!(status.code(), Code::Unimplemented, "{}: {status:?}", method.name());
    }
}

on_both_stores! {
    async fn a_producer_key_publishes_on_its_topics_and_does_nothing_else(backend: Backend) {
        let server = backend.server().await.start().await;
        let admin = Client::admin(&server).await;
        for topic in ["orders", "orders-eu", "letters.a", "private"] {
            admin.create_topic(topic).await;
        }
        let shop = admin.producer("shop", &["orders", "letters.*"]).await;
        for topic in ["orders", "letters.a"] {
            assert_eq!(shop.publish(topic, vec![event("x")]).await.unwrap()[0].offset, 1, "{topic}");
            let request = v1::GetTopicRequest { name: topic.into() };
            assert_eq!(shop.topics().get_topic(request).await.unwrap().into_inner().topic.unwrap().head_offset, 1);
        }
        // Whether a topic exists is none of its business.
        for topic in ["private", "orders-eu", "letters", "nowhere"] {
            let refusal = shop.publish(topic, vec![event("x")]).await.unwrap_err();
            assert_refused(&refusal, Code::PermissionDenied, "PERMISSION_DENIED");
            let refusal = shop.topics().get_topic(v1::GetTopicRequest { name: topic.into() }).await.unwrap_err();
            assert_refused(&refusal, Code::PermissionDenied, "PERMISSION_DENIED");
        }
        let refusal = shop.publish("letters.none", vec![event("x")]).await.unwrap_err();
        assert_refused(&refusal, Code::NotFound, "TOPIC_NOT_FOUND");
        let refusal = shop.subscribe(from_earliest("orders")).await.unwrap_err();
        assert_refused(&refusal, Code::PermissionDenied, "PERMISSION_DENIED");

        let own = ["Publish", "PublishStream", "GetTopic", "GetEvent", "GetCaller", "GetServerInfo"];
        let own = [own.as_slice(), &OPEN].concat();
        for method in api::methods() {
            let status = empty_call(&shop, &api::path(&method), &[]).await;
            let denied = api::written(&status) == "PERMISSION_DENIED / PERMISSION_DENIED";
            assert_eq!(denied, !own.contains(&method.name()), "{}: {status:?}", method.name());
        }
        let caller = shop.auth().get_caller(v1::GetCallerRequest {}).await.unwrap().into_inner();
        assert_eq!((caller.name.as_str(), caller.role()), ("producers/shop", v1::Role::Unspecified));
        assert_eq!(caller.permissions, ["publish", "read_topics", "read_events"]);
        assert_eq!(caller.expire_time, None);
    }

    async fn errors_say_what_they_are_about(backend: Backend) {
        let server = backend.server().await.start().await;
        let admin = Client::admin(&server).await;
        admin.create_topic("orders").await;
        admin.publish("orders", vec![event("x")]).await.unwrap();

        let refusal = admin.publish("nowhere", vec![event("x")]).await.unwrap_err();
        assert_refused(&refusal, Code::NotFound, "TOPIC_NOT_FOUND");
        let resource = refusal.get_details_resource_info().expect("ResourceInfo");
        assert_eq!((resource.resource_type.as_str(), resource.resource_name.as_str()), ("topic", "nowhere"));

        let topic = v1::Topic { name: "orders".into(), description: "other".into(), ..Default::default() };
        let request = v1::CreateTopicRequest { topic: Some(topic), if_not_exists: true };
        let refusal = admin.topics().create_topic(request).await.unwrap_err();
        assert_refused(&refusal, Code::AlreadyExists, "TOPIC_EXISTS");
        assert_eq!(refusal.get_details_resource_info().unwrap().resource_name, "orders");

        let request = v1::PublishRequest {
            topic: "orders".into(), events: vec![event("x")], expected_head_offset: Some(0), ..Default::default()
        };
        let refusal = admin.events().publish(request).await.unwrap_err();
        assert_refused(&refusal, Code::Aborted, "HEAD_MOVED");
        assert_eq!(refusal.get_details_error_info().unwrap().metadata["head_offset"], "1");

        let seal = v1::UpdateTopicRequest { name: "orders".into(), sealed: Some(true), ..Default::default() };
        admin.topics().update_topic(seal).await.unwrap();
        let refusal = admin.publish("orders", vec![event("x")]).await.unwrap_err();
        assert_refused(&refusal, Code::FailedPrecondition, "TOPIC_SEALED");
        assert_eq!(refusal.get_details_precondition_failure().unwrap().violations[0].subject, "orders");
    }

    async fn a_row_that_cannot_be_is_a_fault_of_the_server_and_only_its_log_says_more(backend: Backend) {
        let (start, place) = Place::of(backend).await;
        let server = start.start().await;
        let admin = Client::admin(&server).await;
        admin.create_topic("orders").await;
        place.change("update topics set name = 'Impossible'", "update eventflow.topics set name = 'Impossible'").await;
        let refusal = admin.topics().list_topics(v1::ListTopicsRequest::default()).await.unwrap_err();
        assert_refused(&refusal, Code::Internal, "INTERNAL");
        assert!(refusal.get_details_error_info().unwrap().metadata.is_empty(), "{refusal:?}");
        assert!(refusal.get_details_retry_info().is_none(), "{refusal:?}");
        assert!(!format!("{refusal:?}").contains("Impossible") && !refusal.message().contains("name"), "{refusal:?}");
        server.logged("a call failed inside the server").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_id_is_the_callers_or_a_new_one_and_comes_back_in_every_answer() {
    let server = Backend::Sqlite.server().await.start().await;
    let admin = Client::admin(&server).await;
    admin.create_topic("orders").await;
    let nobody = Client::anonymous(&server).await;
    let get = v1::GetTopicRequest { name: "orders".into() }.encode_to_vec();
    let path = api::path_of("TopicService", "GetTopic");
    let cases = [
        (&admin, path.as_str(), raw::frame(&get), Code::Ok),
        (
            &admin,
            "/eventflow.v1.ConsumerService/Subscribe",
            raw::frame(&from_earliest("orders").encode_to_vec()),
            Code::Ok,
        ),
        (&admin, path.as_str(), raw::frame(b""), Code::InvalidArgument),
        (&admin, path.as_str(), raw::frame(b"\xff"), Code::InvalidArgument),
        (&nobody, path.as_str(), raw::frame(&get), Code::Unauthenticated),
        (&nobody, "/nothing/Nothing", raw::frame(b""), Code::Unimplemented),
        (&nobody, "/grpc.health.v1.Health/Check", raw::frame(b""), Code::Ok),
    ];
    let mut made = BTreeSet::new();
    for (client, path, body, code) in &cases {
        for given in [Some("my id: 7/8".to_owned()), None] {
            let headers: Vec<_> = given.iter().map(|id| ("x-request-id", id.as_str())).collect();
            let answer = raw::send(client, path, body.clone(), &headers).await;
            assert_eq!(answer.status.code(), *code, "{path}: {:?}", answer.status);
            let echoed = answer.headers["x-request-id"].to_str().unwrap().to_owned();
            if let Some(details) = answer.status.get_details_request_info() {
                assert_eq!(details.request_id, echoed, "{path}");
            }
            assert_eq!(answer.status.get_details_request_info().is_some(), *code != Code::Ok, "{path}");
            match given {
                Some(id) => assert_eq!(echoed, id),
                None => assert!(uuid::Uuid::parse_str(&echoed).is_ok() && made.insert(echoed.clone()), "{echoed}"),
            }
        }
    }
}
