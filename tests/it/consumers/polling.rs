//! Fetching events by one call.

use std::time::{Duration, Instant};

use eventflow::proto::v1;
use tonic::{Code, Status};

use super::{billing, commit, lively, offsets, open, orders, register, stored};
use crate::{
    client::{Client, assert_refused, event},
    harness::{
        backend::{Backend, on_both_stores},
        patience::eventually,
    },
    observe::Metrics,
};

fn request() -> v1::PollRequest {
    v1::PollRequest { consumer: "billing".into(), ..Default::default() }
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

/// The offsets that come, the position, and the epoch.
async fn poll(client: &Client, request: v1::PollRequest) -> Result<(Vec<i64>, i64, i64), Status> {
    let v1::PollResponse { batch, epoch, deliveries } = client.consumers().poll(request).await?.into_inner();
    assert!(deliveries.is_none());
    let batch = batch.expect("a batch");
    Ok((offsets(&batch.events), batch.position.expect("a position").offset, epoch))
}

on_both_stores! {
    async fn a_poll_moves_nothing_and_a_commit_with_its_epoch_does(backend: Backend) {
        let (_server, client) = orders(backend, 5).await;
        register(&client, billing()).await.unwrap();
        for _ in 0..2 {
            let (events, position, _) = poll(&client, request()).await.unwrap();
            assert_eq!((events, position), (vec![1, 2, 3, 4, 5], 5));
        }
        assert_eq!(stored(&client, "billing").await, 0);
        let (events, position, epoch) = poll(&client, v1::PollRequest { max_events: 2, ..request() }).await.unwrap();
        assert_eq!((events, position), (vec![1, 2], 2));
        assert_eq!(commit(&client, "billing", epoch, position).await.unwrap(), 2);
        let (events, position, _) = poll(&client, v1::PollRequest { max_events: 2, ..request() }).await.unwrap();
        assert_eq!((events, position), (vec![3, 4], 4));
        let (events, ..) = poll(&client, v1::PollRequest { after_offset: Some(4), ..request() }).await.unwrap();
        assert_eq!(events, [5]);
        assert_eq!(poll(&client, v1::PollRequest { after_offset: Some(5), ..request() }).await.unwrap().0, Vec::<i64>::new());
    }

    async fn events_of_many_commits_come_in_one_answer(backend: Backend) {
        let (_server, client) = orders(backend, 1).await;
        register(&client, billing()).await.unwrap();
        for n in 2..=150 {
            client.publish_numbered("orders", n, 1).await;
        }
        assert_eq!(poll(&client, request()).await.unwrap().0, (1..=100).collect::<Vec<_>>());
        client.publish_numbered("orders", 151, 851).await;
        for max_events in [999, 1000] {
            let all = v1::PollRequest { max_events, ..request() };
            assert_eq!(poll(&client, all).await.unwrap().0, (1..=max_events.into()).collect::<Vec<_>>());
        }
    }

    async fn a_poll_waits_for_events_and_no_longer(backend: Backend) {
        let (server, client) = orders(backend, 0).await;
        register(&client, billing()).await.unwrap();
        let began = Instant::now();
        assert_eq!(poll(&client, request()).await.unwrap().0, Vec::<i64>::new());
        assert_eq!(poll(&client, v1::PollRequest { wait: seconds(1), ..request() }).await.unwrap().0, Vec::<i64>::new());
        assert!(began.elapsed() >= Duration::from_secs(1), "it did not wait: {:?}", began.elapsed());

        let waiting = tokio::spawn({
            let client = client.clone();
            async move { poll(&client, v1::PollRequest { wait: seconds(60), ..request() }).await }
        });
        eventually("a call that waits", async || {
            (Metrics::of(&server).await.get("eventflow_subscriptions") == 1).then_some(())
        })
        .await;
        let published = Instant::now();
        client.publish_numbered("orders", 1, 2).await;
        assert_eq!(waiting.await.unwrap().unwrap().0, [1, 2]);
        assert!(published.elapsed() < Duration::from_secs(20), "{:?}", published.elapsed());
        assert_eq!(Metrics::of(&server).await.get("eventflow_subscriptions"), 0);
    }

    async fn what_the_filter_leaves_out_moves_the_position(backend: Backend) {
        let (_server, client) = orders(backend, 5).await;
        let filter = v1::Filter { types: vec!["order.paid".into()], ..Default::default() };
        register(&client, v1::Consumer { filter: Some(filter), ..billing() }).await.unwrap();
        let (events, position, epoch) = poll(&client, request()).await.unwrap();
        assert_eq!((events, position), (vec![], 5));
        assert_eq!(commit(&client, "billing", epoch, 5).await.unwrap(), 5);
        client.publish("orders", vec![v1::NewEvent { r#type: "order.paid".into(), ..event("x") }]).await.unwrap();
        assert_eq!(poll(&client, request()).await.unwrap().0, [6]);
    }

    async fn a_consumer_that_a_stream_has_is_busy_and_one_that_is_paused_gives_nothing(backend: Backend) {
        let (_server, client) = orders(backend, 3).await;
        register(&client, billing()).await.unwrap();
        let (stream, ..) = open(&client, lively()).await;
        let refusal = poll(&client, request()).await.unwrap_err();
        assert_refused(&refusal, Code::FailedPrecondition, "CONSUMER_BUSY");
        drop(stream);
        eventually("a free consumer", async || poll(&client, request()).await.ok()).await;

        let pause = |paused| v1::PauseConsumerRequest { name: "billing".into(), paused };
        client.consumers().pause_consumer(pause(true)).await.unwrap();
        assert_eq!(poll(&client, request()).await.unwrap().0, Vec::<i64>::new());
        let waiting = tokio::spawn({
            let client = client.clone();
            async move { poll(&client, v1::PollRequest { wait: seconds(60), ..request() }).await }
        });
        tokio::time::sleep(crate::client::A_WHILE).await;
        client.consumers().pause_consumer(pause(false)).await.unwrap();
        assert_eq!(waiting.await.unwrap().unwrap().0, [1, 2, 3]);
    }

    async fn a_stream_that_takes_the_consumer_ends_a_call_that_waits(backend: Backend) {
        let (_server, client) = orders(backend, 0).await;
        register(&client, billing()).await.unwrap();
        let waiting = tokio::spawn({
            let client = client.clone();
            async move { poll(&client, v1::PollRequest { wait: seconds(60), ..request() }).await }
        });
        tokio::time::sleep(crate::client::A_WHILE).await;
        let (_stream, ..) = open(&client, lively()).await;
        assert_refused(&waiting.await.unwrap().unwrap_err(), Code::FailedPrecondition, "CONSUMER_BUSY");
    }

    async fn bad_requests_are_refused(backend: Backend) {
        let (_server, client) = orders(backend, 3).await;
        register(&client, billing()).await.unwrap();
        for (bad, reason) in [
            (v1::PollRequest { consumer: "".into(), ..request() }, "NAME_INVALID"),
            (v1::PollRequest { max_events: -1, ..request() }, "REQUEST_INVALID"),
            (v1::PollRequest { max_events: 1001, ..request() }, "REQUEST_INVALID"),
            (v1::PollRequest { wait: seconds(-1), ..request() }, "REQUEST_INVALID"),
            (v1::PollRequest { wait: Some(prost_types::Duration { seconds: 60, nanos: 1 }), ..request() }, "REQUEST_INVALID"),
            (v1::PollRequest { after_offset: Some(-1), ..request() }, "START_INVALID"),
        ] {
            assert_refused(&poll(&client, bad).await.unwrap_err(), Code::InvalidArgument, reason);
        }
        let beyond = v1::PollRequest { after_offset: Some(4), ..request() };
        assert_refused(&poll(&client, beyond).await.unwrap_err(), Code::OutOfRange, "OFFSET_BEYOND_HEAD");
        let unknown = v1::PollRequest { consumer: "nobody".into(), ..request() };
        assert_refused(&poll(&client, unknown).await.unwrap_err(), Code::NotFound, "CONSUMER_NOT_FOUND");
        let trim = v1::TrimTopicRequest { name: "orders".into(), before_offset: 4, validate_only: false };
        client.topics().trim_topic(trim).await.unwrap();
        assert_refused(&poll(&client, request()).await.unwrap_err(), Code::OutOfRange, "OFFSET_TRIMMED");
    }

    async fn large_events_come_in_answers_below_4_mib(backend: Backend) {
        let (_server, client) = orders(backend, 0).await;
        register(&client, billing()).await.unwrap();
        for _ in 0..8 {
            client.publish("orders", vec![event(&"x".repeat(900 << 10))]).await.unwrap();
        }
        let (mut seen, mut calls) = (Vec::new(), 0);
        while seen.len() < 8 {
            let after_offset = Some(seen.last().copied().unwrap_or(0));
            // The generated client takes 4 MiB at most.
            seen.extend(poll(&client, v1::PollRequest { after_offset, ..request() }).await.unwrap().0);
            calls += 1;
        }
        assert_eq!(seen, (1..=8).collect::<Vec<_>>());
        assert!(calls <= 4, "{calls} calls for 8 events");
    }
}
