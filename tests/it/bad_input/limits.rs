//! Every limit on bytes and counts: at it and one below are taken, one above is refused by name.
//!
//! The numbers are those of the protos, written down here once more on purpose.

use std::collections::HashMap;

use eventflow::proto::v1;

use super::world::{TOPIC, World, assert_invalid};
use crate::{
    client::event,
    harness::backend::{Backend, on_both_stores},
};

/// Makes an event with something of this size.
type Sized = fn(usize) -> v1::NewEvent;

fn x(len: usize) -> String {
    "x".repeat(len)
}

fn attributes(pairs: impl IntoIterator<Item = (String, String)>) -> v1::NewEvent {
    v1::NewEvent { attributes: HashMap::from_iter(pairs), ..event("") }
}

fn payload(payload: v1::new_event::Payload) -> v1::NewEvent {
    v1::NewEvent { payload: Some(payload), ..event("") }
}

fn json_text(len: usize) -> v1::new_event::Payload {
    let kind = prost_types::value::Kind::StringValue(x(len - r#""""#.len()));
    v1::new_event::Payload::Json(prost_types::Value { kind: Some(kind) })
}

/// The field that is named, the limit, and the event.
const EVENT_LIMITS: [(&str, usize, Sized); 14] = [
    ("type", 255, |n| v1::NewEvent { r#type: x(n), ..event("") }),
    ("key", 1024, |n| v1::NewEvent { key: x(n), ..event("") }),
    ("id", 128, |n| v1::NewEvent { id: x(n), ..event("") }),
    ("source", 255, |n| v1::NewEvent { source: x(n), ..event("") }),
    ("content_type", 255, |n| v1::NewEvent { content_type: x(n), ..event("") }),
    ("correlation_id", 128, |n| v1::NewEvent { correlation_id: x(n), ..event("") }),
    ("causation_id", 128, |n| v1::NewEvent { causation_id: x(n), ..event("") }),
    ("attributes", 32, |n| attributes((0..n).map(|i| (format!("a{i}"), String::new())))),
    ("attributes[\"", 64, |n| attributes([(x(n), "value".into())])),
    ("attributes[\"name\"]", 4096, |n| attributes([("name".into(), x(n))])),
    ("data", 1 << 20, |n| payload(v1::new_event::Payload::Data(vec![0; n].into()))),
    ("text", 1 << 20, |n| payload(v1::new_event::Payload::Text(x(n)))),
    // Bytes and not characters count: each of these has two.
    ("text", 1 << 20, |n| payload(v1::new_event::Payload::Text("é".repeat(n / 2) + &x(n % 2)))),
    ("json", 1 << 20, |n| payload(json_text(n))),
];

on_both_stores! {
    async fn events_are_taken_up_to_each_limit_and_refused_one_above(backend: Backend) {
        let world = World::on(backend).await;
        for (field, limit, make) in EVENT_LIMITS {
            for size in [limit - 1, limit] {
                let taken = world.admin.publish(TOPIC, vec![make(size)]).await;
                assert!(taken.is_ok(), "{field} of {size} was refused: {taken:?}");
            }
            let head = world.head().await;
            let refusal = world.admin.publish(TOPIC, vec![event("good"), make(limit + 1)]).await;
            let refusal = refusal.err().unwrap_or_else(|| panic!("{field} of {} was taken", limit + 1));
            let named = crate::client::violations(&refusal);
            assert!(named.len() == 1 && named[0].starts_with(&format!("events[1].{field}")), "{field}: {refusal:?}");
            assert_invalid(&refusal, "EVENT_INVALID", &[&named[0]]);
            assert_eq!(world.head().await, head, "{field}: a part of the request was stored");
        }
    }

    async fn a_request_takes_1_to_1000_events(backend: Backend) {
        let world = World::on(backend).await;
        let events = |count: usize| (0..count).map(|n| event(&n.to_string())).collect::<Vec<_>>();
        for count in [1, 999, 1000] {
            assert_eq!(world.admin.publish(TOPIC, events(count)).await.unwrap().len(), count);
        }
        let head = world.head().await;
        for count in [0, 1001, 5000] {
            let refusal = world.admin.publish(TOPIC, events(count)).await.unwrap_err();
            assert_invalid(&refusal, "BATCH_INVALID", &["events"]);
        }
        assert_eq!(world.head().await, head);
    }

    async fn names_have_1_to_255_bytes_and_descriptions_up_to_1_kib(backend: Backend) {
        let world = World::on(backend).await;
        for len in [254, 255] {
            world.admin.create_topic(&x(len)).await;
            world.admin.register(&x(len), TOPIC).await;
            world.admin.producer(&x(len), &[&x(len)]).await;
            create_user(&world, &x(len)).await.unwrap();
        }
        for (n, len) in [1023, 1024].into_iter().enumerate() {
            create_topic(&world, &format!("described-{n}"), &x(len)).await.unwrap();
            register_producer(&world, &format!("described-{n}"), &x(len), vec![]).await.unwrap();
            describe_topic(&world, x(len)).await.unwrap();
            describe_producer(&world, x(len)).await.unwrap();
        }
        let before = world.names().await;
        let long = [x(256), x(100_000)];
        for bad in ["", "-a", "A", "a b", "ä", "a/b", &long[0], &long[1]] {
            let refusal = create_topic(&world, bad, "").await.unwrap_err();
            assert_invalid(&refusal, "NAME_INVALID", &["topic.name"]);
            let refusal = register_producer(&world, bad, "", vec![]).await.unwrap_err();
            assert_invalid(&refusal, "NAME_INVALID", &["producer.name"]);
            let consumer = v1::Consumer { name: bad.into(), topic: bad.into(), ..Default::default() };
            let refusal = register_consumer(&world, consumer).await.unwrap_err();
            assert_invalid(&refusal, "NAME_INVALID", &["consumer.name", "consumer.topic"]);
            let refusal = create_user(&world, bad).await.unwrap_err();
            assert_invalid(&refusal, "NAME_INVALID", &["user.username"]);
        }
        let refusal = create_topic(&world, "a", &x(1025)).await.unwrap_err();
        assert_invalid(&refusal, "REQUEST_INVALID", &["topic.description"]);
        for refusal in [describe_topic(&world, x(1025)).await, describe_producer(&world, x(1025)).await] {
            assert_invalid(&refusal.unwrap_err(), "REQUEST_INVALID", &["description"]);
        }
        let refusal = register_producer(&world, "a", &x(1025), vec![]).await.unwrap_err();
        assert_invalid(&refusal, "REQUEST_INVALID", &["producer.description"]);
        assert_eq!(world.names().await, before);
    }

    async fn a_producer_has_up_to_100_topics(backend: Backend) {
        let world = World::on(backend).await;
        let topics = |count: usize| (0..count).map(|n| format!("t{n}.*")).collect::<Vec<_>>();
        for count in [0, 99, 100] {
            register_producer(&world, &format!("p{count}"), "", topics(count)).await.unwrap();
        }
        let refusal = register_producer(&world, "p101", "", topics(101)).await.unwrap_err();
        assert_invalid(&refusal, "REQUEST_INVALID", &["producer.topics"]);
        for bad in ["", "a*b", "**", "*a", "A", "a b*"] {
            let refusal = register_producer(&world, "p", "", vec!["fine".into(), bad.into()]).await.unwrap_err();
            assert_invalid(&refusal, "NAME_INVALID", &["producer.topics[1]"]);
        }
        assert!(!world.names().await.iter().any(|name| name == "producer p101" || name == "producer p"));
    }
}

async fn create_topic(world: &World, name: &str, description: &str) -> Result<(), tonic::Status> {
    let topic = v1::Topic { name: name.into(), description: description.into(), ..Default::default() };
    let request = v1::CreateTopicRequest { topic: Some(topic), if_not_exists: false };
    world.admin.topics().create_topic(request).await.map(drop)
}

async fn register_producer(
    world: &World,
    name: &str,
    description: &str,
    topics: Vec<String>,
) -> Result<(), tonic::Status> {
    let producer = v1::Producer { name: name.into(), description: description.into(), topics, ..Default::default() };
    let request = v1::RegisterProducerRequest { producer: Some(producer), if_not_exists: false };
    world.admin.producers().register_producer(request).await.map(drop)
}

async fn register_consumer(world: &World, consumer: v1::Consumer) -> Result<(), tonic::Status> {
    let request = v1::RegisterConsumerRequest { consumer: Some(consumer), if_not_exists: false };
    world.admin.consumers().register_consumer(request).await.map(drop)
}

async fn create_user(world: &World, name: &str) -> Result<(), tonic::Status> {
    let user = v1::User { username: name.into(), role: v1::Role::Viewer.into(), ..Default::default() };
    let request = v1::CreateUserRequest { user: Some(user), password: String::new() };
    world.admin.auth().create_user(request).await.map(drop)
}

/// Gives the topic another description.
async fn describe_topic(world: &World, description: String) -> Result<(), tonic::Status> {
    let request = v1::UpdateTopicRequest { name: TOPIC.into(), description: Some(description), ..Default::default() };
    world.admin.topics().update_topic(request).await.map(drop)
}

/// Gives the producer another description.
async fn describe_producer(world: &World, description: String) -> Result<(), tonic::Status> {
    let name = "shop".into();
    let request = v1::UpdateProducerRequest { name, description: Some(description), ..Default::default() };
    world.admin.producers().update_producer(request).await.map(drop)
}
