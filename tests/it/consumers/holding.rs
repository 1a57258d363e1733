//! One stream at a time has a consumer, and whoever leaves it leaves it free.

use std::time::Duration;

use eventflow::proto::v1;
use tonic::Code;
use tonic_types::StatusExt;

use super::{AT_ONCE, billing, commit, ends, lively, open, orders, register, status, waiting};
use crate::{
    client::{A_WHILE, as_consumer, assert_refused, from_earliest, violations},
    harness::{
        backend::{Backend, on_both_stores},
        patience::eventually_within,
    },
};

on_both_stores! {
    async fn a_second_stream_is_refused_with_the_time_after_which_to_try_again(backend: Backend) {
        let (_server, client) = orders(backend, 3).await;
        register(&client, billing()).await.unwrap();
        let (mut holder, epoch, _) = open(&client, lively()).await;
        let refusal = client.subscribe(as_consumer("billing")).await.unwrap_err();
        assert_refused(&refusal, Code::FailedPrecondition, "CONSUMER_BUSY");
        let retry = refusal.get_error_details().retry_info().and_then(|retry| retry.retry_delay).unwrap();
        assert!(retry > Duration::ZERO && retry <= Duration::from_secs(15), "{retry:?}");

        assert_eq!(holder.events(3).await.len(), 3);
        commit(&client, "billing", epoch, 3).await.unwrap();
    }

    async fn settings_of_the_other_mode_are_refused(backend: Backend) {
        let (_server, client) = orders(backend, 1).await;
        register(&client, billing()).await.unwrap();
        let request = v1::SubscribeRequest { max_in_flight: 10, ..as_consumer("billing") };
        assert_refused(&client.subscribe(request).await.unwrap_err(), Code::FailedPrecondition, "WRONG_MODE");
        let request = v1::SubscribeRequest { max_in_flight: 10, ..from_earliest("orders") };
        assert_refused(&client.subscribe(request).await.unwrap_err(), Code::InvalidArgument, "REQUEST_INVALID");
    }

    async fn of_many_streams_opened_at_once_one_has_the_consumer(backend: Backend) {
        let (_server, client) = orders(backend, 1).await;
        register(&client, billing()).await.unwrap();
        let attempts: Vec<_> = (0..20).map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.subscribe(lively()).await })
        }).collect();
        let mut holders = Vec::new();
        for attempt in attempts {
            match attempt.await.unwrap() {
                Ok(stream) => holders.push(stream),
                Err(refusal) => assert_refused(&refusal, Code::FailedPrecondition, "CONSUMER_BUSY"),
            }
        }
        assert_eq!(holders.len(), 1);
    }

    async fn a_client_that_closes_its_stream_frees_the_consumer_at_once(backend: Backend) {
        let (_server, client) = orders(backend, 3).await;
        register(&client, billing()).await.unwrap();
        for _ in 0..5 {
            let mut stream = eventually_within(AT_ONCE, "a free consumer", async || {
                client.subscribe(lively()).await.ok()
            }).await;
            stream.started().await;
        }
    }

    async fn a_client_whose_connection_breaks_frees_its_consumers_at_once(backend: Backend) {
        let (server, client) = orders(backend, 3).await;
        register(&client, billing()).await.unwrap();
        let other = client.on(&server).await;
        let mut stream = other.subscribe(lively()).await.unwrap();
        stream.started().await;
        // The connection closes with its last handle.
        drop((stream, other));
        eventually_within(AT_ONCE, "a free consumer", async || client.subscribe(lively()).await.ok()).await;
    }

    async fn a_client_that_gives_up_while_its_stream_opens_leaves_the_consumer_free(backend: Backend) {
        let (_server, client) = orders(backend, 3).await;
        register(&client, billing()).await.unwrap();
        for millis in 0..20 {
            let _ = tokio::time::timeout(Duration::from_millis(millis), client.subscribe(lively())).await;
        }
        eventually_within(AT_ONCE, "a free consumer", async || client.subscribe(lively()).await.ok()).await;
    }

    async fn a_stream_that_ages_frees_its_consumer(backend: Backend) {
        let server = backend.server().await.flag("--stream-max-age", "2s").start().await;
        let client = crate::client::Client::admin(&server).await;
        client.create_topic("orders").await;
        register(&client, billing()).await.unwrap();
        let (mut stream, epoch, _) = open(&client, lively()).await;
        let reason = v1::closing::Reason::MaxAge;
        ends(&mut stream, reason, Code::Unavailable, "STREAM_ROTATED").await;
        let mut next = eventually_within(AT_ONCE, "a free consumer", async || {
            client.subscribe(lively()).await.ok()
        }).await;
        assert!(next.started().await.epoch > epoch);
    }

    async fn wishes_that_contradict_each_other_are_refused(backend: Backend) {
        let (_server, client) = orders(backend, 1).await;
        register(&client, billing()).await.unwrap();
        let both = v1::SubscribeRequest { take_over: true, ..waiting() };
        let plain = v1::SubscribeRequest { wait: true, ..from_earliest("orders") };
        for (request, field) in [(both, "wait"), (plain, "take_over")] {
            let refusal = client.subscribe(request).await.unwrap_err();
            assert_refused(&refusal, Code::InvalidArgument, "REQUEST_INVALID");
            assert_eq!(violations(&refusal), [field]);
        }
        tokio::time::sleep(A_WHILE).await;
        assert_eq!(status(&client, "billing").await.connection_count, 0);
    }
}
