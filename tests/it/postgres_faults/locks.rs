//! An outsider locks what the server needs.

use std::time::{Duration, Instant};

use sqlx::Connection;
use tokio::{task::JoinHandle, time::timeout};

use super::{assert_unavailable, follower::Follower, get_topic, head, server_on};
use crate::{
    client::{event, from_earliest},
    harness::{databases::Database, patience::DEADLINE},
};

/// Longer than a server waits for a lock at a time, shorter than a caller waits in all.
const HELD: Duration = Duration::from_millis(2500);

#[tokio::test(flavor = "multi_thread")]
async fn while_the_table_of_topics_is_locked_publishing_is_refused_and_nothing_is_stored() {
    let database = Database::fresh().await;
    let (_server, client) = server_on(&database.url()).await;
    client.create_topic("orders").await;
    client.publish("orders", vec![event("1")]).await.unwrap();
    let follower = Follower::start(&client, from_earliest("orders")).await;
    let mut outsider = database.connect().await;
    let mut lock = outsider.begin().await.unwrap();
    sqlx::raw_sql("lock table eventflow.topics in access exclusive mode").execute(&mut *lock).await.unwrap();

    let locked = Instant::now();
    let publish = |text: &'static str| {
        let client = client.clone();
        tokio::spawn(async move { client.publish("orders", vec![event(text)]).await })
    };
    let calls: Vec<JoinHandle<_>> = ["a", "b", "c"].map(publish).into();
    assert_unavailable(&get_topic(&client, "orders").await.unwrap_err());
    let mut refused = 0;
    for call in calls {
        let answer = timeout(DEADLINE, call).await.expect("a refusal comes in time").unwrap();
        assert_unavailable(&answer.expect_err("the table is locked"));
        refused += 1;
    }
    let waited = locked.elapsed();
    let kept: i64 = sqlx::query_scalar("select count(*) from eventflow.segments").fetch_one(&mut *lock).await.unwrap();
    assert_eq!(kept, 1);
    lock.rollback().await.unwrap();

    assert_eq!(client.publish("orders", vec![event("2")]).await.unwrap()[0].offset, 2);
    assert_eq!(follower.until(2).await.len(), 2);
    println!("locked for {waited:?}: {refused} requests refused with STORAGE_UNAVAILABLE, none stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_topic_holds_up_that_topic_alone_and_its_publisher_only_until_it_is_free() {
    let database = Database::fresh().await;
    let (server, client) = server_on(&database.url()).await;
    for topic in ["held", "free"] {
        client.create_topic(topic).await;
        client.publish(topic, vec![event("1")]).await.unwrap();
    }
    let held = Follower::start(&client, from_earliest("held")).await;
    let mut free = Follower::start(&client, from_earliest("free")).await;
    let mut outsider = database.connect().await;
    let mut lock = outsider.begin().await.unwrap();
    let select = "select id from eventflow.topics where name = 'held' for update";
    let _id: i32 = sqlx::query_scalar(select).fetch_one(&mut *lock).await.unwrap();

    let locked = Instant::now();
    let publisher = client.clone();
    let publish = tokio::spawn(async move { publisher.publish("held", vec![event("2")]).await });
    let mut meanwhile = 1;
    while locked.elapsed() < HELD {
        meanwhile += 1;
        assert_eq!(client.publish("free", vec![event("more")]).await.unwrap()[0].offset, meanwhile);
        free.reaches(meanwhile).await;
        assert_eq!(head(&client, "held").await, 1);
    }
    assert!(!publish.is_finished(), "the topic was not locked");
    lock.rollback().await.unwrap();
    let waited = locked.elapsed();

    let answer = timeout(DEADLINE, publish).await.expect("an answer comes in time").unwrap();
    assert_eq!(answer.expect("the topic is free again")[0].offset, 2);
    assert_eq!(held.until(2).await.len(), 2);
    assert!(meanwhile > 3, "only {meanwhile} appends to another topic in {waited:?}");
    let retries = server.log().matches("an append was not possible; trying again").count();
    println!("locked for {waited:?}: {} events of another topic went through, {retries} retries", meanwhile - 1);
}
