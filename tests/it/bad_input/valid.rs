//! A full and valid request for each RPC that is served, for others to spoil.

use std::collections::{BTreeSet, HashMap};

use eventflow::proto::v1;
use prost::Message;
use prost_reflect::MessageDescriptor;

use super::world::TOPIC;
use crate::api;

/// A request that a server of [`World`](super::world::World) takes.
#[derive(Debug, Clone)]
pub struct Valid {
    pub path: String,
    pub bytes: Vec<u8>,
}

impl Valid {
    fn new(service: &str, method: &str, message: &impl Message) -> Self {
        Self { path: api::path_of(service, method), bytes: message.encode_to_vec() }
    }

    /// What its message is made of.
    pub fn descriptor(&self) -> MessageDescriptor {
        let method = api::methods().into_iter().find(|method| api::path(method) == self.path);
        method.expect("the path of an RPC").input()
    }
}

/// One at least for each RPC that is served, with as many fields as are taken together. What they name is not
/// always there.
pub fn all() -> Vec<Valid> {
    [topics(), publishing(), history(), producers(), consumers(), managing(), queues(), auth(), users(), keys()]
        .concat()
}

/// Those that take nothing away from the others, whatever becomes of their fields: Logout ends the session that
/// all calls are made with, and DeleteTopic can hit the topic that the others name.
pub fn harmless() -> Vec<Valid> {
    let harmful = [api::path_of("AuthService", "Logout"), api::path_of("TopicService", "DeleteTopic")];
    all().into_iter().filter(|valid| !harmful.contains(&valid.path)).collect()
}

fn seconds(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

fn map(name: &str, value: &str) -> HashMap<String, String> {
    [(name.to_owned(), value.to_owned())].into()
}

fn topics() -> Vec<Valid> {
    let topic = v1::Topic {
        name: TOPIC.into(),
        description: "what was ordered".into(),
        retention: Some(seconds(1_000_000)),
        retention_bytes: 1 << 40,
        ..Default::default()
    };
    let update = v1::UpdateTopicRequest {
        name: TOPIC.into(),
        description: Some("orders".into()),
        retention: Some(seconds(0)),
        retention_bytes: Some(0),
        sealed: Some(false),
    };
    let list = v1::ListTopicsRequest { prefix: "or".into(), page_size: 10, page_token: String::new() };
    let trim = v1::TrimTopicRequest { name: TOPIC.into(), before_offset: 1, validate_only: true };
    let verify = v1::VerifyTopicRequest {
        name: TOPIC.into(),
        noted_hash: "0123456789abcdef".repeat(4),
        noted_offset: 1,
        page_token: String::new(),
    };
    let service = "TopicService";
    vec![
        Valid::new(service, "CreateTopic", &v1::CreateTopicRequest { topic: Some(topic), if_not_exists: true }),
        Valid::new(service, "GetTopic", &v1::GetTopicRequest { name: TOPIC.into() }),
        Valid::new(service, "ListTopics", &list),
        Valid::new(service, "UpdateTopic", &update),
        Valid::new(service, "TrimTopic", &trim),
        Valid::new(service, "VerifyTopic", &verify),
        Valid::new(service, "DeleteTopic", &v1::DeleteTopicRequest { name: "nothing".into() }),
    ]
}

/// An event with every field set.
pub fn event() -> v1::NewEvent {
    v1::NewEvent {
        r#type: "order.placed".into(),
        key: "order-1".into(),
        id: "id-1".into(),
        source: "/shop/1".into(),
        time: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 5 }),
        content_type: "text/plain".into(),
        attributes: map("region", "eu"),
        correlation_id: "together".into(),
        causation_id: "cause".into(),
        payload: Some(v1::new_event::Payload::Text("hello".into())),
    }
}

fn publishing() -> Vec<Valid> {
    let json = prost_types::value::Kind::ListValue(prost_types::ListValue {
        values: vec![prost_types::Value { kind: Some(prost_types::value::Kind::NumberValue(1.5)) }],
    });
    let json = v1::new_event::Payload::Json(prost_types::Value { kind: Some(json) });
    let events = vec![event(), v1::NewEvent { id: "id-2".into(), payload: Some(json), ..event() }];
    let request = v1::PublishRequest { topic: TOPIC.into(), events, ..Default::default() };
    let pipelined = v1::PublishStreamRequest { sequence: 7, publish: Some(request.clone()) };
    let service = "EventService";
    vec![Valid::new(service, "Publish", &request), Valid::new(service, "PublishStream", &pipelined)]
}

