//! Events go by age and by size, in the background.

use std::time::Duration;

use eventflow::proto::v1::{self, subscribe_response::Frame};
use tonic::Code;

use super::{OFTEN, SOON, create, get, pair, removed, server};
use crate::{
    client::{A_WHILE, Client, after, assert_refused, event, from_earliest},
    feed::{Feed, everything},
    harness::{
        backend::{Backend, on_both_stores},
        databases::Database,
        patience::{eventually, eventually_within},
    },
};

fn age(millis: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds: millis / 1000, nanos: (millis % 1000 * 1_000_000) as i32 })
}

fn by_age(millis: i64) -> v1::Topic {
    v1::Topic { name: "orders".into(), retention: age(millis), ..Default::default() }
}

fn by_size(retention_bytes: i64) -> v1::Topic {
    v1::Topic { name: "orders".into(), retention_bytes, ..Default::default() }
}

async fn update(client: &Client, request: v1::UpdateTopicRequest) {
    client.topics().update_topic(v1::UpdateTopicRequest { name: "orders".into(), ..request }).await.unwrap();
}

/// Waits until the earliest offset is this one.
async fn begins_at(client: &Client, offset: i64) {
    let there = async || (get(client, "orders").await.unwrap().earliest_offset == offset).then_some(());
    eventually_within(SOON, &format!("the topic to begin at {offset}"), there).await;
}

on_both_stores! {
    async fn events_go_when_they_are_too_old_and_not_before(backend: Backend) {
        let (server, client) = server(backend).await;
        create(&client, by_age(3000)).await;
        let published = client.publish("orders", vec![event("a"), event("b")]).await.unwrap();
        let recorded = published[0].recorded_time.unwrap();
        begins_at(&client, 3).await;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let lasted = now - Duration::new(recorded.seconds as u64, recorded.nanos as u32);
        assert!(lasted >= Duration::from_secs(3), "gone after {lasted:?}");
        // They are counted after they are gone.
        let counted = async || (removed(&server, "retention").await == 2).then_some(());
        eventually("two events to be counted", counted).await;
        // However slowly it is looked for, the next one stays.
        update(&client, v1::UpdateTopicRequest { retention: age(0), ..Default::default() }).await;
        assert_eq!(client.publish("orders", vec![event("c")]).await.unwrap()[0].offset, 3);
        assert_eq!(everything(&client, "orders").await.len(), 1);
    }

    async fn the_oldest_go_when_there_are_too_many_bytes(backend: Backend) {
        let (_server, client) = server(backend).await;
        create(&client, by_size(100_000)).await;
        for _ in 0..50 {
            client.publish("orders", vec![event(&"x".repeat(10_000))]).await.unwrap();
        }
        begins_at(&client, 41).await;
        tokio::time::sleep(A_WHILE).await;
        assert_eq!(everything(&client, "orders").await.len(), 10);
    }

    async fn a_shorter_retention_takes_effect(backend: Backend) {
        let (_server, client) = server(backend).await;
        client.create_topic("orders").await;
        for _ in 0..20 {
            client.publish("orders", vec![event(&"x".repeat(10_000))]).await.unwrap();
        }
        update(&client, v1::UpdateTopicRequest { retention_bytes: Some(100_000), ..Default::default() }).await;
        begins_at(&client, 11).await;
        update(&client, v1::UpdateTopicRequest { retention: age(1), ..Default::default() }).await;
        begins_at(&client, 21).await;
        let forever = v1::UpdateTopicRequest { retention: age(0), retention_bytes: Some(0), ..Default::default() };
        update(&client, forever).await;
        client.publish("orders", vec![event("kept")]).await.unwrap();
        tokio::time::sleep(A_WHILE).await;
        assert_eq!(get(&client, "orders").await.unwrap().earliest_offset, 21);
    }

    async fn a_reader_behind_the_cut_is_told(backend: Backend) {
        let (_server, client) = server(backend).await;
        create(&client, by_size(100_000)).await;
        for _ in 0..30 {
            client.publish("orders", vec![event(&"x".repeat(10_000))]).await.unwrap();
        }
        begins_at(&client, 21).await;
        let refusal = client.subscribe(after("orders", 5)).await.unwrap_err();
        assert_refused(&refusal, Code::OutOfRange, "OFFSET_TRIMMED");
        let skipping = v1::SubscribeRequest { skip_trimmed: true, ..after("orders", 5) };
        let mut stream = client.subscribe(skipping).await.unwrap();
        stream.started().await;
        match stream.frame().await {
            Frame::Skipped(skipped) => assert_eq!((skipped.from_offset, skipped.to_offset), (6, 20)),
            other => panic!("not Skipped: {other:?}"),
        }
        assert_eq!(stream.events(10).await[0].offset, 21);
    }

    async fn readers_get_each_event_or_are_told_while_others_publish(backend: Backend) {
        let server = backend.server().await.flag(OFTEN.0, "5ms").start().await;
        let client = Client::admin(&server).await;
        create(&client, by_size(20_000)).await;
        let skipping = v1::SubscribeRequest { skip_trimmed: true, ..from_earliest("orders") };
        let mut stream = client.subscribe(skipping).await.unwrap();
        let feed = Feed::start(&client, "orders", 4, 20);
        let (mut position, mut events, mut skipped) = (0, 0, 0);
        while position < 5000 {
            match stream.frame().await {
                Frame::Batch(batch) => {
                    for event in batch.events {
                        assert_eq!(event.offset, position + 1, "a gap or a repeat");
                        position = event.offset;
                        events += 1;
                    }
                }
                Frame::Skipped(gap) => {
                    assert_eq!(gap.from_offset, position + 1);
                    skipped += gap.to_offset - position;
                    position = gap.to_offset;
                }
                Frame::Started(_) | Frame::CaughtUp(_) | Frame::Heartbeat(_) => {}
                other => panic!("neither events nor what became of them: {other:?}"),
            }
        }
        let acknowledged = feed.stop().await;
        let head = acknowledged.offsets.len() as i64;
        let cut = async || (get(&client, "orders").await.unwrap().earliest_offset > head / 2).then_some(());
        eventually_within(SOON, "retention to follow", cut).await;
        let topic = get(&client, "orders").await.unwrap();
        assert_eq!(topic.head_offset, head, "an event was lost or stored twice");
        println!("{backend:?}: {head} acknowledged, {events} delivered and {skipped} skipped in order");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_servers_one_removes() {
    let database = Database::fresh().await;
    let (servers, [here, there]) = pair(&database, &[(OFTEN.0, "10ms")]).await;
    create(&here, by_age(200)).await;
    for n in 0..40 {
        let client = if n % 2 == 0 { &here } else { &there };
        client.publish_numbered("orders", n * 10, 10).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    begins_at(&here, 401).await;
    let counts = async || [removed(&servers[0], "retention").await, removed(&servers[1], "retention").await];
    let all = async || (counts().await.iter().sum::<u64>() >= 400).then_some(());
    eventually("all events to be counted", all).await;
    tokio::time::sleep(A_WHILE).await;
    let counts = counts().await;
    assert!(counts == [400, 0] || counts == [0, 400], "{counts:?}");
}
