//! Reflection, in both versions.

use futures::stream;
use prost::Message;
use prost_types::FileDescriptorProto;
use tonic::Code;

use crate::{
    client::{Client, assert_refused},
    harness::backend::Backend,
    raw,
};

const SERVICES: [&str; 6] = [
    "eventflow.v1.AuthService",
    "eventflow.v1.ConsumerService",
    "eventflow.v1.EventService",
    "eventflow.v1.ProducerService",
    "eventflow.v1.TopicService",
    "grpc.health.v1.Health",
];

/// Writes the questions and answers of one version, whose messages are alike.
macro_rules! version {
    ($version:ident) => {
        mod $version {
            use super::*;
            use tonic_reflection::pb::$version::{
                ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
                server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
            };

            async fn ask(client: &Client, question: MessageRequest) -> MessageResponse {
                let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
                let mut client = ServerReflectionClient::new(client.transport());
                let response = client.server_reflection_info(stream::iter([request])).await.unwrap();
                response.into_inner().message().await.unwrap().unwrap().message_response.unwrap()
            }

            async fn files(client: &Client, question: MessageRequest) -> Vec<FileDescriptorProto> {
                match ask(client, question).await {
                    MessageResponse::FileDescriptorResponse(files) => {
                        let files = files.file_descriptor_proto.iter();
                        files.map(|file| FileDescriptorProto::decode(&file[..]).unwrap()).collect()
                    }
                    other => panic!("not files: {other:?}"),
                }
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn lists_all_services_and_gives_their_files_with_comments_to_anybody() {
                let server = Backend::Sqlite.server().await.start().await;
                let client = Client::anonymous(&server).await;
                let MessageResponse::ListServicesResponse(list) =
                    ask(&client, MessageRequest::ListServices(String::new())).await
                else {
                    panic!("not a list")
                };
                let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
                for service in SERVICES {
                    assert!(names.iter().any(|name| name == service), "{service} is not among {names:?}");
                    let files = files(&client, MessageRequest::FileContainingSymbol(service.into())).await;
                    let described = files.iter().any(|file| {
                        file.service.iter().any(|found| format!("{}.{}", file.package(), found.name()) == service)
                    });
                    assert!(described, "the file of {service} does not describe it");
                }
                let file = "eventflow/v1/event_service.proto";
                let file = files(&client, MessageRequest::FileByFilename(file.into())).await.remove(0);
                let locations = file.source_code_info.expect("source information").location;
                let comments: String = locations.into_iter().filter_map(|place| place.leading_comments).collect();
                assert!(comments.contains("TOPIC_NOT_FOUND"), "the reference of errors is not there");
                // What errors carry can be shown too.
                let details = MessageRequest::FileContainingSymbol("google.rpc.ErrorInfo".into());
                assert!(!files(&client, details).await.is_empty());
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn what_is_not_there_is_said_to_be_missing() {
                let server = Backend::Sqlite.server().await.start().await;
                let client = Client::anonymous(&server).await;
                for question in [
                    MessageRequest::FileContainingSymbol("eventflow.v1.Nothing".into()),
                    MessageRequest::FileByFilename("../../etc/passwd".into()),
                    MessageRequest::FileContainingSymbol("x".repeat(100_000)),
                ] {
                    let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
                    let mut client = ServerReflectionClient::new(client.transport());
                    let asked = client.server_reflection_info(stream::iter([request])).await;
                    let answer = match asked {
                        Ok(response) => response.into_inner().message().await.map(drop),
                        Err(status) => Err(status),
                    };
                    let status = answer.expect_err("it is not there");
                    assert_eq!(status.code(), Code::NotFound, "{status:?}");
                }
            }
        }
    };
}

version!(v1);
version!(v1alpha);

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_reflection_does_not_know_is_malformed() {
    let server = Backend::Sqlite.server().await.start().await;
    let client = Client::anonymous(&server).await;
    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let answer = raw::send(&client, &path, raw::frame(b""), &[]).await;
        assert_refused(&answer.status, Code::InvalidArgument, "MESSAGE_MALFORMED");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_can_be_switched_off() {
    let server = Backend::Sqlite.server().await.flag("--reflection", "false").start().await;
    let client = Client::anonymous(&server).await;
    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        // { list_services: "" }
        let answer = raw::send(&client, &path, raw::frame(b"\x3a\x00"), &[]).await;
        assert_refused(&answer.status, Code::Unimplemented, "METHOD_NOT_FOUND");
    }
}