fn history() -> Vec<Valid> {
    let get = |by, source: &str| v1::GetEventRequest { topic: TOPIC.into(), by: Some(by), source: source.into() };
    let list = v1::ListEventsRequest {
        topic: TOPIC.into(),
        filter: Some(filter()),
        from_time: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 5 }),
        to_time: Some(prost_types::Timestamp { seconds: 1_900_000_000, nanos: 5 }),
        after_offset: Some(0),
        before_offset: Some(9),
        newest_first: true,
        page_size: 10,
        page_token: String::new(),
    };
    let service = "EventService";
    vec![
        Valid::new(service, "GetEvent", &get(v1::get_event_request::By::Offset(1), "")),
        Valid::new(service, "ListEvents", &list),
    ]
}

fn producers() -> Vec<Valid> {
    let producer = v1::Producer {
        name: "office".into(),
        description: "people".into(),
        topics: vec![TOPIC.into(), "letters.*".into()],
        ..Default::default()
    };
    let register = v1::RegisterProducerRequest { producer: Some(producer), if_not_exists: true };
    let update = v1::UpdateProducerRequest {
        name: "shop".into(),
        description: Some("the shop".into()),
        topics: Some(v1::TopicPatterns { patterns: vec![TOPIC.into(), "letters.*".into()] }),
        disabled: Some(false),
    };
    let service = "ProducerService";
    vec![
        Valid::new(service, "RegisterProducer", &register),
        Valid::new(service, "GetProducer", &v1::GetProducerRequest { name: "shop".into() }),
        Valid::new(service, "ListProducers", &v1::ListProducersRequest { page_size: 10, page_token: String::new() }),
        Valid::new(service, "UpdateProducer", &update),
        Valid::new(service, "DeleteProducer", &v1::DeleteProducerRequest { name: "office".into() }),
    ]
}

/// A filter with every field set.
pub fn filter() -> v1::Filter {
    v1::Filter {
        types: vec!["order.*".into()],
        keys: vec!["order-1".into()],
        attributes: map("region", "eu"),
        correlation_ids: vec!["together".into()],
        producers: vec!["producers/shop".into()],
    }
}

fn consumers() -> Vec<Valid> {
    let consumer = v1::Consumer {
        name: "shipping".into(),
        topic: TOPIC.into(),
        filter: Some(filter()),
        start: Some(v1::consumer::Start::AfterOffset(1)),
        ..Default::default()
    };
    let register = v1::RegisterConsumerRequest { consumer: Some(consumer), if_not_exists: true };
    let list = v1::ListConsumersRequest { topic: TOPIC.into(), page_size: 10, page_token: String::new() };
    let subscribe = v1::SubscribeRequest {
        from: Some(v1::subscribe_request::From::Topic(TOPIC.into())),
        start: Some(v1::subscribe_request::Start::AfterOffset(0)),
        filter: Some(filter()),
        stop_at: v1::StopAt::Offset.into(),
        stop_offset: 1,
        max_batch_events: 10,
        heartbeat_interval: Some(seconds(1)),
        skip_trimmed: true,
        ..Default::default()
    };
    let consume = v1::SubscribeRequest {
        from: Some(v1::subscribe_request::From::Consumer("billing".into())),
        take_over: true,
        ..Default::default()
    };
    let commit = v1::CommitOffsetRequest { consumer: "billing".into(), offset: 1, epoch: 1 };
    let service = "ConsumerService";
    vec![
        Valid::new(service, "RegisterConsumer", &register),
        Valid::new(service, "GetConsumer", &v1::GetConsumerRequest { name: "billing".into() }),
        Valid::new(service, "ListConsumers", &list),
        Valid::new(service, "Subscribe", &subscribe),
        Valid::new(service, "Subscribe", &consume),
        Valid::new(service, "CommitOffset", &commit),
        Valid::new(service, "DeleteConsumer", &v1::DeleteConsumerRequest { name: "shipping".into() }),
    ]
}

fn managing() -> Vec<Valid> {
    let name = || "billing".to_owned();
    let update = v1::UpdateConsumerRequest { name: name(), filter: Some(filter()), ..Default::default() };
    let start = Some(v1::seek_consumer_request::Start::AfterOffset(0));
    // Without a wait, which damage could make as long as a minute.
    let poll = v1::PollRequest { consumer: name(), max_events: 10, wait: None, after_offset: Some(0) };
    let service = "ConsumerService";
    vec![
        Valid::new(service, "UpdateConsumer", &update),
        Valid::new(service, "SeekConsumer", &v1::SeekConsumerRequest { name: name(), start }),
        Valid::new(service, "PauseConsumer", &v1::PauseConsumerRequest { name: name(), paused: false }),
        Valid::new(service, "Poll", &poll),
    ]
}

