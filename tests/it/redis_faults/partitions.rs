//! The network between a server and Redis stops without a word, and heals.

use tokio::time::sleep;

use super::{NO_POLLS, World, relies_on_redis};
use crate::{
    client::A_WHILE,
    feed::{Feed, all_reach, everything},
    harness::{
        chaos::{Flow, Proxy},
        redis::Redis,
    },
    observe::Metrics,
};

fn stop(way: &Proxy) {
    way.stop(Flow::ToTarget);
    way.stop(Flow::ToClient);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_of_which_one_cannot_reach_redis_read_each_others_events() {
    let redis = Redis::private().await;
    let world = World::healthy(&redis, &[]).await;
    let mut witnesses = world.witnesses().await;
    let feed = Feed::over(&world.clients(), "orders", 4, 5);
    feed.reaches(100).await;
    stop(&world.ways[1]);
    relies_on_redis(&world.second, false).await;
    relies_on_redis(&world.first, true).await;
    feed.reaches(feed.acknowledged() + 200).await;
    all_reach(&mut witnesses, feed.acknowledged() as i64).await;
    world.ways[1].flow();
    world.rely_on_redis(true).await;
    let acknowledged = feed.stop().await;
    all_reach(&mut witnesses, acknowledged.offsets.len() as i64).await;
    let events = everything(&world.there, "orders").await;
    let found = acknowledged.assert_found_once(&events);
    assert!(witnesses.iter().all(|witness| witness.seen() == events), "a reader saw other events than there are");
    println!("{found} acknowledged, and received once by each reader through a partition");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_on_both_sides_of_a_partition_is_known_once_it_heals() {
    let redis = Redis::private().await;
    let world = World::healthy(&redis, &NO_POLLS).await;
    let mut witnesses = world.witnesses().await;
    stop(&world.ways[1]);
    relies_on_redis(&world.second, false).await;
    let delivered = async |server| {
        sleep(A_WHILE).await;
        Metrics::of(server).await.get("eventflow_delivered_events_total")
    };
    // Each has two readers.
    world.there.publish_numbered("orders", 1, 1).await;
    assert_eq!((delivered(&world.first).await, delivered(&world.second).await), (0, 2), "of the second server's event");
    world.here.publish_numbered("orders", 2, 1).await;
    assert_eq!((delivered(&world.first).await, delivered(&world.second).await), (4, 2), "of the first server's event");
    world.ways[1].flow();
    all_reach(&mut witnesses, 2).await;
    world.rely_on_redis(true).await;
    for n in 3..=20 {
        world.clients()[n % 2].publish_numbered("orders", n, 1).await;
        all_reach(&mut witnesses, n as i64).await;
    }
    for server in world.servers() {
        assert_eq!(Metrics::of(server).await.get(super::POLLS), 0);
    }
    println!("20 events on both sides of a partition reached {} readers without a poll", witnesses.len());
}
