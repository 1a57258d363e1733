//! Where a stream begins, and where it ends.

use eventflow::proto::v1::{self, subscribe_request::Start};
use tonic::Code;

use crate::{
    client::{Client, after, assert_refused, event, from_earliest, text},
    harness::backend::{Backend, on_both_stores},
};

/// A server with a topic of `count` numbered events.
async fn topic_of(backend: Backend, count: usize) -> (crate::harness::server::Server, Client) {
    let server = backend.server().await.start().await;
    let client = Client::admin(&server).await;
    client.create_topic("orders").await;
    client.publish_numbered("orders", 1, count).await;
    (server, client)
}

fn bounded(request: v1::SubscribeRequest) -> v1::SubscribeRequest {
    v1::SubscribeRequest { stop_at: v1::StopAt::Head.into(), ..request }
}

async fn offsets(client: &Client, request: v1::SubscribeRequest) -> Vec<i64> {
    let (events, end) = client.subscribe(request).await.unwrap().rest().await;
    end.unwrap();
    events.iter().map(|event| event.offset).collect()
}

on_both_stores! {
    async fn a_bounded_stream_reads_all_there_is_and_ends_well(backend: Backend) {
        let (_server, client) = topic_of(backend, 2500).await;
        assert_eq!(offsets(&client, bounded(from_earliest("orders"))).await, (1..=2500).collect::<Vec<_>>());
        assert_eq!(offsets(&client, bounded(after("orders", 2498))).await, [2499, 2500]);
        assert_eq!(offsets(&client, bounded(after("orders", 2500))).await, [0; 0]);
        let head = v1::SubscribeRequest { start: None, ..bounded(from_earliest("orders")) };
        assert_eq!(offsets(&client, head).await, [0; 0], "an absent start is the head");
    }

    async fn a_stream_ends_after_its_stop_offset_also_if_that_is_yet_to_come(backend: Backend) {
        let (_server, client) = topic_of(backend, 10).await;
        let until = |stop_offset| v1::SubscribeRequest {
            stop_at: v1::StopAt::Offset.into(), stop_offset, ..after("orders", 3)
        };
        assert_eq!(offsets(&client, until(5)).await, [4, 5]);
        let later = tokio::spawn({
            let client = client.clone();
            async move { offsets(&client, until(12)).await }
        });
        client.publish_numbered("orders", 11, 4).await;
        assert_eq!(later.await.unwrap(), (4..=12).collect::<Vec<_>>());
    }

    async fn a_stream_from_the_head_sees_only_what_comes_after(backend: Backend) {
        let (_server, client) = topic_of(backend, 3).await;
        let request = v1::SubscribeRequest { start: None, ..from_earliest("orders") };
        let mut stream = client.subscribe(request).await.unwrap();
        assert_eq!(stream.started().await.position.unwrap().offset, 3);
        client.publish("orders", vec![event("new")]).await.unwrap();
        assert_eq!(text(&stream.events(1).await[0]), "new");
    }

    async fn a_stream_begins_at_the_first_event_recorded_at_or_after_a_time(backend: Backend) {
        let (_server, client) = topic_of(backend, 3).await;
        let later = client.publish("orders", vec![event("a"), event("b")]).await.unwrap();
        let time = later[0].recorded_time.unwrap();
        let at = |time| bounded(v1::SubscribeRequest { start: Some(Start::StartTime(time)), ..from_earliest("orders") });
        assert_eq!(offsets(&client, at(time)).await, [4, 5]);
        let just_after = prost_types::Timestamp { seconds: time.seconds + 1, ..time };
        assert_eq!(offsets(&client, at(just_after)).await, [0; 0]);
        let long_ago = prost_types::Timestamp { seconds: 0, nanos: 0 };
        assert_eq!(offsets(&client, at(long_ago)).await, [1, 2, 3, 4, 5]);
    }

    async fn impossible_starts_are_refused_before_the_stream_opens(backend: Backend) {
        let (_server, client) = topic_of(backend, 3).await;
        let refused = async |request| client.subscribe(request).await.unwrap_err();
        assert_refused(&refused(after("orders", 4)).await, Code::OutOfRange, "OFFSET_BEYOND_HEAD");
        assert_refused(&refused(after("orders", -1)).await, Code::InvalidArgument, "START_INVALID");
        assert_refused(&refused(after("nowhere", 0)).await, Code::NotFound, "TOPIC_NOT_FOUND");
        let other = v1::SubscribeRequest { log_id: uuid::Uuid::new_v4().to_string(), ..after("orders", 1) };
        assert_refused(&refused(other).await, Code::FailedPrecondition, "LOG_REPLACED");
    }

    async fn trimmed_events_are_refused_or_skipped_and_never_passed_over_in_silence(backend: Backend) {
        let (_server, client) = topic_of(backend, 3).await;
        client.publish_numbered("orders", 4, 7).await;
        let trim = v1::TrimTopicRequest { name: "orders".into(), before_offset: 4, validate_only: false };
        let trimmed = client.topics().trim_topic(trim).await.unwrap().into_inner();
        assert_eq!((trimmed.trimmed_events, trimmed.earliest_offset), (Some(3), 4));

        assert_eq!(offsets(&client, bounded(from_earliest("orders"))).await, (4..=10).collect::<Vec<_>>());
        assert_eq!(offsets(&client, bounded(after("orders", 3))).await, (4..=10).collect::<Vec<_>>());
        let refusal = client.subscribe(after("orders", 2)).await.unwrap_err();
        assert_refused(&refusal, Code::OutOfRange, "OFFSET_TRIMMED");

        let request = v1::SubscribeRequest { skip_trimmed: true, ..after("orders", 1) };
        let mut stream = client.subscribe(request).await.unwrap();
        stream.started().await;
        let v1::subscribe_response::Frame::Skipped(skipped) = stream.frame().await else { panic!("nothing was skipped") };
        assert_eq!((skipped.from_offset, skipped.to_offset), (2, 3));
        assert_eq!(stream.events(7).await[0].offset, 4);
    }
}
