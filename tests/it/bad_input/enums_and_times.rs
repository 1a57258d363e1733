//! Numbers that are not of their kind: enum values, durations, offsets, sizes of pages.

use eventflow::proto::v1::{self, consumer, subscribe_request::Start};
use prost_types::{Duration, Timestamp};
use tonic::{Code, Status};

use super::world::{TOPIC, World, assert_invalid};
use crate::{
    client::{after, as_consumer, assert_refused, from_earliest},
    harness::backend::{Backend, on_both_stores},
};

const NO_TIMES: [Timestamp; 6] = [
    Timestamp { seconds: i64::MIN, nanos: 0 },
    Timestamp { seconds: i64::MAX, nanos: 0 },
    Timestamp { seconds: 253_402_300_800, nanos: 0 },
    Timestamp { seconds: -62_135_596_801, nanos: 0 },
    Timestamp { seconds: 0, nanos: -1 },
    Timestamp { seconds: 0, nanos: 1_000_000_000 },
];

const NO_DURATIONS: [Duration; 7] = [
    Duration { seconds: -1, nanos: 0 },
    Duration { seconds: 0, nanos: -1 },
    Duration { seconds: 1, nanos: -1 },
    Duration { seconds: 1, nanos: 1_000_000_000 },
    Duration { seconds: i64::MIN, nanos: 0 },
    Duration { seconds: i64::MAX, nanos: i32::MAX },
    Duration { seconds: 315_576_000_001, nanos: 0 },
];

async fn refusal(world: &World, request: v1::SubscribeRequest) -> Status {
    let shown = format!("{request:?}");
    world.admin.subscribe(request).await.err().unwrap_or_else(|| panic!("taken: {shown}"))
}

async fn register(world: &World, consumer: v1::Consumer) -> Status {
    let shown = format!("{consumer:?}");
    let request = v1::RegisterConsumerRequest { consumer: Some(consumer), if_not_exists: false };
    world.admin.consumers().register_consumer(request).await.err().unwrap_or_else(|| panic!("taken: {shown}"))
}

fn consumer() -> v1::Consumer {
    v1::Consumer { name: "c".into(), topic: TOPIC.into(), ..Default::default() }
}

fn starting(start: consumer::Start) -> v1::Consumer {
    v1::Consumer { start: Some(start), ..consumer() }
}

