//! The frames of a stream: signs of life, batches, and how it ends.

use std::time::{Duration, Instant};

use eventflow::proto::v1::{self, subscribe_response::Frame};
use prost::Message;
use tonic::Code;

use crate::{
    client::{Client, assert_refused, event, from_earliest},
    harness::backend::{Backend, on_both_stores},
};

/// Every batch of a stream that ends.
async fn frames(client: &Client, request: v1::SubscribeRequest) -> Vec<v1::EventBatch> {
    let mut stream = client.subscribe(request).await.unwrap();
    let mut batches = Vec::new();
    while let Some(frame) = stream.next().await.unwrap() {
        if let Frame::Batch(batch) = frame {
            batches.push(batch);
        }
    }
    batches
}

on_both_stores! {
    async fn a_silent_stream_gives_signs_of_life(backend: Backend) {
        let server = backend.server().await.start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        client.publish("orders", vec![event("1")]).await.unwrap();
        let interval = Some(prost_types::Duration { seconds: 1, nanos: 0 });
        let request = v1::SubscribeRequest { heartbeat_interval: interval, ..from_earliest("orders") };
        let mut stream = client.subscribe(request).await.unwrap();
        assert_eq!(stream.started().await.heartbeat_interval, interval);
        stream.until_caught_up().await;
        for _ in 0..2 {
            let Frame::Heartbeat(heartbeat) = stream.frame().await else { panic!("not a heartbeat") };
            let position = heartbeat.position.unwrap();
            assert_eq!((position.offset, position.head_offset, position.earliest_offset), (1, 1, 1));
            assert!(!heartbeat.waiting && !heartbeat.paused);
        }
    }

    async fn frames_keep_to_their_limits(backend: Backend) {
        let server = backend.server().await.start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        client.publish_numbered("orders", 1, 25).await;
        let megabyte = "x".repeat(1 << 20);
        for _ in 0..4 {
            client.publish("orders", vec![event(&megabyte)]).await.unwrap();
        }
        let request = v1::SubscribeRequest {
            max_batch_events: 10,
            stop_at: v1::StopAt::Head.into(),
            ..from_earliest("orders")
        };
        let mut count = 0;
        for batch in frames(&client, request).await {
            let bytes: usize = batch.events.iter().map(Message::encoded_len).sum();
            assert!(batch.events.len() <= 10 && bytes < 3 << 20, "{} events, {bytes} bytes", batch.events.len());
            assert_eq!(batch.position.unwrap().offset, batch.events.last().unwrap().offset);
            count += batch.events.len();
        }
        assert_eq!(count, 29);
    }

    async fn a_frame_has_as_many_events_as_asked_for_and_1000_at_most(backend: Backend) {
        let server = backend.server().await.start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        futures::future::join_all((0..4).map(|_| client.publish_numbered("orders", 1, 1000))).await;
        for (asked, most) in [(1, 1), (999, 999), (1000, 1000), (0, 1000)] {
            let stop_at = v1::StopAt::Head.into();
            let request = v1::SubscribeRequest { max_batch_events: asked, stop_at, ..from_earliest("orders") };
            let sizes: Vec<_> = frames(&client, request).await.iter().map(|batch| batch.events.len()).collect();
            assert_eq!((sizes.iter().sum::<usize>(), sizes.iter().max()), (4000, Some(&most)), "{asked}: {sizes:?}");
        }
    }

    async fn a_frame_stays_under_3_mib_and_comes_close_to_it(backend: Backend) {
        const FRAME: usize = 3 << 20;
        const EVENT: usize = 1 << 20;
        let server = backend.server().await.start().await;
        let client = Client::admin(&server).await;
        let (mut together, mut largest) = (Vec::new(), 0);
        // By how much the third event is smaller than it may be.
        for less in (0..=1000).step_by(100) {
            let topic = format!("less-{less}");
            client.create_topic(&topic).await;
            let sizes = [EVENT, EVENT, EVENT - less];
            client.publish(&topic, sizes.map(|size| event(&"x".repeat(size))).to_vec()).await.unwrap();
            let request = v1::SubscribeRequest { stop_at: v1::StopAt::Head.into(), ..from_earliest(&topic) };
            let batches = frames(&client, request).await;
            together.push(batches[0].events.len());
            for batch in batches {
                let whole = v1::SubscribeResponse { frame: Some(Frame::Batch(batch)) }.encoded_len();
                largest = largest.max(whole);
            }
        }
        println!("{backend:?}: the first frames have {together:?} events, the largest {largest} bytes");
        assert!(together.is_sorted() && together[0] == 2 && together[10] == 3, "{together:?}");
        assert!((FRAME - 1000..FRAME).contains(&largest), "a frame of {largest} bytes");
    }

    async fn a_draining_server_says_so_and_ends_in_time(backend: Backend) {
        let mut server = backend.server().await.start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        let mut stream = client.subscribe(from_earliest("orders")).await.unwrap();
        stream.until_caught_up().await;
        let reading = async {
            let Frame::Closing(closing) = stream.frame().await else { panic!("not Closing") };
            assert_eq!(closing.reason(), v1::closing::Reason::Draining);
            assert_refused(&stream.next().await.unwrap_err(), Code::Unavailable, "DRAINING");
        };
        let (code, ()) = tokio::join!(server.terminate(), reading);
        assert_eq!(code, 0);
    }

    async fn an_old_stream_is_asked_to_begin_anew(backend: Backend) {
        let server = backend.server().await.flag("--stream-max-age", "1s").start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        let mut stream = client.subscribe(from_earliest("orders")).await.unwrap();
        stream.until_caught_up().await;
        let Frame::Closing(closing) = stream.frame().await else { panic!("not Closing") };
        assert_eq!(closing.reason(), v1::closing::Reason::MaxAge);
        assert_refused(&stream.next().await.unwrap_err(), Code::Unavailable, "STREAM_ROTATED");
    }

    async fn streams_get_as_old_as_told_give_or_take_a_tenth(backend: Backend) {
        const YOUNGEST: Duration = Duration::from_millis(4500);
        const OLDEST: Duration = Duration::from_millis(5500);
        /// For a slow machine.
        const LATE: Duration = Duration::from_secs(4);
        let server = backend.server().await.flag("--stream-max-age", "5s").start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        let ages = futures::future::join_all((0..10).map(async |_| {
            let begun = Instant::now();
            let mut stream = client.subscribe(from_earliest("orders")).await.unwrap();
            while !matches!(stream.frame().await, Frame::Closing(_)) {}
            begun.elapsed()
        }))
        .await;
        assert!(ages.iter().all(|age| (YOUNGEST..OLDEST + LATE).contains(age)), "{ages:?}");
        let spread = *ages.iter().max().unwrap() - *ages.iter().min().unwrap();
        assert!(spread > Duration::from_millis(50), "they all end together: {ages:?}");
    }

    async fn a_stream_ends_with_its_token(backend: Backend) {
        let server = backend.server().await.flag("--token-ttl", "2s").start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        let mut stream = client.subscribe(from_earliest("orders")).await.unwrap();
        stream.until_caught_up().await;
        let Frame::Closing(closing) = stream.frame().await else { panic!("not Closing") };
        assert_eq!(closing.reason(), v1::closing::Reason::CredentialEnded);
        assert_refused(&stream.next().await.unwrap_err(), Code::Unauthenticated, "CREDENTIAL_EXPIRED");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let refusal = client.subscribe(from_earliest("orders")).await.unwrap_err();
        assert_refused(&refusal, Code::Unauthenticated, "CREDENTIAL_EXPIRED");
    }
}
