//! Consumers are changed, moved and paused while streams serve them.

use std::time::{Duration, Instant};

use eventflow::proto::v1::{self, closing::Reason, seek_consumer_request::Start, subscribe_response::Frame};
use tonic::{Code, Status};

use super::{AT_ONCE, billing, commit, ends, lively, offsets, open, orders, register, served, status, stored, waiting};
use crate::{
    client::{Client, Stream, as_consumer, assert_refused, event, violations},
    harness::{
        backend::{Backend, on_both_stores},
        databases::Database,
        redis::Redis,
        server::Server,
    },
};

async fn seek(client: &Client, start: Option<Start>) -> Result<v1::ConsumerStatus, Status> {
    let request = v1::SeekConsumerRequest { name: "billing".into(), start };
    let consumer = client.consumers().seek_consumer(request).await?.into_inner().consumer;
    Ok(consumer.expect("a consumer").status.expect("a consumer has a status"))
}

async fn pause(client: &Client, paused: bool) -> v1::ConsumerStatus {
    let request = v1::PauseConsumerRequest { name: "billing".into(), paused };
    let consumer = client.consumers().pause_consumer(request).await.unwrap().into_inner().consumer;
    consumer.expect("a consumer").status.expect("a consumer has a status")
}

async fn update(client: &Client, types: &[&str]) -> Result<v1::Consumer, Status> {
    let filter = v1::Filter { types: types.iter().map(|text| text.to_string()).collect(), ..Default::default() };
    let request = v1::UpdateConsumerRequest { name: "billing".into(), filter: Some(filter), ..Default::default() };
    Ok(client.consumers().update_consumer(request).await?.into_inner().consumer.expect("a consumer"))
}

/// Reads until a heartbeat says whether the consumer is paused, as wanted; returns the offsets that came before.
async fn heartbeat(stream: &mut Stream, paused: bool) -> Vec<i64> {
    let mut seen = Vec::new();
    loop {
        match stream.frame().await {
            Frame::Heartbeat(heartbeat) if heartbeat.paused == paused => return seen,
            Frame::Batch(batch) => seen.extend(offsets(&batch.events)),
            _ => {}
        }
    }
}