fn kept(retention: Duration, retention_bytes: i64) -> v1::Topic {
    v1::Topic { name: "t".into(), retention: Some(retention), retention_bytes, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_refused_for_every_number_that_makes_no_sense() {
    let world = World::on(Backend::Sqlite).await;
    let base = || from_earliest(TOPIC);
    for value in [3, 99, -1, i32::MIN, i32::MAX] {
        let start = v1::SubscribeRequest { start: Some(Start::StartAt(value)), ..base() };
        assert_invalid(&refusal(&world, start).await, "START_INVALID", &["start_at"]);
    }
    for stop_at in [4, 99, -1, i32::MIN, i32::MAX] {
        let stop = v1::SubscribeRequest { stop_at, ..base() };
        assert_invalid(&refusal(&world, stop).await, "START_INVALID", &["stop_at"]);
    }
    for offset in [-1, i64::MIN] {
        assert_invalid(&refusal(&world, after(TOPIC, offset)).await, "START_INVALID", &["after_offset"]);
        let stop = v1::SubscribeRequest { stop_at: v1::StopAt::Offset.into(), stop_offset: offset, ..base() };
        assert_invalid(&refusal(&world, stop).await, "START_INVALID", &["stop_offset"]);
    }
    for offset in [2, i64::MAX] {
        let status = refusal(&world, after(TOPIC, offset)).await;
        assert_refused(&status, Code::OutOfRange, "OFFSET_BEYOND_HEAD");
    }
    for time in NO_TIMES {
        let start = v1::SubscribeRequest { start: Some(Start::StartTime(time)), ..base() };
        assert_invalid(&refusal(&world, start).await, "START_INVALID", &["start_time"]);
    }
    for max_batch_events in [-1, 1001, i32::MIN, i32::MAX] {
        let request = v1::SubscribeRequest { max_batch_events, ..base() };
        assert_invalid(&refusal(&world, request).await, "REQUEST_INVALID", &["max_batch_events"]);
    }
    let out_of_range =
        [(0, 0), (0, 999_999_999), (300, 1), (301, 0)].map(|(seconds, nanos)| Duration { seconds, nanos });
    for interval in NO_DURATIONS.into_iter().chain(out_of_range) {
        let request = v1::SubscribeRequest { heartbeat_interval: Some(interval), ..base() };
        assert_invalid(&refusal(&world, request).await, "REQUEST_INVALID", &["heartbeat_interval"]);
    }
    world.is_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_open_with_every_number_at_its_limit() {
    let world = World::on(Backend::Sqlite).await;
    let base = || from_earliest(TOPIC);
    for max_batch_events in [0, 1, 999, 1000] {
        world.admin.subscribe(v1::SubscribeRequest { max_batch_events, ..base() }).await.unwrap().started().await;
    }
    for (seconds, nanos) in [(1, 0), (1, 1), (299, 999_999_999), (300, 0)] {
        let heartbeat_interval = Some(Duration { seconds, nanos });
        let mut stream = world.admin.subscribe(v1::SubscribeRequest { heartbeat_interval, ..base() }).await.unwrap();
        assert_eq!(stream.started().await.heartbeat_interval, heartbeat_interval);
    }
    let stop = v1::SubscribeRequest { stop_at: v1::StopAt::Offset.into(), stop_offset: i64::MAX, ..base() };
    world.admin.subscribe(stop).await.unwrap().started().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_contradict_each_other_are_all_named() {
    let world = World::on(Backend::Sqlite).await;
    let consume = || as_consumer("billing");
    let cases = [
        (v1::SubscribeRequest::default(), "REQUEST_INVALID", vec!["from"]),
        (v1::SubscribeRequest { max_in_flight: -1, ..consume() }, "REQUEST_INVALID", vec!["max_in_flight"]),
        (v1::SubscribeRequest { take_over: true, wait: true, ..consume() }, "REQUEST_INVALID", vec!["wait"]),
        (v1::SubscribeRequest { take_over: true, ..from_earliest(TOPIC) }, "REQUEST_INVALID", vec!["take_over"]),
        (v1::SubscribeRequest { stop_offset: 5, ..from_earliest(TOPIC) }, "START_INVALID", vec!["stop_offset"]),
        (v1::SubscribeRequest { log_id: "x".into(), ..from_earliest(TOPIC) }, "START_INVALID", vec!["log_id"]),
        (v1::SubscribeRequest { log_id: "x\0".into(), ..from_earliest(TOPIC) }, "START_INVALID", vec!["log_id"]),
        (
            v1::SubscribeRequest {
                start: Some(Start::AfterOffset(0)),
                filter: Some(v1::Filter::default()),
                ..consume()
            },
            "START_INVALID",
            vec!["start", "filter"],
        ),
        (
            v1::SubscribeRequest {
                max_in_flight: -1,
                stop_at: 77,
                max_batch_events: -7,
                heartbeat_interval: Some(NO_DURATIONS[0]),
                ..after("No Name", -1)
            },
            "REQUEST_INVALID",
            vec!["max_in_flight", "after_offset", "topic", "stop_at", "max_batch_events", "heartbeat_interval"],
        ),
    ];
    for (request, reason, fields) in cases {
        assert_invalid(&refusal(&world, request).await, reason, &fields);
    }
}

on_both_stores! {
    async fn consumers_and_topics_are_refused_for_numbers_that_make_no_sense(backend: Backend) {
        let world = World::on(backend).await;
        let before = world.names().await;
        for mode in [3, -1, i32::MAX] {
            let status = register(&world, v1::Consumer { mode, ..consumer() }).await;
            assert_invalid(&status, "REQUEST_INVALID", &["consumer.mode"]);
        }
        for value in [3, -1] {
            let status = register(&world, starting(consumer::Start::StartAt(value))).await;
            assert_invalid(&status, "START_INVALID", &["consumer.start_at"]);
        }
        for time in NO_TIMES {
            let status = register(&world, starting(consumer::Start::StartTime(time))).await;
            assert_invalid(&status, "START_INVALID", &["consumer.start_time"]);
        }
        let status = register(&world, starting(consumer::Start::AfterOffset(-1))).await;
        assert_invalid(&status, "START_INVALID", &["consumer.after_offset"]);
        for offset in [2, i64::MAX] {
            let status = register(&world, starting(consumer::Start::AfterOffset(offset))).await;
            assert_refused(&status, Code::OutOfRange, "OFFSET_BEYOND_HEAD");
        }
        for duration in NO_DURATIONS {
            let topic = kept(duration, -1);
            let request = v1::CreateTopicRequest { topic: Some(topic), if_not_exists: false };
            let status = world.admin.topics().create_topic(request).await.unwrap_err();
            assert_invalid(&status, "REQUEST_INVALID", &["topic.retention", "topic.retention_bytes"]);
            let request = v1::UpdateTopicRequest {
                name: TOPIC.into(), retention: Some(duration), retention_bytes: Some(i64::MIN), ..Default::default()
            };
            let status = world.admin.topics().update_topic(request).await.unwrap_err();
            assert_invalid(&status, "REQUEST_INVALID", &["retention", "retention_bytes"]);
        }
        assert_eq!(world.names().await, before);
        // As long as a duration can be, and as many bytes: both stores keep them.
        let longest = Duration { seconds: 315_576_000_000, nanos: 0 };
        let topic = kept(longest, i64::MAX);
        let request = v1::CreateTopicRequest { topic: Some(topic), if_not_exists: false };
        let made = world.admin.topics().create_topic(request).await.unwrap().into_inner().topic.unwrap();
        assert_eq!((made.retention, made.retention_bytes), (Some(longest), i64::MAX));
    }

    async fn queue_settings_are_checked_though_their_mode_is_not_served(backend: Backend) {
        let world = World::on(backend).await;
        let queue = || v1::Consumer { mode: v1::Mode::Queue.into(), ..consumer() };
        let cases = [
            (v1::Consumer { lease: Some(Duration { seconds: 0, nanos: 999_999_999 }), ..queue() }, "consumer.lease"),
            (v1::Consumer { lease: Some(Duration { seconds: 3600, nanos: 1 }), ..queue() }, "consumer.lease"),
            (v1::Consumer { backoff: vec![Duration::default(); 21], ..queue() }, "consumer.backoff"),
            (v1::Consumer { backoff: vec![Duration::default(), NO_DURATIONS[0]], ..queue() }, "consumer.backoff[1]"),
            (v1::Consumer { max_attempts: 1001, ..queue() }, "consumer.max_attempts"),
            (v1::Consumer { max_attempts: -1, ..queue() }, "consumer.max_attempts"),
            (v1::Consumer { max_in_flight: 100_001, ..queue() }, "consumer.max_in_flight"),
            (v1::Consumer { max_in_flight: i32::MIN, ..queue() }, "consumer.max_in_flight"),
            (v1::Consumer { max_attempts: 1, ..consumer() }, "consumer.mode"),
        ];
        for (consumer, field) in cases {
            assert_invalid(&register(&world, consumer).await, "REQUEST_INVALID", &[field]);
        }
    }

    async fn offsets_that_cannot_be_are_neither_trimmed_nor_committed(backend: Backend) {
        let world = World::on(backend).await;
        let trim = async |before_offset| {
            let request = v1::TrimTopicRequest { name: TOPIC.into(), before_offset, validate_only: false };
            world.admin.topics().trim_topic(request).await.unwrap_err()
        };
        for offset in [-1, i64::MIN] {
            assert_invalid(&trim(offset).await, "REQUEST_INVALID", &["before_offset"]);
        }
        for offset in [3, i64::MAX] {
            assert_refused(&trim(offset).await, Code::OutOfRange, "OFFSET_BEYOND_HEAD");
        }
        let mut stream = world.admin.subscribe(as_consumer("billing")).await.unwrap();
        let epoch = stream.started().await.epoch;
        let commit = async |consumer: &str, offset, epoch| {
            let request = v1::CommitOffsetRequest { consumer: consumer.into(), offset, epoch };
            world.admin.consumers().commit_offset(request).await.unwrap_err()
        };
        assert_invalid(&commit("No Name", -1, 0).await, "NAME_INVALID", &["consumer", "offset", "epoch"]);
        assert_invalid(&commit("billing", i64::MIN, epoch).await, "REQUEST_INVALID", &["offset"]);
        assert_invalid(&commit("billing", 1, i64::MIN).await, "REQUEST_INVALID", &["epoch"]);
        assert_refused(&commit("billing", i64::MAX, epoch).await, Code::OutOfRange, "OFFSET_BEYOND_HEAD");
        assert_refused(&commit("billing", 1, i64::MAX).await, Code::Aborted, "CONSUMER_FENCED");
        assert_refused(&commit("nobody", 1, epoch).await, Code::NotFound, "CONSUMER_NOT_FOUND");
        let request = v1::GetConsumerRequest { name: "billing".into() };
        let found = world.admin.consumers().get_consumer(request).await.unwrap().into_inner().consumer.unwrap();
        assert_eq!(found.status.unwrap().position.unwrap().offset, 0, "nothing was committed");
        assert_eq!(world.head().await, 1);
    }

    async fn pages_are_refused_for_negative_sizes_and_tokens_of_other_queries(backend: Backend) {
        let world = World::on(backend).await;
        for name in ["a1", "a2", "a3"] {
            world.admin.create_topic(name).await;
        }
        let list = async |prefix: &str, page_size, page_token: &str| {
            let request = v1::ListTopicsRequest { prefix: prefix.into(), page_size, page_token: page_token.into() };
            world.admin.topics().list_topics(request).await.map(tonic::Response::into_inner)
        };
        let page = list("a", 1, "").await.unwrap();
        assert_eq!(page.topics.len(), 1);
        let token = page.next_page_token;
        assert_eq!(list("a", i32::MAX, &token).await.unwrap().topics.len(), 2);
        for page_size in [-1, i32::MIN] {
            assert_invalid(&list("a", page_size, "").await.unwrap_err(), "REQUEST_INVALID", &["page_size"]);
        }
        assert_invalid(&list("b", 1, &token).await.unwrap_err(), "PAGE_TOKEN_INVALID", &["page_token"]);
        let damaged = [
            token[1..].to_owned(), token[..token.len() - 4].to_owned(), format!("{token}="), token.to_uppercase(),
            format!("{token}\0"), "x".into(), "ä".into(), "A".repeat(100_000), format!("{token}{token}"),
        ];
        for token in damaged {
            assert_invalid(&list("a", 1, &token).await.unwrap_err(), "PAGE_TOKEN_INVALID", &["page_token"]);
        }
        let consumers = v1::ListConsumersRequest { page_token: token.clone(), ..Default::default() };
        let status = world.admin.consumers().list_consumers(consumers).await.unwrap_err();
        assert_invalid(&status, "PAGE_TOKEN_INVALID", &["page_token"]);
        let producers = v1::ListProducersRequest { page_token: token, page_size: -1 };
        let status = world.admin.producers().list_producers(producers).await.unwrap_err();
        assert_invalid(&status, "REQUEST_INVALID", &["page_size"]);
    }
}
