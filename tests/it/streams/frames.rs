//! The frames of a stream: signs of life, batches, and how it ends.

use std::time::Duration;

use eventflow::proto::v1::{self, subscribe_response::Frame};
use tonic::Code;

use crate::{
    client::{Client, assert_refused, event, from_earliest},
    harness::backend::{Backend, on_both_stores},
};

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
        let mut stream = client.subscribe(request).await.unwrap();
        stream.started().await;
        let mut count = 0;
        while let Some(frame) = stream.next().await.unwrap() {
            if let Frame::Batch(batch) = frame {
                let bytes: usize = batch.events.iter().map(prost::Message::encoded_len).sum();
                assert!(batch.events.len() <= 10 && bytes < 3 << 20, "{} events, {bytes} bytes", batch.events.len());
                assert_eq!(batch.position.unwrap().offset, batch.events.last().unwrap().offset);
                count += batch.events.len();
            }
        }
        assert_eq!(count, 29);
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