on_both_stores! {
    async fn a_seek_ends_the_stream_which_resumes_from_the_new_place(backend: Backend) {
        let (_server, client) = orders(backend, 10).await;
        register(&client, billing()).await.unwrap();
        let (mut stream, old, _) = open(&client, lively()).await;
        assert_eq!(offsets(&stream.events(10).await), (1..=10).collect::<Vec<_>>());
        commit(&client, "billing", old, 8).await.unwrap();

        let moved = seek(&client, Some(Start::AfterOffset(3))).await.unwrap();
        assert_eq!(moved.position.unwrap().offset, 3);
        assert!(moved.epoch > old);
        ends(&mut stream, Reason::ConsumerChanged, Code::Unavailable, "STREAM_ROTATED").await;
        let refusal = commit(&client, "billing", old, 9).await.unwrap_err();
        assert_refused(&refusal, Code::Aborted, "CONSUMER_FENCED");

        let (mut stream, epoch, position) = open(&client, lively()).await;
        assert_eq!(position, 3);
        assert_eq!(offsets(&stream.events(7).await), [4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(commit(&client, "billing", epoch, 10).await.unwrap(), 10);
    }

    async fn a_seek_goes_to_every_kind_of_place(backend: Backend) {
        let (_server, client) = orders(backend, 5).await;
        register(&client, billing()).await.unwrap();
        let future = prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 };
        let past = prost_types::Timestamp { seconds: 1, nanos: 0 };
        for (start, place) in [
            (Start::StartAt(v1::StartAt::Head.into()), 5),
            (Start::StartAt(v1::StartAt::Earliest.into()), 0),
            (Start::AfterOffset(5), 5),
            (Start::StartTime(past), 0),
            (Start::StartTime(future), 5),
            (Start::AfterOffset(0), 0),
        ] {
            assert_eq!(seek(&client, Some(start)).await.unwrap().position.unwrap().offset, place, "{start:?}");
            assert_eq!(stored(&client, "billing").await, place);
        }
    }

    async fn a_seek_to_no_place_is_refused_and_moves_nothing(backend: Backend) {
        let (_server, client) = orders(backend, 5).await;
        register(&client, billing()).await.unwrap();
        let (_stream, epoch, _) = open(&client, lively()).await;
        for start in [None, Some(Start::StartAt(0)), Some(Start::StartAt(77)), Some(Start::AfterOffset(-1))] {
            let refusal = seek(&client, start).await.unwrap_err();
            assert_refused(&refusal, Code::InvalidArgument, "START_INVALID");
            assert_eq!(violations(&refusal).len(), 1);
        }
        let refusal = seek(&client, Some(Start::AfterOffset(6))).await.unwrap_err();
        assert_refused(&refusal, Code::OutOfRange, "OFFSET_BEYOND_HEAD");
        let trim = v1::TrimTopicRequest { name: "orders".into(), before_offset: 6, validate_only: false };
        client.topics().trim_topic(trim).await.unwrap();
        let refusal = seek(&client, Some(Start::AfterOffset(1))).await.unwrap_err();
        assert_refused(&refusal, Code::OutOfRange, "OFFSET_TRIMMED");
        assert_eq!(status(&client, "billing").await.epoch, epoch, "a refused seek moved something");
        let request = v1::SeekConsumerRequest { name: "nobody".into(), start: Some(Start::AfterOffset(0)) };
        let refusal = client.consumers().seek_consumer(request).await.unwrap_err();
        assert_refused(&refusal, Code::NotFound, "CONSUMER_NOT_FOUND");
    }

    async fn a_paused_consumer_gets_nothing_and_its_stream_says_so_and_goes_on(backend: Backend) {
        let (_server, client) = orders(backend, 3).await;
        register(&client, billing()).await.unwrap();
        let (mut stream, epoch, _) = open(&client, lively()).await;
        assert_eq!(offsets(&stream.events(3).await), [1, 2, 3]);
        assert!(pause(&client, true).await.paused);
        assert!(pause(&client, true).await.paused, "asked again");
        let paused_at = Instant::now();
        assert!(heartbeat(&mut stream, true).await.is_empty());
        assert!(paused_at.elapsed() < AT_ONCE, "{:?}", paused_at.elapsed());
        client.publish_numbered("orders", 4, 3).await;
        assert!(heartbeat(&mut stream, true).await.is_empty(), "a paused consumer got events");
        assert_eq!(commit(&client, "billing", epoch, 3).await.unwrap(), 3, "what is done can be stored");

        assert!(!pause(&client, false).await.paused);
        assert_eq!(offsets(&stream.events(3).await), [4, 5, 6]);
        assert_eq!(status(&client, "billing").await.epoch, epoch, "the stream kept its consumer");
    }

    async fn a_stream_of_a_consumer_that_is_paused_opens_and_waits(backend: Backend) {
        let (_server, client) = orders(backend, 3).await;
        register(&client, billing()).await.unwrap();
        pause(&client, true).await;
        let (mut stream, _, _) = open(&client, lively()).await;
        assert!(heartbeat(&mut stream, true).await.is_empty());
        pause(&client, false).await;
        assert_eq!(offsets(&stream.events(3).await), [1, 2, 3]);
    }

    async fn a_changed_filter_ends_the_stream_and_holds_from_the_next_one_on(backend: Backend) {
        let (_server, client) = orders(backend, 2).await;
        register(&client, billing()).await.unwrap();
        let (mut stream, epoch, _) = open(&client, lively()).await;
        assert_eq!(offsets(&stream.events(2).await), [1, 2]);
        let updated = update(&client, &["order.*"]).await.unwrap();
        assert_eq!(updated.filter.unwrap().types, ["order.*"]);
        ends(&mut stream, Reason::ConsumerChanged, Code::Unavailable, "STREAM_ROTATED").await;
        // The epoch lives until the next stream: what was received can be stored.
        assert_eq!(commit(&client, "billing", epoch, 2).await.unwrap(), 2);
        client.publish_numbered("orders", 3, 2).await;
        client.publish("orders", vec![v1::NewEvent { r#type: "order.paid".into(), ..event("x") }]).await.unwrap();
        let (mut stream, ..) = open(&client, lively()).await;
        assert_eq!(offsets(&stream.events(1).await), [5]);

        // Nothing asked, nothing changed: the stream goes on.
        let request = v1::UpdateConsumerRequest { name: "billing".into(), ..Default::default() };
        client.consumers().update_consumer(request).await.unwrap();
        client.publish("orders", vec![v1::NewEvent { r#type: "order.sent".into(), ..event("y") }]).await.unwrap();
        assert_eq!(offsets(&stream.events(1).await), [6]);
    }

    async fn settings_of_the_other_mode_and_bad_filters_are_refused(backend: Backend) {
        let (_server, client) = orders(backend, 1).await;
        register(&client, billing()).await.unwrap();
        let plain = || v1::UpdateConsumerRequest { name: "billing".into(), ..Default::default() };
        for request in [
            v1::UpdateConsumerRequest { lease: Some(prost_types::Duration { seconds: 5, nanos: 0 }), ..plain() },
            v1::UpdateConsumerRequest { backoff: Some(v1::Backoff::default()), ..plain() },
            v1::UpdateConsumerRequest { max_attempts: Some(3), ..plain() },
            v1::UpdateConsumerRequest { max_in_flight: Some(3), ..plain() },
        ] {
            let refusal = client.consumers().update_consumer(request.clone()).await.unwrap_err();
            assert_refused(&refusal, Code::FailedPrecondition, "WRONG_MODE");
            let unknown = v1::UpdateConsumerRequest { name: "nobody".into(), ..request };
            let refusal = client.consumers().update_consumer(unknown).await.unwrap_err();
            assert_refused(&refusal, Code::NotFound, "CONSUMER_NOT_FOUND");
        }
        let refusal = update(&client, &["*order"]).await.unwrap_err();
        assert_refused(&refusal, Code::InvalidArgument, "FILTER_INVALID");
        for request in ["", "Billing"] {
            let request = v1::PauseConsumerRequest { name: request.into(), paused: true };
            let refusal = client.consumers().pause_consumer(request).await.unwrap_err();
            assert_refused(&refusal, Code::InvalidArgument, "NAME_INVALID");
        }
    }

    async fn events_that_were_trimmed_before_they_came_are_counted_once(backend: Backend) {
        let (_server, client) = orders(backend, 5).await;
        register(&client, billing()).await.unwrap();
        let trim = v1::TrimTopicRequest { name: "orders".into(), before_offset: 6, validate_only: false };
        client.topics().trim_topic(trim).await.unwrap();
        client.publish_numbered("orders", 6, 1).await;
        for _ in 0..2 {
            let request = v1::SubscribeRequest { skip_trimmed: true, ..as_consumer("billing") };
            let (mut stream, ..) = open(&client, request).await;
            match stream.frame().await {
                Frame::Skipped(skipped) => assert_eq!((skipped.from_offset, skipped.to_offset), (1, 5)),
                other => panic!("not Skipped: {other:?}"),
            }
            assert_eq!(offsets(&stream.events(1).await), [6]);
            drop(stream);
            crate::harness::patience::eventually("the events to be counted", async || {
                let seen = status(&client, "billing").await;
                (seen.trimmed_events == 5 && seen.connection_count == 0).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_on_one_server_reaches_the_stream_on_another() {
    let (database, redis) = (Database::fresh().await, Redis::shared().await);
    let first = Server::cluster(&database, redis).start().await;
    let second = Server::cluster(&database, redis).start().await;
    let here = Client::admin(&first).await;
    let there = here.on(&second).await;
    here.create_topic("orders").await;
    here.publish_numbered("orders", 1, 3).await;
    register(&here, billing()).await.unwrap();
    let (mut stream, ..) = open(&there, lively()).await;
    stream.events(3).await;
    let began = Instant::now();
    pause(&here, true).await;
    heartbeat(&mut stream, true).await;
    pause(&here, false).await;
    heartbeat(&mut stream, false).await;
    let mut standby = here.subscribe(waiting()).await.unwrap();
    seek(&here, Some(Start::AfterOffset(1))).await.unwrap();
    ends(&mut stream, Reason::ConsumerChanged, Code::Unavailable, "STREAM_ROTATED").await;
    let (_, position) = served(&mut standby).await;
    assert_eq!(position, 1);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}
