//! How much a stream and a consumer have at once, and in which frames it comes.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use eventflow::proto::v1;
use prost::Message;

use super::{Worker, at_once, becomes, got, jobs, offsets, request, work};
use crate::{
    client::{Client, event},
    harness::backend::{Backend, on_both_stores},
};

on_both_stores! {
    async fn a_stream_has_no_more_than_it_asked_for_and_gets_more_when_it_settles(backend: Backend) {
        let (_server, client) = jobs(backend, work()).await;
        client.publish_numbered("jobs", 1, 10).await;
        let mut worker = Worker::open(&client, at_once(3)).await;
        let first = worker.take(3).await;
        worker.gets_nothing().await;
        worker.ack(&first[..1]).await;
        let next = worker.take(1).await;
        assert_eq!(offsets(&next), [4]);
        worker.gets_nothing().await;
        worker.ack(&first[1..]).await;
        worker.ack(&next).await;
        assert_eq!(offsets(&worker.take(3).await), [5, 6, 7]);
    }

    async fn a_consumer_has_no_more_in_flight_than_it_may_over_all_streams(backend: Backend) {
        let (_server, client) = jobs(backend, v1::Consumer { max_in_flight: 4, ..work() }).await;
        client.publish_numbered("jobs", 1, 10).await;
        let mut first = Worker::open(&client, at_once(3)).await;
        let taken = first.take(3).await;
        let mut second = Worker::open(&client, at_once(3)).await;
        let other = second.take(1).await;
        second.gets_nothing().await;
        first.ack(&taken[..2]).await;
        becomes(&client, (2, 4, 0, 0)).await;
        first.ack(&taken[2..]).await;
        second.ack(&other).await;
        becomes(&client, (4, 4, 0, 0)).await;
    }

    async fn a_stream_that_comes_later_gets_at_once_what_others_have_no_room_for(backend: Backend) {
        let server = backend.server().await.flag("--poll-interval", "1h").start().await;
        let client = Client::admin(&server).await;
        client.create_topic("jobs").await;
        crate::queue::register(&client, work()).await;
        client.publish_numbered("jobs", 1, 5).await;
        let mut full = Worker::open(&client, at_once(2)).await;
        assert_eq!(offsets(&full.take(2).await), [1, 2]);
        let mut later = Worker::open(&client, at_once(2)).await;
        assert_eq!(offsets(&later.take(2).await), [3, 4]);
        let mut last = Worker::open(&client, request()).await;
        assert_eq!(offsets(&last.take(1).await), [5]);
        client.publish_numbered("jobs", 6, 1).await;
        assert_eq!(offsets(&last.take(1).await), [6], "it is the only one with room");
    }

    async fn a_lease_comes_in_as_many_frames_as_its_events_need(backend: Backend) {
        const EVENTS: usize = 1000;
        let (_server, client) = jobs(backend, work()).await;
        let text = "x".repeat(10 << 10);
        for _ in 0..EVENTS / 100 {
            client.publish("jobs", vec![event(&text); 100]).await.unwrap();
        }
        let mut worker = Worker::open(&client, at_once(EVENTS as i32)).await;
        let (mut all, mut frames) = (Vec::new(), BTreeMap::<String, usize>::new());
        while all.len() < EVENTS {
            let batch = worker.batch().await;
            assert!(batch.encoded_len() < 3 << 20, "a frame of {} bytes", batch.encoded_len());
            *frames.entry(batch.lease_id.clone()).or_default() += 1;
            all.extend(got(&batch));
        }
        assert_eq!(offsets(&all), (1..=EVENTS as i64).collect::<Vec<_>>());
        assert!(frames.values().sum::<usize>() >= 4 && frames.values().any(|frames| *frames > 1), "{frames:?}");
        for part in all.chunks(300) {
            worker.ack(part).await;
        }
        becomes(&client, (EVENTS as i64, 0, 0, 0)).await;
    }

    async fn a_frame_has_no_more_events_than_the_stream_asked_for(backend: Backend) {
        let (_server, client) = jobs(backend, work()).await;
        client.publish_numbered("jobs", 1, 20).await;
        let request = v1::SubscribeRequest { max_batch_events: 7, ..request() };
        let mut worker = Worker::open(&client, request).await;
        let mut sizes = Vec::new();
        while sizes.iter().sum::<usize>() < 20 {
            sizes.push(worker.batch().await.deliveries.len());
        }
        assert_eq!(sizes, [7, 7, 6]);
    }

    /// It is taken for one whose client has hung: what it was sent is delivered alone, what it was not sent as if
    /// nothing had been.
    async fn a_stream_that_is_not_read_for_a_minute_loses_what_it_has(backend: Backend) {
        const EVENTS: usize = 100;
        let lease = Some(prost_types::Duration { seconds: 600, nanos: 0 });
        let (_server, client) = jobs(backend, v1::Consumer { lease, ..work() }).await;
        let text = "x".repeat(400 << 10);
        for _ in 0..EVENTS {
            client.publish("jobs", vec![event(&text)]).await.unwrap();
        }
        let unread = Worker::open(&client, at_once(EVENTS as i32)).await;
        becomes(&client, (0, EVENTS as i64, 0, 0)).await;
        let mut other = Worker::open(&client, at_once(EVENTS as i32)).await;
        other.gets_nothing().await;
        let deadline = Instant::now() + Duration::from_secs(150);
        let mut came = Vec::new();
        while came.len() < EVENTS && Instant::now() < deadline {
            if let Ok(batch) = tokio::time::timeout(Duration::from_secs(5), other.batch()).await {
                let part = got(&batch);
                other.ack(&part).await;
                came.extend(part);
            }
        }
        came.sort_by_key(|one| one.offset);
        assert_eq!(offsets(&came), (1..=EVENTS as i64).collect::<Vec<_>>());
        let sent = came.iter().take_while(|one| one.attempt == 2).count();
        assert!(0 < sent && sent < EVENTS, "{sent} were sent before");
        assert!(came[sent..].iter().all(|one| one.attempt == 1), "{came:?}");
        becomes(&client, (EVENTS as i64, 0, 0, 0)).await;
        drop(unread);
    }
}
