//! The network between a client and its server stops, heals, or breaks.

use std::time::{Duration, Instant};

use eventflow::proto::v1::{self, closing::Reason, subscribe_response::Frame};
use tokio::time::timeout;
use tonic::{Code, Status};

use super::Pair;
use crate::{
    client::{Client, Stream, as_consumer, assert_refused, event, from_earliest},
    harness::{
        chaos::{Flow, Proxy},
        patience::{DEADLINE, eventually},
    },
    observe::Metrics,
};

/// The heartbeat interval of the streams here.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Two intervals without a frame mean that the connection is dead; here with a little more.
const SILENCE: Duration = Duration::from_millis(2500);
/// Less than the 15 s that a hold lasts that nobody gave back.
const AT_ONCE: Duration = Duration::from_secs(9);

fn lively(request: v1::SubscribeRequest) -> v1::SubscribeRequest {
    v1::SubscribeRequest { heartbeat_interval: HEARTBEAT.try_into().ok(), ..request }
}

fn stop(proxy: &Proxy) {
    proxy.stop(Flow::ToTarget);
    proxy.stop(Flow::ToClient);
}

/// Reads events, which must come in order after `position`, until the stream falls silent; returns the last offset.
async fn until_silent(stream: &mut Stream, mut position: i64) -> i64 {
    let began = Instant::now();
    while let Ok(frame) = timeout(SILENCE, stream.frame()).await {
        position = in_order(position, frame);
        assert!(began.elapsed() < DEADLINE, "the stream does not fall silent");
    }
    position
}

/// Reads events, which must come in order after `position`, up to `last`.
async fn until(stream: &mut Stream, mut position: i64, last: i64) {
    let began = Instant::now();
    while position < last {
        position = in_order(position, stream.frame().await);
        assert!(began.elapsed() < DEADLINE, "{position} of {last} events came");
    }
    assert_eq!(position, last, "more came than was published");
}

fn in_order(position: i64, frame: Frame) -> i64 {
    let Frame::Batch(batch) = frame else { return position };
    let count = batch.events.len() as i64;
    assert!(batch.events.iter().map(|event| event.offset).eq(position + 1..=position + count), "a gap or a repeat");
    position + count
}