fn queues() -> Vec<Valid> {
    let name = || "work".to_owned();
    let consumer = v1::Consumer {
        name: "sharing".into(),
        topic: TOPIC.into(),
        mode: v1::Mode::Queue.into(),
        lease: Some(seconds(30)),
        backoff: vec![seconds(1), seconds(5)],
        max_attempts: 5,
        max_in_flight: 1000,
        ..Default::default()
    };
    let register = v1::RegisterConsumerRequest { consumer: Some(consumer), if_not_exists: true };
    let update = v1::UpdateConsumerRequest {
        name: name(),
        filter: None,
        lease: Some(seconds(30)),
        backoff: Some(v1::Backoff { pauses: vec![seconds(1)] }),
        max_attempts: Some(5),
        max_in_flight: Some(1000),
    };
    let failed = v1::Nack { offset: 2, error: "no".into(), delay: Some(seconds(1)), dead_letter: false };
    let settle =
        v1::SettleRequest { consumer: name(), lease_id: "1".into(), ack: vec![1], nack: vec![failed], extend: vec![3] };
    let list = v1::ListDeadLettersRequest { consumer: name(), page_size: 10, page_token: String::new() };
    let (consumer, offsets, all, validate_only) = (name(), vec![1, 2], false, true);
    let redrive = v1::RedriveDeadLettersRequest { consumer, offsets: offsets.clone(), all, validate_only };
    let discard = v1::DiscardDeadLettersRequest { consumer: name(), offsets, all, validate_only };
    let service = "ConsumerService";
    vec![
        Valid::new(service, "RegisterConsumer", &register),
        Valid::new(service, "UpdateConsumer", &update),
        Valid::new(service, "Settle", &settle),
        Valid::new(service, "ListDeadLetters", &list),
        Valid::new(service, "RedriveDeadLetters", &redrive),
        Valid::new(service, "DiscardDeadLetters", &discard),
    ]
}

fn auth() -> Vec<Valid> {
    let refresh_token = format!("efr_{}_{}.{}", "0".repeat(32), "a".repeat(43), "b".repeat(43));
    let login = v1::LoginRequest { username: "ada".into(), password: "correct horse battery".into() };
    let service = "AuthService";
    vec![
        Valid::new(service, "Login", &login),
        Valid::new(service, "RefreshToken", &v1::RefreshTokenRequest { refresh_token }),
        Valid::new(service, "Logout", &v1::LogoutRequest {}),
        Valid::new(service, "GetCaller", &v1::GetCallerRequest {}),
        Valid::new(service, "GetServerInfo", &v1::GetServerInfoRequest {}),
    ]
}

fn users() -> Vec<Valid> {
    let (username, password) = ("clerk".to_owned(), "correct horse battery".to_owned());
    let viewer = v1::Role::Viewer.into();
    let user = v1::User { username: username.clone(), role: viewer, ..Default::default() };
    let update = v1::UpdateUserRequest { username: username.clone(), role: Some(viewer), disabled: Some(false) };
    let change = v1::ChangePasswordRequest {
        username: username.clone(),
        old_password: "one that is forgotten".into(),
        new_password: password,
    };
    let service = "AuthService";
    vec![
        Valid::new(service, "CreateUser", &v1::CreateUserRequest { user: Some(user), password: String::new() }),
        Valid::new(service, "ListUsers", &v1::ListUsersRequest { page_size: 10, page_token: String::new() }),
        Valid::new(service, "UpdateUser", &update),
        Valid::new(service, "ChangePassword", &change),
        Valid::new(service, "DeleteUser", &v1::DeleteUserRequest { username }),
    ]
}

fn keys() -> Vec<Valid> {
    let create = v1::CreateApiKeyRequest { owner: "producers/shop".into(), ttl: Some(seconds(1000)) };
    let list = v1::ListApiKeysRequest { owner: "producers/shop".into(), page_size: 10, page_token: String::new() };
    let id = || "aaaaaaaaaaaaaaaa".to_owned();
    let rotate = v1::RotateApiKeyRequest { id: id(), grace_period: Some(seconds(1000)) };
    let service = "AuthService";
    vec![
        Valid::new(service, "CreateApiKey", &create),
        Valid::new(service, "ListApiKeys", &list),
        Valid::new(service, "RotateApiKey", &rotate),
        Valid::new(service, "RevokeApiKey", &v1::RevokeApiKeyRequest { id: id() }),
    ]
}

#[test]
fn every_rpc_that_is_served_has_a_valid_request() {
    let (mut there, mut wanted) = (BTreeSet::new(), BTreeSet::new());
    there.extend(all().into_iter().map(|valid| valid.path));
    wanted.extend(api::methods().iter().map(api::path));
    assert_eq!(there, wanted);
}
