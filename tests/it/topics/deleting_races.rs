//! Deleting a topic while others publish to it and register consumers on it, on two servers.

use eventflow::proto::v1;
use tokio::task::JoinHandle;
use tonic::{Code, Status};

use super::{delete, get, pair, removed};
use crate::{
    client::{Client, assert_refused, event},
    harness::{databases::Database, patience::eventually},
};

const ROUNDS: usize = 6;

/// Publishes until the topic is gone; returns the offsets that were acknowledged.
fn publisher(client: &Client, topic: &str) -> JoinHandle<Vec<i64>> {
    let (client, topic) = (client.clone(), topic.to_owned());
    tokio::spawn(async move {
        let mut offsets = Vec::new();
        loop {
            match client.publish(&topic, vec![event("x"), event("y")]).await {
                Ok(published) => offsets.extend(published.iter().map(|published| published.offset)),
                Err(status) => {
                    assert_refused(&status, Code::NotFound, "TOPIC_NOT_FOUND");
                    return offsets;
                }
            }
        }
    })
}

/// Registers a consumer and deletes it again, until the topic is gone; returns how often.
fn registrar(client: &Client, topic: &str, name: &str) -> JoinHandle<usize> {
    let (client, topic, name) = (client.clone(), topic.to_owned(), name.to_owned());
    tokio::spawn(async move {
        for count in 0.. {
            let consumer = v1::Consumer { name: name.clone(), topic: topic.clone(), ..Default::default() };
            let register = v1::RegisterConsumerRequest { consumer: Some(consumer), if_not_exists: false };
            if let Err(status) = client.consumers().register_consumer(register).await {
                assert_refused(&status, Code::NotFound, "TOPIC_NOT_FOUND");
                return count;
            }
            get(&client, &topic).await.expect("a topic with a consumer is there");
            let delete = v1::DeleteConsumerRequest { name: name.clone() };
            client.consumers().delete_consumer(delete).await.expect("the consumer is there");
        }
        0
    })
}

/// Deletes the topic as soon as no consumer is registered; returns how often it was refused.
async fn delete_surely(client: &Client, topic: &str) -> usize {
    let mut refused = 0;
    loop {
        match delete(client, topic).await {
            Ok(()) => return refused,
            Err(status) => {
                assert_refused(&status, Code::FailedPrecondition, "TOPIC_IN_USE");
                refused += 1;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledgement_beside_a_deletion_is_true() {
    let database = Database::fresh().await;
    let (servers, [here, there]) = pair(&database, &[]).await;
    let (mut acknowledged, mut registered, mut refused) = (0, 0, 0);
    for round in 0..ROUNDS {
        let topic = format!("orders-{round}");
        here.create_topic(&topic).await;
        let publishers = [&here, &there, &there].map(|client| publisher(client, &topic));
        let registrars = [(&here, "billing"), (&there, "audit")].map(|(client, name)| registrar(client, &topic, name));
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        refused += delete_surely(if round % 2 == 0 { &here } else { &there }, &topic).await;
        let mut offsets = Vec::new();
        for publisher in publishers {
            offsets.extend(publisher.await.unwrap());
        }
        for registrar in registrars {
            registered += registrar.await.unwrap();
        }
        offsets.sort_unstable();
        assert!(offsets.iter().copied().eq(1..=offsets.len() as i64), "{topic}: not what one topic acknowledges");
        acknowledged += offsets.len() as u64;
    }
    // What is removed is what there was: each acknowledged event, and no other.
    let both = async || removed(&servers[0], "deleted").await + removed(&servers[1], "deleted").await;
    eventually("all events to be removed", async || (both().await >= acknowledged).then_some(())).await;
    tokio::time::sleep(crate::client::A_WHILE).await;
    assert_eq!(both().await, acknowledged);
    assert!(acknowledged > 0 && registered > 0, "{acknowledged} events, {registered} registrations");
    println!("{ROUNDS} deletions, {refused} refused; {acknowledged} events and {registered} registrations, all true");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_deletions_one_succeeds() {
    let database = Database::fresh().await;
    let (_servers, clients) = pair(&database, &[]).await;
    for _ in 0..5 {
        clients[0].create_topic("orders").await;
        let deletions: Vec<JoinHandle<Result<(), Status>>> = (0..8)
            .map(|n| {
                let client = clients[n % 2].clone();
                tokio::spawn(async move { delete(&client, "orders").await })
            })
            .collect();
        let mut done = 0;
        for deletion in deletions {
            match deletion.await.unwrap() {
                Ok(()) => done += 1,
                Err(status) => assert_refused(&status, Code::NotFound, "TOPIC_NOT_FOUND"),
            }
        }
        assert_eq!(done, 1);
    }
}
