//! Deliveries by single calls.

use std::time::Instant;

use eventflow::proto::v1;
use prost::Message;
use tokio::time::timeout;

use super::{
    A_WHILE, Got, Two, Worker, attempts, becomes, got, jobs, numbers, offsets, publish_keys, request, seconds, work,
};
use crate::{
    client::{Client, event},
    harness::backend::{Backend, on_both_stores},
};

fn for_an_hour() -> v1::Consumer {
    v1::Consumer { lease: seconds(3600), ..work() }
}

/// What a call gets that waits so many seconds; nothing if there are no deliveries.
async fn poll(client: &Client, max_events: i32, wait: i64) -> Vec<Got> {
    let wait = (wait > 0).then_some(prost_types::Duration { seconds: wait, nanos: 0 });
    let request = v1::PollRequest { consumer: "work".into(), max_events, wait, after_offset: None };
    let response = client.consumers().poll(request).await.expect("a call is answered").into_inner();
    assert_eq!((response.epoch, response.batch), (0, None));
    assert!(
        response.deliveries.as_ref().is_none_or(|batch| batch.encoded_len() < 3 << 20 && !batch.deliveries.is_empty())
    );
    response.deliveries.as_ref().map(got).unwrap_or_default()
}

async fn ack(client: &Client, deliveries: &[Got]) {
    for (lease, offsets) in crate::queue::by_lease(deliveries) {
        assert_eq!(
            crate::queue::settle(client, v1::SettleRequest { ack: offsets, ..crate::queue::of(&lease) }).await.unwrap(),
            []
        );
    }
}

async fn pause(client: &Client, paused: bool) {
    client.consumers().pause_consumer(v1::PauseConsumerRequest { name: "work".into(), paused }).await.unwrap();
}

on_both_stores! {
    async fn a_call_gets_what_there_is_and_nothing_twice(backend: Backend) {
        let (_server, client) = jobs(backend, for_an_hour()).await;
        assert_eq!(poll(&client, 10, 0).await, []);
        client.publish_numbered("jobs", 1, 5).await;
        let first = poll(&client, 3, 0).await;
        assert_eq!((offsets(&first), attempts(&first)), (vec![1, 2, 3], vec![1, 1, 1]));
        let second = poll(&client, 3, 0).await;
        assert_eq!(offsets(&second), [4, 5]);
        assert_eq!(poll(&client, 3, 0).await, []);
        assert_eq!(numbers(&client).await, (0, 5, 0, 0));
        ack(&client, &second).await;
        ack(&client, &first).await;
        becomes(&client, (5, 0, 0, 0)).await;
    }

    async fn a_call_keeps_to_keys_and_to_what_the_consumer_may_have(backend: Backend) {
        let (_server, client) = jobs(backend, v1::Consumer { max_in_flight: 2, ..for_an_hour() }).await;
        publish_keys(&client, &["a", "a", "b", "c"]).await;
        let first = poll(&client, 10, 0).await;
        assert_eq!(offsets(&first), [1, 3]);
        assert_eq!(poll(&client, 10, 0).await, []);
        ack(&client, &first[..1]).await;
        assert_eq!(offsets(&poll(&client, 10, 0).await), [2]);
    }

    async fn a_call_that_was_cancelled_had_nothing(backend: Backend) {
        let (_server, client) = jobs(backend, for_an_hour()).await;
        for offset in 1..=5 {
            assert!(timeout(A_WHILE, poll(&client, 10, 60)).await.is_err(), "there was nothing to get");
            client.publish_numbered("jobs", offset, 1).await;
            let next = poll(&client, 10, 10).await;
            assert_eq!((offsets(&next), attempts(&next)), (vec![offset as i64], vec![1]));
        }
    }

    async fn a_paused_consumer_has_nothing_for_calls_until_it_goes_on(backend: Backend) {
        let (_server, client) = jobs(backend, for_an_hour()).await;
        client.publish_numbered("jobs", 1, 1).await;
        pause(&client, true).await;
        assert_eq!(poll(&client, 10, 0).await, []);
        assert_eq!(poll(&client, 10, 1).await, []);
        let (taken, ()) = tokio::join!(poll(&client, 10, 60), async {
            tokio::time::sleep(A_WHILE).await;
            pause(&client, false).await;
        });
        assert_eq!(offsets(&taken), [1]);
    }

    async fn what_does_not_fit_into_an_answer_was_not_sent(backend: Backend) {
        let (mut server, client) = jobs(backend, for_an_hour()).await;
        let text = "x".repeat(1 << 20);
        for _ in 0..5 {
            client.publish("jobs", vec![event(&text)]).await.unwrap();
        }
        let first = poll(&client, 10, 0).await;
        assert_eq!(offsets(&first), [1, 2]);
        becomes(&client, (0, 2, 0, 0)).await;
        // What follows is not in memory.
        server.restart().await;
        let client = client.on(&server).await;
        let mut rest = Vec::new();
        while rest.len() < 3 {
            rest.extend(poll(&client, 10, 10).await);
        }
        assert_eq!((offsets(&rest), attempts(&rest)), (vec![3, 4, 5], vec![1; 3]));
        ack(&client, &first).await;
        ack(&client, &rest).await;
        becomes(&client, (5, 0, 0, 0)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_is_woken_by_what_the_other_server_records() {
    let two = Two::without_polls(for_an_hour()).await;
    for offset in 1..=5 {
        let waiting = tokio::spawn({
            let there = two.there.clone();
            async move { poll(&there, 10, 60).await }
        });
        tokio::time::sleep(A_WHILE).await;
        assert!(!waiting.is_finished());
        let began = Instant::now();
        two.here.publish_numbered("jobs", offset, 1).await;
        let taken = timeout(crate::harness::patience::DEADLINE, waiting).await.expect("it is woken").unwrap();
        assert_eq!(offsets(&taken), [offset as i64], "after {:?}", began.elapsed());
        ack(&two.here, &taken).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_outlives_the_server_that_answered_the_call() {
    let mut two = Two::start(for_an_hour()).await;
    two.here.publish_numbered("jobs", 1, 2).await;
    let taken = poll(&two.here, 1, 0).await;
    assert_eq!(two.first.terminate().await, 0);
    let mut worker = Worker::open(&two.there, request()).await;
    assert_eq!(offsets(&worker.take(1).await), [2]);
    worker.gets_nothing().await;
    assert_eq!(numbers(&two.there).await, (0, 2, 0, 0));
    ack(&two.there, &taken).await;
    becomes(&two.there, (1, 1, 0, 0)).await;
    drop(two.second);
}
