//! Redis takes messages and loses them, while it answers everything else.

use std::time::{Duration, Instant};

use eventflow::proto::v1::{self, closing::Reason, subscribe_response::Frame};
use tokio::time::{sleep, timeout};
use tonic::Code;

use super::{POLLS, World};
use crate::{
    client::{A_WHILE, Stream, as_consumer, assert_refused},
    feed::all_reach,
    harness::{patience::eventually_within, redis::Redis},
    observe::Metrics,
};

/// A renewal every 5 s tells a server without wake-ups that it lost a consumer; here with some patience, but
/// before a hold of 15 s could run out.
const BY_RENEWAL: Duration = Duration::from_secs(12);

#[tokio::test(flavor = "multi_thread")]
async fn readers_whose_wake_ups_are_lost_find_events_by_polling() {
    const EVENTS: usize = 8;
    let redis = Redis::private().await;
    let world = World::healthy(&redis, &[]).await;
    let mut witnesses = world.witnesses().await;
    for way in &world.ways {
        way.swallow(Some(":topic:"));
    }
    for n in 1..=EVENTS {
        world.clients()[n % 2].publish_numbered("orders", n, 1).await;
        all_reach(&mut witnesses, n as i64).await;
    }
    // Neither knows that anything is wrong: its beats arrive.
    world.rely_on_redis(true).await;
    let swallowed = world.ways.each_ref().map(|way| way.swallowed());
    let polls = [Metrics::of(&world.first).await.get(POLLS), Metrics::of(&world.second).await.get(POLLS)];
    // A message may wait until its event was found, and then stands for the next one too.
    assert!(swallowed.iter().all(|swallowed| *swallowed >= EVENTS as u64 / 2), "{swallowed:?} were swallowed");
    println!("{EVENTS} events, {swallowed:?} messages swallowed, found by {polls:?} polls");
}

/// Reads a stream that has no events up to Closing.
async fn closed(stream: &mut Stream) -> Reason {
    loop {
        match stream.frame().await {
            Frame::Closing(closing) => return closing.reason(),
            Frame::CaughtUp(_) | Frame::Heartbeat(_) => {}
            other => panic!("there is nothing to send: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_that_nobody_was_told_of_is_noticed_by_renewing() {
    let redis = Redis::private().await;
    let world = World::healthy(&redis, &[]).await;
    world.here.register("billing", "orders").await;
    for way in &world.ways {
        way.swallow(Some(":control"));
    }
    let mut old = world.there.subscribe(as_consumer("billing")).await.unwrap();
    old.started().await;
    // Having taken the consumer, its server renews at once; what comes next must not be found by that.
    sleep(A_WHILE).await;
    let request = v1::SubscribeRequest { take_over: true, ..as_consumer("billing") };
    let mut new = world.here.subscribe(request).await.unwrap();
    let epoch = new.started().await.epoch;
    let taken = Instant::now();
    let reason = timeout(BY_RENEWAL, closed(&mut old)).await.expect("the holder notices in time");
    let noticed = taken.elapsed();
    assert_eq!(reason, Reason::TakenOver);
    assert_refused(&old.next().await.unwrap_err(), Code::Aborted, "CONSUMER_FENCED");
    assert!(world.ways[1].swallowed() > 0, "the server was told");

    // The new holder has the consumer.
    world.there.publish_numbered("orders", 1, 3).await;
    assert_eq!(new.events(3).await.len(), 3);
    let commit = v1::CommitOffsetRequest { consumer: "billing".into(), offset: 3, epoch };
    world.there.consumers().commit_offset(commit).await.unwrap();
    println!("noticed after {noticed:?}, {} messages swallowed on the way", world.ways[1].swallowed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_loses_everything_is_noticed_and_polled_around() {
    let redis = Redis::private().await;
    let world = World::healthy(&redis, &[]).await;
    let mut witnesses = world.witnesses().await;
    world.ways[1].swallow(Some(""));
    super::relies_on_redis(&world.second, false).await;
    // Every 100 ms; once a second, as with a healthy Redis, would be at most 11 in this time.
    let before = Metrics::of(&world.second).await.get(POLLS);
    let began = Instant::now();
    let often = async || (Metrics::of(&world.second).await.get(POLLS) >= before + 25).then_some(());
    eventually_within(Duration::from_secs(10), "25 polls", often).await;
    println!("25 polls in {:?}", began.elapsed());
    for n in 1..=20 {
        world.clients()[n % 2].publish_numbered("orders", n, 1).await;
        all_reach(&mut witnesses, n as i64).await;
    }
    super::relies_on_redis(&world.first, true).await;
    assert!(world.ways[1].swallowed() > 20);
    world.ways[1].swallow(None);
    world.rely_on_redis(true).await;
}