async fn commit(client: &Client, epoch: i64, offset: i64) -> Result<(), Status> {
    let request = v1::CommitOffsetRequest { consumer: "billing".into(), offset, epoch };
    client.consumers().commit_offset(request).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_after_a_silent_partition_without_a_loss_or_a_repeat() {
    let pair = Pair::start().await;
    let proxy = Proxy::to_tcp(pair.first.listen()).await;
    let away = pair.here.through(proxy.address()).await;
    let mut stream = away.subscribe(lively(from_earliest("orders"))).await.unwrap();
    pair.here.publish_numbered("orders", 1, 50).await;
    until(&mut stream, 0, 50).await;

    stop(&proxy);
    let publisher = away.clone();
    let sent = v1::NewEvent { id: "sent into silence".into(), ..event("51") };
    let publish = tokio::spawn(async move { publisher.publish("orders", vec![sent]).await });
    pair.there.publish_numbered("orders", 51, 200).await;
    let position = until_silent(&mut stream, 50).await;
    assert!(!publish.is_finished(), "nothing came through");
    assert_eq!(position, 50, "events came through");
    proxy.flow();
    let published = timeout(DEADLINE, publish).await.expect("it ends").unwrap().expect("it was merely late");
    // The same stream: what was held back, what came meanwhile, what comes now.
    pair.here.publish_numbered("orders", 252, 50).await;
    until(&mut stream, position, 301).await;
    assert_eq!(published[0].offset, 251, "it arrived after the others");
    println!("250 events before and in a partition, 301 received once each");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_takes_silence_for_the_end_goes_on_elsewhere_and_is_fenced_here() {
    let pair = Pair::start().await;
    pair.here.register("billing", "orders").await;
    let proxy = Proxy::to_tcp(pair.first.listen()).await;
    let away = pair.here.through(proxy.address()).await;
    let mut old = away.subscribe(lively(as_consumer("billing"))).await.unwrap();
    let old_epoch = old.started().await.epoch;
    pair.here.publish_numbered("orders", 1, 50).await;
    until(&mut old, 0, 50).await;
    commit(&away, old_epoch, 50).await.unwrap();

    stop(&proxy);
    pair.there.publish_numbered("orders", 51, 50).await;
    let began = Instant::now();
    assert_eq!(until_silent(&mut old, 50).await, 50);
    assert!(began.elapsed() >= 2 * HEARTBEAT);
    // The first server does not know that its client is gone, and would keep the consumer.
    let request = v1::SubscribeRequest { take_over: true, ..lively(as_consumer("billing")) };
    let mut new = pair.there.subscribe(request).await.unwrap();
    let started = new.started().await;
    assert_eq!(started.position.unwrap().offset, 50);
    until(&mut new, 50, 100).await;
    let ended = async || (Metrics::of(&pair.first).await.get("eventflow_subscriptions") == 0).then_some(());
    eventually("the first server to give up its stream", ended).await;
    pair.here.publish_numbered("orders", 101, 50).await;
    until(&mut new, 100, 150).await;
    commit(&pair.there, started.epoch, 150).await.unwrap();

    // What was on its way comes late, and nothing that was recorded after the takeover.
    proxy.flow();
    let late = timeout(DEADLINE, until_closing(&mut old, 50)).await.expect("the stream ends");
    assert!(late <= 100, "event {late} was sent to two streams");
    let refusal = old.next().await.expect_err("after Closing there is only a status");
    assert_refused(&refusal, Code::Aborted, "CONSUMER_FENCED");
    let refusal = commit(&away, old_epoch, late).await.unwrap_err();
    assert_refused(&refusal, Code::Aborted, "CONSUMER_FENCED");
    println!("150 events received once each by the consumer, {} of them late on its old stream too", late - 50);
}

/// Reads events in order until Closing, which must say that the consumer was taken over; returns the last offset.
async fn until_closing(stream: &mut Stream, mut position: i64) -> i64 {
    loop {
        match stream.frame().await {
            Frame::Closing(closing) => {
                assert_eq!(closing.reason(), Reason::TakenOver);
                return position;
            }
            frame => position = in_order(position, frame),
        }
    }
}

/// Waits, with heartbeats, until the stream has the consumer.
async fn served(stream: &mut Stream) -> v1::Started {
    loop {
        match stream.frame().await {
            Frame::Heartbeat(heartbeat) => assert!(heartbeat.waiting),
            Frame::Started(started) => return started,
            other => panic!("neither a heartbeat nor Started: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_frees_its_consumer_at_once() {
    let pair = Pair::start().await;
    pair.here.register("billing", "orders").await;
    pair.here.publish_numbered("orders", 1, 5).await;
    let proxy = Proxy::to_tcp(pair.first.listen()).await;
    for round in 1..=3 {
        let away = pair.here.through(proxy.address()).await;
        let mut stream = away.subscribe(lively(as_consumer("billing"))).await.unwrap();
        let epoch = stream.started().await.epoch;
        stream.until_caught_up().await;
        commit(&away, epoch, round).await.unwrap();
        proxy.cut();
        let began = Instant::now();
        let request = v1::SubscribeRequest { wait: true, ..lively(as_consumer("billing")) };
        let mut next = pair.there.subscribe(request).await.unwrap();
        let started = timeout(AT_ONCE, served(&mut next)).await.expect("the consumer is free at once");
        assert_eq!(started.position.unwrap().offset, round);
        println!("cut {round}: free after {:?}", began.elapsed());
        drop(next);
        let free = async || pair.here.subscribe(as_consumer("billing")).await.ok().map(drop);
        eventually("the consumer to be free again", free).await;
        eventually("the consumer to be free again", async || {
            let request = v1::GetConsumerRequest { name: "billing".into() };
            let consumer = pair.here.consumers().get_consumer(request).await.unwrap().into_inner().consumer.unwrap();
            (consumer.status.unwrap().connection_count == 0).then_some(())
        })
        .await;
    }
}
