//! The network forgets connections: nothing passes on them any more, and nobody is told.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::{assert_unavailable, follower::Follower, get_topic, server_on};
use crate::{
    client::{event, from_earliest, text},
    feed::everything,
    harness::{
        chaos::{Flow, Proxy},
        databases::Database,
        patience::{eventually, eventually_within},
        postgres::Postgres,
    },
};

/// After so long, a caller has given up: a statement may take 12 s, and the rest is a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn appends_on_connections_that_were_forgotten_are_stored_once_and_acknowledged() {
    let database = Database::fresh().await;
    let proxy = Proxy::to_unix(Postgres::shared().await.socket()).await;
    let (_server, client) = server_on(&database.url_through(proxy.address())).await;
    let topics = ["arrives", "vanishes"];
    for topic in topics {
        client.create_topic(topic).await;
        client.publish(topic, vec![event("1")]).await.unwrap();
    }
    let mut follower = Follower::start(&client, from_earliest("arrives")).await;
    follower.reaches(1).await;
    let mut postgres = database.connect().await;

    let publish = |topic: &'static str| {
        let client = client.clone();
        // Without ids: nobody but the server can find out what happened.
        tokio::spawn(async move { client.publish(topic, vec![event("2")]).await })
    };
    proxy.stop(Flow::ToClient);
    let arrives = publish("arrives");
    eventually("the append to be stored", async || {
        let count: i64 =
            sqlx::query_scalar("select count(*) from eventflow.segments").fetch_one(&mut postgres).await.unwrap();
        (count == 3).then_some(())
    })
    .await;
    proxy.stop(Flow::ToTarget);
    let vanishes = publish("vanishes");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!arrives.is_finished() && !vanishes.is_finished());
    let accepted = proxy.accepted();
    proxy.freeze();
    proxy.flow();
    let frozen = Instant::now();

    let mut answers = Vec::new();
    let answered = async || get_topic(&client, "arrives").await.map_err(|status| answers.push(status)).ok();
    let topic = eventually_within(PATIENCE, "a call to be answered", answered).await;
    let called = frozen.elapsed();
    assert_eq!(topic.head_offset, 2);
    answers.iter().for_each(assert_unavailable);
    for (topic, publish) in topics.into_iter().zip([arrives, vanishes]) {
        let answer = timeout(PATIENCE, publish).await.expect("an append ends in time").unwrap();
        let published = answer.unwrap_or_else(|status| panic!("{topic}: {status:?}"));
        assert_eq!(published[0].offset, 2, "{topic}");
    }
    let acknowledged = frozen.elapsed();
    for topic in topics {
        assert_eq!(client.publish(topic, vec![event("3")]).await.unwrap()[0].offset, 3);
        let events = everything(&client, topic).await;
        assert_eq!(events.iter().map(text).collect::<Vec<_>>(), ["1", "2", "3"], "{topic}");
    }
    assert_eq!(follower.until(3).await.len(), 3);
    assert!(proxy.accepted() > accepted, "the frozen connections were used on");
    println!(
        "a call was answered {called:?} after the freeze, both appends were acknowledged {acknowledged:?} after it"
    );
}
