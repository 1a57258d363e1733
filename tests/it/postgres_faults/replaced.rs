//! The URL of the database leads to another store of EventFlow's, as after a mistake in a configuration.

use std::time::{Duration, Instant};

use super::{assert_unavailable, follower::Follower, get_topic, server_on};
use crate::{
    client::{event, from_earliest, text},
    feed::everything,
    harness::{
        chaos::Proxy,
        patience::{DEADLINE, eventually_within},
        postgres::Postgres,
    },
};

/// Longer than a credential is taken for good without asking the store.
const AWAY: Duration = Duration::from_secs(7);

#[tokio::test(flavor = "multi_thread")]
async fn a_server_writes_nothing_into_another_store_and_reads_nothing_from_it() {
    let (mine, others) = tokio::join!(Postgres::private(), Postgres::private());
    let proxy = Proxy::to_unix(mine.socket()).await;
    let (server, client) = server_on(&mine.url_through(proxy.address())).await;
    let (_other, neighbour) = server_on(&others.url("postgres")).await;
    for client in [&client, &neighbour] {
        client.create_topic("orders").await;
    }
    client.publish("orders", vec![event("mine 1")]).await.unwrap();
    neighbour.publish("orders", vec![event("theirs 1"), event("theirs 2")]).await.unwrap();
    let mut follower = Follower::start(&client, from_earliest("orders")).await;
    follower.reaches(1).await;

    proxy.retarget(others.socket());
    proxy.cut();
    // Nothing of a connection that was cut shall be taken for a refusal.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let (since, mut refused) = (Instant::now(), 0);
    while since.elapsed() < AWAY {
        let (got, published) =
            tokio::join!(get_topic(&client, "orders"), client.publish("orders", vec![event("mine, refused")]));
        assert_unavailable(&got.expect_err("there is no way to the store"));
        assert_unavailable(&published.expect_err("there is no way to the store"));
        refused += 2;
    }
    assert!(server.log().contains("the database holds cluster"), "the log does not say why");
    follower.lives().await;
    let theirs = everything(&neighbour, "orders").await;
    assert_eq!(theirs.iter().map(text).collect::<Vec<_>>(), ["theirs 1", "theirs 2"]);

    proxy.retarget(mine.socket());
    let publish = async || client.publish("orders", vec![event("mine 2")]).await.ok();
    let published = eventually_within(3 * DEADLINE, "the server to be back", publish).await;
    assert_eq!(published[0].offset, 2);
    let events = follower.until(2).await;
    assert_eq!(events.iter().map(text).collect::<Vec<_>>(), ["mine 1", "mine 2"]);
    println!("{refused} calls refused while the URL led to another store, none of them carried out there");
}
