//! What is published arrives on open streams, once, in order, and after restarts too.

use eventflow::proto::v1::{self, subscribe_response::Frame};

use crate::{
    client::{Client, after, event, from_earliest, text},
    harness::backend::{Backend, on_both_stores},
};

on_both_stores! {
    async fn an_event_arrives_whole_on_a_live_stream(backend: Backend) {
        let server = backend.server().await.start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        let mut stream = client.subscribe(from_earliest("orders")).await.unwrap();
        let started = stream.started().await;
        assert_eq!(started.position.unwrap().offset, 0);
        assert!(matches!(stream.frame().await, Frame::CaughtUp(_)));

        let new = v1::NewEvent {
            r#type: "order.placed".into(),
            key: "order-1".into(),
            id: "id-1".into(),
            time: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 123_456_789 }),
            attributes: [("region".to_owned(), "eu".to_owned())].into(),
            causation_id: "cause".into(),
            correlation_id: "together".into(),
            ..event(r#"{"order":1}"#)
        };
        let published = client.publish("orders", vec![new]).await.unwrap().remove(0);
        assert_eq!((published.offset, published.id.as_str(), published.duplicate), (1, "id-1", false));

        let event = stream.events(1).await.remove(0);
        assert_eq!(event.r#type, "order.placed");
        assert_eq!((event.key.as_str(), event.id.as_str()), ("order-1", "id-1"));
        assert_eq!((event.source.as_str(), event.producer.as_str()), ("/users/admin", "users/admin"));
        assert_eq!(event.time.unwrap().nanos, 123_456_000, "finer than a microsecond is cut off");
        assert_eq!(event.content_type, "application/json");
        assert_eq!(event.attributes, [("region".to_owned(), "eu".to_owned())].into());
        assert_eq!((event.correlation_id.as_str(), event.causation_id.as_str()), ("together", "cause"));
        assert_eq!(text(&event), r#"{"order":1}"#);
        assert_eq!((event.topic.as_str(), event.offset), ("orders", 1));
        assert_eq!(event.recorded_time, published.recorded_time);
    }

    async fn wake_ups_alone_keep_a_stream_live(backend: Backend) {
        // Polling would come after an hour.
        let server = backend.server().await.flag("--poll-interval", "1h").start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        let mut stream = client.subscribe(from_earliest("orders")).await.unwrap();
        for n in 1..=50 {
            client.publish_numbered("orders", n, 1).await;
            assert_eq!(stream.events(1).await[0].offset, n as i64);
        }
    }

    async fn many_publishers_and_readers_agree_on_one_order(backend: Backend) {
        const PUBLISHERS: usize = 8;
        const EACH: usize = 100;
        let server = backend.server().await.start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        let readers: Vec<_> = (0..4).map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut stream = client.subscribe(from_earliest("orders")).await.unwrap();
                stream.events(PUBLISHERS * EACH).await
            })
        }).collect();
        let publishers: Vec<_> = (0..PUBLISHERS).map(|p| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut offsets = Vec::new();
                for n in 0..EACH {
                    let published = client.publish("orders", vec![event(&format!("{p}-{n}"))]).await.unwrap();
                    offsets.push(published[0].offset);
                }
                offsets
            })
        }).collect();
        let mut acknowledged = Vec::new();
        for publisher in publishers {
            let offsets = publisher.await.unwrap();
            assert!(offsets.is_sorted(), "one publisher's events keep their order");
            acknowledged.extend(offsets);
        }
        acknowledged.sort_unstable();
        assert_eq!(acknowledged, (1..=(PUBLISHERS * EACH) as i64).collect::<Vec<_>>());
        let mut seen: Option<Vec<v1::Event>> = None;
        for reader in readers {
            let events = reader.await.unwrap();
            assert!(events.iter().map(|event| event.offset).eq(1..=(PUBLISHERS * EACH) as i64));
            assert!(seen.as_ref().is_none_or(|seen| *seen == events), "two readers saw different events");
            seen = Some(events);
        }
    }

    async fn a_reader_that_resumes_inside_a_stored_run_has_caught_up_at_the_head_and_not_before(backend: Backend) {
        // Five stored runs of about 550 KiB: a read of 1 MiB ends within the backlog, and what it leaves out
        // of the first run must not make it look like the end.
        let mut server = backend.server().await.flag("--poll-interval", "1h").start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        let text = "x".repeat(2000);
        for _ in 0..5 {
            client.publish("orders", vec![event(&text); 275]).await.unwrap();
        }
        server.restart().await;
        let client = client.on(&server).await;
        let mut stream = client.subscribe(after("orders", 250)).await.unwrap();
        let offsets: Vec<_> = stream.until_caught_up().await.iter().map(|event| event.offset).collect();
        assert_eq!(offsets, (251..=1375).collect::<Vec<_>>());
    }

    async fn a_reader_resumes_after_a_restart_where_it_was(backend: Backend) {
        let mut server = backend.server().await.start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        client.publish_numbered("orders", 1, 10).await;
        let mut stream = client.subscribe(from_earliest("orders")).await.unwrap();
        let log_id = stream.started().await.log_id;
        assert_eq!(stream.events(10).await.len(), 10);
        server.restart().await;
        let client = client.on(&server).await;
        client.publish_numbered("orders", 11, 5).await;
        let request = v1::SubscribeRequest { log_id, ..after("orders", 10) };
        let mut stream = client.subscribe(request).await.unwrap();
        let texts: Vec<_> = stream.events(5).await.iter().map(|event| text(event).to_owned()).collect();
        assert_eq!(texts, ["11", "12", "13", "14", "15"]);
    }
}
