//! Open streams end soon after the credential that opened them.

use std::time::Duration;

use eventflow::proto::v1::{self, closing::Reason, subscribe_response::Frame};
use tokio::time::Instant;
use tonic::Code;

use super::{
    PASSWORD, create_key, create_user, delete_user, logged_in, login, logout, refresh, revoke, set_disabled, set_role,
    started,
};
use crate::{
    client::{Client, Stream, as_consumer, assert_refused, from_earliest},
    harness::{
        backend::{Backend, on_both_stores},
        server::Server,
    },
};

/// Within which an end is promised to be noticed, and a second for a busy machine.
const SOON: Duration = Duration::from_secs(6);

/// A server with a topic and a consumer.
async fn world(backend: Backend) -> (Server, Client) {
    let (server, admin) = started(backend).await;
    admin.create_topic("orders").await;
    admin.register("billing", "orders").await;
    (server, admin)
}

async fn opened(client: &Client, request: v1::SubscribeRequest) -> Stream {
    let mut stream = client.subscribe(request).await.expect("the stream opens");
    stream.started().await;
    stream.until_caught_up().await;
    stream
}

/// The stream says Closing and ends with this refusal, soon.
async fn ends(stream: &mut Stream, code: Code, reason: &str, what: &str) {
    let began = Instant::now();
    let closing = loop {
        match stream.frame().await {
            Frame::Closing(closing) => break closing,
            Frame::Heartbeat(_) => {}
            other => panic!("{what}: not an end: {other:?}"),
        }
    };
    assert_eq!(closing.reason(), Reason::CredentialEnded, "{what}");
    let refusal = stream.next().await.expect_err("after Closing there is only a status");
    assert_refused(&refusal, code, reason);
    assert!(began.elapsed() <= SOON, "{what} was noticed after {:?}", began.elapsed());
}

on_both_stores! {
    async fn the_end_of_a_session_ends_its_streams(backend: Backend) {
        let (_server, admin) = world(backend).await;
        let names = ["loggedout", "disabled", "deleted", "changed", "reused"];
        let mut streams = Vec::new();
        for name in names {
            let (tokens, client) = logged_in(&admin, name, v1::Role::Viewer).await;
            streams.push((name, opened(&client, from_earliest("orders")).await, tokens, client));
        }
        let other = admin.with(&login(&admin, "loggedout", PASSWORD).await.unwrap().access_token);
        let mut unharmed = opened(&other, from_earliest("orders")).await;

        for (name, _, tokens, client) in &streams {
            match *name {
                "loggedout" => logout(client).await.unwrap(),
                "disabled" => drop(set_disabled(&admin, name, true).await.unwrap()),
                "deleted" => delete_user(&admin, name).await.unwrap(),
                "changed" => {
                    let (username, new_password) = (name.to_string(), "another password".to_owned());
                    let request = v1::ChangePasswordRequest { username, new_password, ..Default::default() };
                    drop(admin.auth().change_password(request).await.unwrap());
                }
                _ => {
                    refresh(&admin, &tokens.refresh_token).await.unwrap();
                    refresh(&admin, &tokens.refresh_token).await.unwrap_err();
                }
            }
        }
        for (name, stream, ..) in &mut streams {
            ends(stream, Code::Unauthenticated, "CREDENTIAL_REVOKED", name).await;
        }
        admin.publish_numbered("orders", 1, 1).await;
        assert_eq!(unharmed.events(1).await.len(), 1, "the other session of the user goes on");
    }

    async fn the_end_of_a_key_ends_its_streams(backend: Backend) {
        let (_server, admin) = world(backend).await;
        create_user(&admin, "ci", v1::Role::Viewer, "").await.unwrap();
        let mut streams = Vec::new();
        for what in ["revoked", "expired", "rotated"] {
            let ttl = (what == "expired").then_some(Duration::from_secs(4));
            let (key, secret) = create_key(&admin, "users/ci", ttl).await.unwrap();
            streams.push((what, opened(&admin.with(&secret), from_earliest("orders")).await, key.id));
        }
        let (consumer_key, secret) = create_key(&admin, "consumers/billing", None).await.unwrap();
        streams.push(("consumer", opened(&admin.with(&secret), as_consumer("billing")).await, consumer_key.id));
        for (what, _, id) in &streams {
            match *what {
                "revoked" | "consumer" => drop(revoke(&admin, id).await.unwrap()),
                "rotated" => {
                    let grace_period = Some(prost_types::Duration::default());
                    let request = v1::RotateApiKeyRequest { id: id.clone(), grace_period };
                    drop(admin.auth().rotate_api_key(request).await.unwrap());
                }
                _ => {}
            }
        }
        for (what, stream, _) in &mut streams {
            let reason = if matches!(*what, "revoked" | "consumer") { "CREDENTIAL_REVOKED" } else { "CREDENTIAL_EXPIRED" };
            ends(stream, Code::Unauthenticated, reason, what).await;
        }
        // The consumer was given back at once.
        opened(&admin, as_consumer("billing")).await;
    }

    async fn a_lower_role_ends_streams_with_permission_denied(backend: Backend) {
        let (_server, admin) = world(backend).await;
        let (_, ada) = logged_in(&admin, "ada", v1::Role::Operator).await;
        let (_, eve) = logged_in(&admin, "eve", v1::Role::Viewer).await;
        let mut lowered = opened(&ada, as_consumer("billing")).await;
        let mut raised = opened(&eve, from_earliest("orders")).await;
        set_role(&admin, "ada", v1::Role::Viewer).await.unwrap();
        set_role(&admin, "eve", v1::Role::Admin).await.unwrap();
        ends(&mut lowered, Code::PermissionDenied, "PERMISSION_DENIED", "a lower role").await;
        let refusal = ada.subscribe(as_consumer("billing")).await.unwrap_err();
        assert_refused(&refusal, Code::PermissionDenied, "PERMISSION_DENIED");
        // What the lower role still allows is had by asking again.
        opened(&ada, from_earliest("orders")).await;
        admin.publish_numbered("orders", 1, 1).await;
        assert_eq!(raised.events(1).await.len(), 1, "who may do more goes on");
    }

    async fn a_token_that_expires_ends_its_streams(backend: Backend) {
        let server = backend.server().await.flag("--token-ttl", "4s").start().await;
        let admin = Client::admin(&server).await;
        admin.create_topic("orders").await;
        let mut stream = opened(&admin, from_earliest("orders")).await;
        ends(&mut stream, Code::Unauthenticated, "CREDENTIAL_EXPIRED", "a token").await;
        let refusal = admin.auth().get_caller(v1::GetCallerRequest {}).await.unwrap_err();
        assert_refused(&refusal, Code::Unauthenticated, "CREDENTIAL_EXPIRED");
    }
}
