//! Every limit on bytes and counts: at it and one below are taken, one above is refused by name.
//!
//! The numbers are those of the protos, written down here once more on purpose.

use std::collections::HashMap;

use eventflow::proto::v1;

use super::{
    valid::filter,
    world::{TOPIC, World, assert_invalid},
};
use crate::{
    client::{event, from_earliest},
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
        }
        for (n, len) in [1023, 1024].into_iter().enumerate() {
            create_topic(&world, &format!("described-{n}"), &x(len)).await.unwrap();
            register_producer(&world, &format!("described-{n}"), &x(len), vec![]).await.unwrap();
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
        }
        let refusal = create_topic(&world, "a", &x(1025)).await.unwrap_err();
        assert_invalid(&refusal, "REQUEST_INVALID", &["topic.description"]);
        let update = v1::UpdateTopicRequest { name: TOPIC.into(), description: Some(x(1025)), ..Default::default() };
        let refusal = world.admin.topics().update_topic(update).await.unwrap_err();
        assert_invalid(&refusal, "REQUEST_INVALID", &["description"]);
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

    async fn a_filter_has_up_to_100_entries_and_4_kib(backend: Backend) {
        let world = World::on(backend).await;
        // 96 keys, and one entry in each other field.
        let entries = |count: usize| v1::Filter { keys: (4..count).map(|n| n.to_string()).collect(), ..filter() };
        let bytes = |count: usize| v1::Filter {
            keys: [[x(1024), x(1024), x(1024)].as_slice(), &[x(count - 3072)]].concat(),
            ..Default::default()
        };
        let good = [entries(99), entries(100), bytes(4095), bytes(4096)];
        for (n, filter) in good.into_iter().enumerate() {
            register_consumer(&world, filtered(&format!("c{n}"), filter.clone())).await.unwrap();
            let request = v1::SubscribeRequest { filter: Some(filter), ..from_earliest(TOPIC) };
            world.admin.subscribe(request).await.unwrap().started().await;
        }
        let before = world.names().await;
        for filter in [entries(101), bytes(4097)] {
            let refusal = register_consumer(&world, filtered("c", filter.clone())).await.unwrap_err();
            assert_invalid(&refusal, "FILTER_INVALID", &["consumer.filter"]);
            let request = v1::SubscribeRequest { filter: Some(filter), ..from_earliest(TOPIC) };
            assert_invalid(&world.admin.subscribe(request).await.unwrap_err(), "FILTER_INVALID", &["filter"]);
        }
        assert_eq!(world.names().await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_must_not_have_stars_inside_or_empty_entries() {
    let world = World::on(Backend::Sqlite).await;
    let none = v1::Filter::default;
    let attribute = |name: &str| v1::Filter { attributes: [(name.to_owned(), "v".to_owned())].into(), ..none() };
    let cases = [
        (v1::Filter { types: vec!["a*b".into()], ..none() }, "filter.types[0]"),
        (v1::Filter { types: vec!["a".into(), "*a".into()], ..none() }, "filter.types[1]"),
        (v1::Filter { types: vec!["a**".into()], ..none() }, "filter.types[0]"),
        (v1::Filter { types: vec![String::new()], ..none() }, "filter.types[0]"),
        (v1::Filter { types: vec![x(256)], ..none() }, "filter.types[0]"),
        (v1::Filter { keys: vec![String::new()], ..none() }, "filter.keys[0]"),
        (v1::Filter { keys: vec![x(1025)], ..none() }, "filter.keys[0]"),
        (v1::Filter { correlation_ids: vec![x(129)], ..none() }, "filter.correlation_ids[0]"),
        (v1::Filter { producers: vec![x(266)], ..none() }, "filter.producers[0]"),
        (attribute(""), "filter.attributes[\"\"]"),
        (attribute("a b"), "filter.attributes[\"a b\"]"),
    ];
    for (filter, field) in cases {
        let refusal = register_consumer(&world, filtered("c", filter.clone())).await.unwrap_err();
        assert_invalid(&refusal, "FILTER_INVALID", &[&format!("consumer.{field}")]);
        let request = v1::SubscribeRequest { filter: Some(filter), ..from_earliest(TOPIC) };
        assert_invalid(&world.admin.subscribe(request).await.unwrap_err(), "FILTER_INVALID", &[field]);
    }
}

fn filtered(name: &str, filter: v1::Filter) -> v1::Consumer {
    v1::Consumer { name: name.into(), topic: TOPIC.into(), filter: Some(filter), ..Default::default() }
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
