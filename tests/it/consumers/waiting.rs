//! Streams that wait for a consumer to be free.

use std::time::Instant;

use eventflow::proto::v1::{self, subscribe_response::Frame};
use tonic::Code;

use super::{
    AT_ONCE, billing, commit, ends, lively, offsets, open, orders, register, served, status, taking_over, waiting,
};
use crate::harness::backend::{Backend, on_both_stores};

on_both_stores! {
    async fn a_waiting_stream_gives_signs_of_life_and_begins_when_the_holder_leaves(backend: Backend) {
        let (_server, client) = orders(backend, 5).await;
        register(&client, billing()).await.unwrap();
        let (holder, epoch, _) = open(&client, lively()).await;
        let mut waiter = client.subscribe(waiting()).await.unwrap();
        for _ in 0..3 {
            let Frame::Heartbeat(heartbeat) = waiter.frame().await else { panic!("not a heartbeat") };
            assert!(heartbeat.waiting);
        }
        assert_eq!(status(&client, "billing").await.connection_count, 1, "one that waits serves nobody");
        commit(&client, "billing", epoch, 2).await.unwrap();
        client.publish_numbered("orders", 6, 1).await;

        drop(holder);
        let left = Instant::now();
        let (next_epoch, position) = served(&mut waiter).await;
        assert!(left.elapsed() < AT_ONCE, "it waited for the hold to run out: {:?}", left.elapsed());
        assert!(next_epoch > epoch);
        assert_eq!(position, 2, "it begins where the holder got to meanwhile");
        assert_eq!(offsets(&waiter.events(4).await), [3, 4, 5, 6]);
        assert_eq!(commit(&client, "billing", next_epoch, 6).await.unwrap(), 6);
    }

    async fn a_stream_that_need_not_wait_begins_at_once(backend: Backend) {
        let (_server, client) = orders(backend, 1).await;
        register(&client, billing()).await.unwrap();
        let (mut stream, ..) = open(&client, waiting()).await;
        assert_eq!(stream.events(1).await.len(), 1);
    }

    async fn of_two_waiting_streams_exactly_one_begins(backend: Backend) {
        let (_server, client) = orders(backend, 1).await;
        register(&client, billing()).await.unwrap();
        let (holder, epoch, _) = open(&client, lively()).await;
        let mut first = client.subscribe(waiting()).await.unwrap();
        let mut second = client.subscribe(waiting()).await.unwrap();
        drop(holder);
        let (next_epoch, first_won) = tokio::select! {
            (epoch, _) = served(&mut first) => (epoch, true),
            (epoch, _) = served(&mut second) => (epoch, false),
        };
        assert!(next_epoch > epoch);
        let (winner, mut loser) = if first_won { (first, second) } else { (second, first) };
        for _ in 0..4 {
            let Frame::Heartbeat(heartbeat) = loser.frame().await else { panic!("the other one began too") };
            assert!(heartbeat.waiting);
        }
        drop(winner);
        let (last_epoch, _) = served(&mut loser).await;
        assert!(last_epoch > next_epoch);
    }

    async fn a_waiting_stream_goes_on_waiting_through_a_takeover(backend: Backend) {
        let (_server, client) = orders(backend, 1).await;
        register(&client, billing()).await.unwrap();
        let (mut holder, ..) = open(&client, lively()).await;
        let mut waiter = client.subscribe(waiting()).await.unwrap();
        let (_taker, ..) = open(&client, taking_over()).await;
        ends(&mut holder, v1::closing::Reason::TakenOver, Code::Aborted, "CONSUMER_FENCED").await;
        drop(holder);
        for _ in 0..3 {
            let Frame::Heartbeat(heartbeat) = waiter.frame().await else { panic!("not a heartbeat") };
            assert!(heartbeat.waiting);
        }
    }
}
