//! A call for each row of the table that gets as far as its caller may.

use eventflow::proto::v1;
use prost::Message;

use super::create_key;
use crate::client::{Client, event};

/// Of the users of the columns.
pub(super) const PASSWORD: &str = "correct horse battery";

/// A request as bytes.
pub(super) struct Call {
    pub(super) path: String,
    pub(super) body: Vec<u8>,
}

/// What the calls are about.
pub(super) async fn prepare(admin: &Client) {
    for topic in ["orders", "elsewhere"] {
        admin.create_topic(topic).await;
    }
    admin.publish("orders", vec![event("x")]).await.unwrap();
    admin.producer("shop", &["orders"]).await;
    admin.producer("other", &["elsewhere"]).await;
    admin.register("billing", "orders").await;
    admin.register("elsewhere", "elsewhere").await;
    let clerk = v1::User { username: "clerk".into(), role: v1::Role::Viewer.into(), ..Default::default() };
    admin.auth().create_user(v1::CreateUserRequest { user: Some(clerk), password: String::new() }).await.unwrap();
}

/// The call of a row. Keys that it names are new each time.
pub(super) async fn call(admin: &Client, row: &str) -> Call {
    let (method, about) = row.split_once(':').unwrap_or((row, ""));
    let path = format!("/eventflow.v1.{method}");
    let body = match method.split_once('/').unwrap() {
        ("AuthService", method) => auth(admin, method, about).await,
        ("TopicService", method) => topic(method),
        ("EventService", method) => events(method),
        ("ConsumerService", method) => consumer(method, about),
        ("ProducerService", method) => producer(method),
        (service, _) => panic!("{service} has no calls here"),
    };
    Call { path, body }
}

async fn auth(admin: &Client, method: &str, about: &str) -> Vec<u8> {
    let owner = match about {
        "producer" => "producers/shop",
        "consumer" => "consumers/billing",
        "user" => "users/clerk",
        _ => "",
    };
    let missing = || "missing".to_owned();
    match method {
        // A right login, so that no column's own name is slowed down.
        "Login" => v1::LoginRequest { username: "v".into(), password: PASSWORD.into() }.encode_to_vec(),
        // A good token, since a bad one is refused as a bad credential would be.
        "RefreshToken" => {
            let login = v1::LoginRequest { username: "v".into(), password: PASSWORD.into() };
            let tokens = admin.auth().login(login).await.unwrap().into_inner().tokens.unwrap();
            v1::RefreshTokenRequest { refresh_token: tokens.refresh_token }.encode_to_vec()
        }
        "CreateUser" => v1::CreateUserRequest::default().encode_to_vec(),
        "UpdateUser" => v1::UpdateUserRequest { username: "clerk".into(), ..Default::default() }.encode_to_vec(),
        "DeleteUser" => v1::DeleteUserRequest { username: missing() }.encode_to_vec(),
        // Without a password: the handler says so, and nothing is changed.
        "ChangePassword" if about.is_empty() => v1::ChangePasswordRequest::default().encode_to_vec(),
        "ChangePassword" => {
            let (username, new_password) = (about.to_owned(), PASSWORD.to_owned());
            v1::ChangePasswordRequest { username, new_password, ..Default::default() }.encode_to_vec()
        }
        "CreateApiKey" => v1::CreateApiKeyRequest { owner: owner.into(), ttl: None }.encode_to_vec(),
        "ListApiKeys" => v1::ListApiKeysRequest { owner: owner.into(), ..Default::default() }.encode_to_vec(),
        "RotateApiKey" => {
            let id = create_key(admin, owner, None).await.0;
            v1::RotateApiKeyRequest { id, grace_period: None }.encode_to_vec()
        }
        "RevokeApiKey" => v1::RevokeApiKeyRequest { id: create_key(admin, owner, None).await.0 }.encode_to_vec(),
        _ => Vec::new(),
    }
}

fn topic(method: &str) -> Vec<u8> {
    match method {
        "VerifyTopic" => v1::VerifyTopicRequest { name: "orders".into(), ..Default::default() }.encode_to_vec(),
        "GetTopic" => v1::GetTopicRequest { name: "orders".into() }.encode_to_vec(),
        // Without a name these go no further than the handler.
        _ => Vec::new(),
    }
}

fn events(method: &str) -> Vec<u8> {
    match method {
        "Publish" => {
            let (topic, events) = ("orders".to_owned(), vec![event("x")]);
            v1::PublishRequest { topic, events, ..Default::default() }.encode_to_vec()
        }
        _ => Vec::new(),
    }
}

fn consumer(method: &str, about: &str) -> Vec<u8> {
    let billing = || "billing".to_owned();
    match (method, about) {
        ("GetConsumer", _) => v1::GetConsumerRequest { name: billing() }.encode_to_vec(),
        ("Poll", _) => v1::PollRequest { consumer: billing(), ..Default::default() }.encode_to_vec(),
        ("Settle", _) => {
            let (consumer, lease_id) = (billing(), "1".to_owned());
            v1::SettleRequest { consumer, lease_id, ack: vec![1], ..Default::default() }.encode_to_vec()
        }
        ("ListDeadLetters", _) => {
            v1::ListDeadLettersRequest { consumer: billing(), ..Default::default() }.encode_to_vec()
        }
        ("CommitOffset", _) => v1::CommitOffsetRequest { consumer: billing(), offset: 1, epoch: 1 }.encode_to_vec(),
        ("Subscribe", "topic") => crate::client::from_earliest("orders").encode_to_vec(),
        ("Subscribe", _) => {
            v1::SubscribeRequest { take_over: true, ..crate::client::as_consumer("billing") }.encode_to_vec()
        }
        _ => Vec::new(),
    }
}

fn producer(method: &str) -> Vec<u8> {
    match method {
        "GetProducer" => v1::GetProducerRequest { name: "shop".into() }.encode_to_vec(),
        _ => Vec::new(),
    }
}
