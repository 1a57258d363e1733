//! Events are shared by the streams of a consumer, each settled by itself.

use std::collections::BTreeSet;

use eventflow::proto::v1::{self, settle_failure::Cause, subscribe_response::Frame};

use super::{Worker, at_once, attempts, becomes, jobs, numbers, of, offsets, request, seconds, settle, work};
use crate::harness::backend::{Backend, on_both_stores};

on_both_stores! {
    async fn each_event_is_delivered_once_and_is_done_when_it_is_acknowledged(backend: Backend) {
        let (_server, client) = jobs(backend, work()).await;
        client.publish_numbered("jobs", 1, 10).await;
        let mut worker = Worker::open(&client, request()).await;
        let first = worker.take(10).await;
        assert_eq!(offsets(&first), (1..=10).collect::<Vec<_>>());
        assert_eq!(attempts(&first), [1; 10]);
        assert_eq!(numbers(&client).await, (0, 10, 0, 0));

        worker.ack(&first[1..]).await;
        assert_eq!(numbers(&client).await, (0, 1, 0, 0), "the first one is not done");
        worker.ack(&first[..1]).await;
        becomes(&client, (10, 0, 0, 0)).await;

        client.publish_numbered("jobs", 11, 3).await;
        let next = worker.take(3).await;
        assert_eq!(offsets(&next), [11, 12, 13]);
        assert!(next[0].lease.parse::<i64>().unwrap() > first[0].lease.parse::<i64>().unwrap());
    }

    async fn the_streams_of_a_consumer_share_its_events(backend: Backend) {
        let (_server, client) = jobs(backend, work()).await;
        let mut workers = Vec::new();
        for _ in 0..4 {
            workers.push(Worker::open(&client, at_once(5)).await);
        }
        client.publish_numbered("jobs", 1, 20).await;
        let mut all = BTreeSet::new();
        for worker in &mut workers {
            let taken = worker.take(5).await;
            assert!(taken.iter().all(|one| all.insert(one.offset)), "{} came twice", taken[0].offset);
        }
        assert_eq!(all.len(), 20);
    }

    async fn settling_again_is_harmless_and_says_so(backend: Backend) {
        let (_server, client) = jobs(backend, work()).await;
        client.publish_numbered("jobs", 1, 3).await;
        let mut worker = Worker::open(&client, request()).await;
        let taken = worker.take(3).await;
        let lease = taken[0].lease.as_str();
        worker.ack(&taken[..1]).await;

        let again = settle(&client, v1::SettleRequest { ack: vec![1, 2], ..of(lease) }).await.unwrap();
        assert_eq!(again, [(1, Cause::AlreadySettled)], "2 went well");
        let nack = vec![v1::Nack { offset: 1, dead_letter: true, ..Default::default() }];
        let late = settle(&client, v1::SettleRequest { nack, extend: vec![2], ..of(lease) }).await.unwrap();
        assert_eq!(late, [(1, Cause::AlreadySettled), (2, Cause::AlreadySettled)]);
        let foreign = settle(&client, v1::SettleRequest { ack: vec![4, 3], ..of(lease) }).await.unwrap();
        assert_eq!(foreign, [(4, Cause::Unknown)]);
        let never = settle(&client, v1::SettleRequest { ack: vec![3], ..of("999999999") }).await.unwrap();
        assert_eq!(never, [(3, Cause::Unknown)]);
        becomes(&client, (3, 0, 0, 0)).await;
    }

    async fn a_lease_that_is_extended_lasts_longer_and_only_for_what_was_extended(backend: Backend) {
        let (_server, client) = jobs(backend, v1::Consumer { lease: seconds(2), ..work() }).await;
        client.publish_numbered("jobs", 1, 2).await;
        let mut worker = Worker::open(&client, request()).await;
        let taken = worker.take(2).await;
        let lease = taken[0].lease.clone();
        for _ in 0..3 {
            tokio::time::sleep(std::time::Duration::from_millis(900)).await;
            let extend = v1::SettleRequest { extend: vec![2], ..of(&lease) };
            let response = client.consumers().settle(extend).await.unwrap().into_inner();
            assert_eq!(response.failures, []);
            assert_eq!(response.lease_remaining, seconds(2));
        }
        let late = settle(&client, v1::SettleRequest { ack: vec![1, 2], ..of(&lease) }).await.unwrap();
        assert_eq!(late, [(1, Cause::Lost)], "2 is done");
        let again = worker.take(1).await;
        assert_eq!((again[0].offset, again[0].attempt), (1, 2));
    }

    async fn a_stream_says_how_far_it_is_when_nothing_is_left(backend: Backend) {
        let (_server, client) = jobs(backend, work()).await;
        client.publish_numbered("jobs", 1, 2).await;
        let mut worker = Worker::open(&client, request()).await;
        worker.take(2).await;
        let position = match worker.stream.frame().await {
            Frame::CaughtUp(caught_up) => caught_up.position.unwrap(),
            other => panic!("not CaughtUp: {other:?}"),
        };
        assert_eq!((position.offset, position.head_offset), (2, 2));
        match worker.stream.frame().await {
            Frame::Heartbeat(beat) => assert_eq!(beat.position.unwrap().offset, 2),
            other => panic!("no heartbeat: {other:?}"),
        }
    }

    async fn events_that_the_filter_leaves_out_are_passed_over(backend: Backend) {
        let filter = Some(v1::Filter { types: vec!["wanted".into()], ..Default::default() });
        let (_server, client) = jobs(backend, v1::Consumer { filter, ..work() }).await;
        let typed = |r#type: &str| v1::NewEvent { r#type: r#type.into(), ..crate::client::event("x") };
        let types = ["other", "wanted", "other", "other", "wanted", "other"];
        client.publish("jobs", types.map(typed).to_vec()).await.unwrap();
        let mut worker = Worker::open(&client, request()).await;
        let taken = worker.take(2).await;
        assert_eq!(offsets(&taken), [2, 5]);
        worker.ack(&taken).await;
        becomes(&client, (6, 0, 0, 0)).await;
    }
}
