//! Events of one key are never leased together, and come in order.

use eventflow::proto::v1;

use super::{Worker, at_once, becomes, jobs, millis, offsets, publish_keys, request, work};
use crate::harness::backend::{Backend, on_both_stores};

on_both_stores! {
    async fn the_next_event_of_a_key_comes_when_the_one_before_is_done(backend: Backend) {
        let (_server, client) = jobs(backend, work()).await;
        publish_keys(&client, &["a", "a", "b", "", "a", "", "b"]).await;
        let mut worker = Worker::open(&client, request()).await;
        let first = worker.take(4).await;
        assert_eq!(offsets(&first), [1, 3, 4, 6], "one of each key, and all without one");
        worker.gets_nothing().await;
        worker.ack(&first[1..2]).await;
        let b = worker.take(1).await;
        assert_eq!(offsets(&b), [7]);
        worker.ack(&first[..1]).await;
        let a = worker.take(1).await;
        assert_eq!(offsets(&a), [2]);
        worker.ack(&a).await;
        assert_eq!(offsets(&worker.take(1).await), [5]);
    }

    async fn a_key_is_held_back_on_all_streams(backend: Backend) {
        let (_server, client) = jobs(backend, work()).await;
        let mut first = Worker::open(&client, at_once(1)).await;
        publish_keys(&client, &["a", "a"]).await;
        let taken = first.take(1).await;
        let mut second = Worker::open(&client, request()).await;
        second.gets_nothing().await;
        first.ack(&taken).await;
        let (one, two) = (tokio::spawn(async move { first.take(1).await }), tokio::spawn(async move { second.take(1).await }));
        let (next, other) = tokio::select! {
            taken = one => (taken.unwrap(), 1),
            taken = two => (taken.unwrap(), 2),
        };
        assert_eq!(offsets(&next), [2], "it came to the stream {other}");
    }

    async fn an_event_that_fails_holds_back_its_own_key_only(backend: Backend) {
        let (_server, client) = jobs(backend, work()).await;
        publish_keys(&client, &["a", "a", "b", "b"]).await;
        let mut worker = Worker::open(&client, request()).await;
        let first = worker.take(2).await;
        let pause = Some(millis(1500));
        worker.nack(&first[0], v1::Nack { delay: pause, ..Default::default() }).await;
        worker.ack(&first[1..]).await;
        let b = worker.take(1).await;
        assert_eq!(offsets(&b), [4], "b goes on");
        worker.gets_nothing().await;
        let again = worker.take(1).await;
        assert_eq!((again[0].offset, again[0].attempt), (1, 2));
        worker.ack(&again).await;
        let last = worker.take(1).await;
        assert_eq!((last[0].offset, last[0].attempt), (2, 1));
        worker.ack(&last).await;
        worker.ack(&b).await;
        becomes(&client, (4, 0, 0, 0)).await;
    }
}
