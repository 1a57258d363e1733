//! Redis goes away and comes back while two servers are published to.

use tokio::time::timeout;

use super::{NO_POLLS, World};
use crate::{
    feed::{Feed, Witness, all_reach, everything},
    harness::{patience::DEADLINE, redis::Redis},
};

/// How Redis goes away.
#[derive(Debug, Clone, Copy)]
enum Outage {
    Killed,
    Paused,
}

impl Outage {
    fn begin(self, redis: &mut Redis) {
        match self {
            Self::Killed => redis.kill(),
            Self::Paused => redis.pause(),
        }
    }

    async fn end(self, redis: &mut Redis) {
        match self {
            Self::Killed => redis.start_again().await,
            Self::Paused => redis.resume(),
        }
    }
}

/// Waits for so many further acknowledgements; they come before any timeout of Redis could let them through.
async fn acknowledges(feed: &Feed, count: u64) {
    let more = feed.reaches(feed.acknowledged() + count);
    timeout(DEADLINE, more).await.expect("publishing does not wait for Redis");
}

/// Ends the feed, and asserts that the readers saw what it was told, and nothing else.
async fn assert_complete(world: &World, feed: Feed, mut witnesses: Vec<Witness>) -> usize {
    let acknowledged = feed.stop().await;
    all_reach(&mut witnesses, acknowledged.offsets.len() as i64).await;
    let events = everything(&world.here, "orders").await;
    let found = acknowledged.assert_found_once(&events);
    assert!(witnesses.iter().all(|witness| witness.seen() == events), "a reader saw other events than there are");
    found
}

/// Publishes and reads on both servers through outages.
async fn goes_on_through(outage: Outage) {
    const ROUNDS: usize = 2;
    let mut redis = Redis::private().await;
    let world = World::healthy(&redis, &[]).await;
    let mut witnesses = world.witnesses().await;
    let feed = Feed::over(&world.clients(), "orders", 4, 5);
    for _ in 0..ROUNDS {
        acknowledges(&feed, 100).await;
        outage.begin(&mut redis);
        acknowledges(&feed, 200).await;
        world.rely_on_redis(false).await;
        acknowledges(&feed, 100).await;
        all_reach(&mut witnesses, feed.acknowledged() as i64).await;
        outage.end(&mut redis).await;
        world.rely_on_redis(true).await;
        all_reach(&mut witnesses, feed.acknowledged() as i64).await;
    }
    let found = assert_complete(&world, feed, witnesses).await;
    println!("{outage:?} {ROUNDS} times: {found} acknowledged, and received once by each reader");
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_and_reading_go_on_while_redis_is_killed_and_started_again() {
    goes_on_through(Outage::Killed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_and_reading_go_on_while_redis_stands_still() {
    goes_on_through(Outage::Paused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_comes_back_leaves_no_reader_behind_even_without_polls() {
    for outage in [Outage::Killed, Outage::Paused] {
        let mut redis = Redis::private().await;
        let world = World::healthy(&redis, &NO_POLLS).await;
        let mut witnesses = world.witnesses().await;
        let feed = Feed::over(&world.clients(), "orders", 4, 5);
        acknowledges(&feed, 100).await;
        outage.begin(&mut redis);
        acknowledges(&feed, 100).await;
        // Nothing is published after this that could wake a reader for what it missed.
        let acknowledged = feed.stop().await;
        world.rely_on_redis(false).await;
        outage.end(&mut redis).await;
        all_reach(&mut witnesses, acknowledged.offsets.len() as i64).await;
        println!("{outage:?}: {} events reached all readers without a poll", acknowledged.offsets.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_connections_to_redis_leave_no_reader_behind_even_without_polls() {
    const CUTS: usize = 20;
    let redis = Redis::private().await;
    let world = World::healthy(&redis, &NO_POLLS).await;
    let mut witnesses = world.witnesses().await;
    for cut in 1..=CUTS {
        world.ways[cut % 2].cut();
        // Before the connection stands again: one is not told, the other cannot tell.
        world.clients()[0].publish_numbered("orders", 2 * cut, 1).await;
        world.clients()[1].publish_numbered("orders", 2 * cut + 1, 1).await;
        all_reach(&mut witnesses, 2 * cut as i64).await;
    }
    let connections = world.ways.each_ref().map(|way| way.accepted());
    println!("{CUTS} cuts, {connections:?} connections to Redis, {} events received without a poll", 2 * CUTS);
    assert!(connections.iter().all(|accepted| *accepted >= CUTS as u64 / 2), "{connections:?} connections were made");
}
