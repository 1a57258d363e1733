//! The events of deleted topics are removed in the background, whoever is killed meanwhile.

use eventflow::proto::v1;
use sqlx::{Executor, PgConnection};

use super::{SOON, delete, member, removed, server};
use crate::{
    client::{Client, event},
    feed::everything,
    harness::{
        backend::{Backend, on_both_stores},
        databases::Database,
        patience::{eventually, eventually_within},
        redis::Redis,
        server::Server,
    },
};

/// Events with ids, each request one segment.
async fn publish_with_ids(client: &Client, topic: &str, requests: usize) {
    for _ in 0..requests {
        let with_id = |_| v1::NewEvent { id: uuid::Uuid::now_v7().to_string(), ..event("x") };
        client.publish(topic, (0..1000).map(with_id).collect()).await.unwrap();
    }
}

async fn count(postgres: &mut PgConnection, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(postgres).await.unwrap()
}

on_both_stores! {
    async fn what_a_deleted_topic_left_goes_in_the_background(backend: Backend) {
        let (server, client) = server(backend).await;
        client.create_topic("orders").await;
        client.create_topic("payments").await;
        publish_with_ids(&client, "orders", 20).await;
        publish_with_ids(&client, "payments", 2).await;
        delete(&client, "orders").await.unwrap();
        let all = async || (removed(&server, "deleted").await == 20_000).then_some(());
        eventually_within(SOON, "all events to be removed", all).await;
        server.logged("nothing is left of deleted topic").await;
        assert_eq!(everything(&client, "payments").await.len(), 2000);
    }

    async fn a_removal_goes_on_after_a_kill(backend: Backend) {
        let (mut server, client) = server(backend).await;
        client.create_topic("orders").await;
        publish_with_ids(&client, "orders", 60).await;
        delete(&client, "orders").await.unwrap();
        let begun = async || (removed(&server, "deleted").await > 0).then_some(());
        eventually("the removal to begin", begun).await;
        server.kill().await;
        let before = server.log().matches("nothing is left of deleted topic").count();
        server.restart().await;
        let done = async || server.log().contains("nothing is left of deleted topic").then_some(());
        eventually_within(SOON, "the removal to end", done).await;
        println!("{backend:?}: killed {} the removal", if before == 0 { "in the middle of" } else { "after" });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_finishes_the_removal_of_one_that_was_killed() {
    let database = Database::fresh().await;
    let redis = Redis::shared().await;
    let mut postgres = database.connect().await;
    let mut servers = [member(&database, Some(redis)).start().await, member(&database, Some(redis)).start().await];
    let client = Client::admin(&servers[0]).await;
    client.create_topic("orders").await;
    client.create_topic("payments").await;
    publish_with_ids(&client, "orders", 60).await;
    publish_with_ids(&client, "payments", 1).await;
    // Each step takes a while, so that the kill hits one in the middle.
    let slow = "create function slow() returns trigger language plpgsql as $$
            begin perform pg_sleep(0.3); return null; end $$;
        create trigger slow before delete on eventflow.segments for each statement execute function slow()";
    postgres.execute(slow).await.unwrap();
    delete(&client, "orders").await.unwrap();

    let busy = async || {
        for (n, server) in servers.iter().enumerate() {
            if removed(server, "deleted").await > 0 {
                return Some(n);
            }
        }
        None
    };
    let busy = eventually("the removal to begin", busy).await;
    servers[busy].kill().await;
    let left = count(&mut postgres, "select count(*) from eventflow.segments").await;
    assert!(left > 1, "the removal had ended before its server was killed");
    let other: &Server = &servers[1 - busy];
    assert_eq!(removed(other, "deleted").await, 0, "two servers removed at once");

    let gone = async || (count(&mut postgres, "select count(*) from eventflow.topics").await == 1).then_some(());
    eventually_within(SOON, "another server to finish", gone).await;
    assert!(removed(other, "deleted").await > 0);
    assert_eq!(count(&mut postgres, "select count(*) from eventflow.segments").await, 1);
    assert_eq!(count(&mut postgres, "select count(*) from eventflow.event_ids").await, 1000);
    println!("killed with {left} of 61 segments left; another server removed the rest");
}
