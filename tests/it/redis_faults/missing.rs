//! Redis is not there when the servers start.

use super::{NO_POLLS, World};
use crate::{feed::all_reach, harness::redis::Redis, observe::readiness};

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_servers_start_and_deliver_and_say_that_they_are_degraded() {
    let mut redis = Redis::private().await;
    redis.kill();
    let world = World::start(&redis, &[]).await;
    world.rely_on_redis(false).await;
    for server in world.servers() {
        let (status, ready) = readiness(server).await;
        assert_eq!((status, ready["ready"].as_bool(), ready["notifier"].as_str()), (200, Some(true), Some("degraded")));
        server.logged("Redis cannot be relied on").await;
    }
    let mut witnesses = world.witnesses().await;
    for n in 1..=20 {
        let client = &world.clients()[n % 2];
        client.publish_numbered("orders", n, 1).await;
        all_reach(&mut witnesses, n as i64).await;
    }
    world.here.publish_numbered("orders", 21, 2000).await;
    all_reach(&mut witnesses, 2020).await;

    redis.start_again().await;
    world.rely_on_redis(true).await;
    for server in world.servers() {
        assert_eq!(readiness(server).await.1["notifier"], "serving");
        server.logged("Redis can be relied on").await;
    }
    println!("2020 events reached {} readers without Redis", witnesses.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_comes_later_wakes_readers_without_polls() {
    let mut redis = Redis::private().await;
    redis.kill();
    let world = World::start(&redis, &NO_POLLS).await;
    let mut witnesses = world.witnesses().await;
    for (n, client) in world.clients().iter().enumerate() {
        client.publish_numbered("orders", n, 1).await;
    }
    redis.start_again().await;
    // What came before, as soon as Redis is there.
    all_reach(&mut witnesses, 2).await;
    world.rely_on_redis(true).await;
    for n in 3..=40 {
        world.clients()[n % 2].publish_numbered("orders", n, 1).await;
        all_reach(&mut witnesses, n as i64).await;
    }
    println!("2 events reached {} readers once Redis came, 38 more one by one", witnesses.len());
}
