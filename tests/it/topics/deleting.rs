//! Deleting topics.

use eventflow::proto::v1;
use tonic::Code;
use tonic_types::StatusExt;

use super::{create, delete, ends_deleted, get, pair, server};
use crate::{
    client::{Client, assert_refused, event, from_earliest},
    feed::everything,
    harness::{
        backend::{Backend, on_both_stores},
        databases::Database,
        server::Server,
    },
    observe::Metrics,
};

on_both_stores! {
    async fn a_deleted_topic_ends_its_streams_and_is_gone(backend: Backend) {
        let (_server, client) = server(backend).await;
        client.create_topic("orders").await;
        client.create_topic("payments").await;
        client.publish_numbered("orders", 1, 3).await;
        let mut streams = Vec::new();
        for _ in 0..3 {
            let mut stream = client.subscribe(from_earliest("orders")).await.unwrap();
            assert_eq!(stream.until_caught_up().await.len(), 3);
            streams.push(stream);
        }
        let mut other = client.subscribe(from_earliest("payments")).await.unwrap();
        other.until_caught_up().await;
        delete(&client, "orders").await.unwrap();
        for stream in &mut streams {
            assert!(ends_deleted(stream).await.is_empty());
        }

        let missing = |status| assert_refused(&status, Code::NotFound, "TOPIC_NOT_FOUND");
        missing(get(&client, "orders").await.unwrap_err());
        missing(client.publish("orders", vec![event("x")]).await.unwrap_err());
        missing(client.subscribe(from_earliest("orders")).await.unwrap_err());
        missing(delete(&client, "orders").await.unwrap_err());
        let trim = v1::TrimTopicRequest { name: "orders".into(), before_offset: 1, validate_only: false };
        missing(client.topics().trim_topic(trim).await.unwrap_err());
        let update = v1::UpdateTopicRequest { name: "orders".into(), sealed: Some(true), ..Default::default() };
        missing(client.topics().update_topic(update).await.unwrap_err());
        let consumer = v1::Consumer { name: "billing".into(), topic: "orders".into(), ..Default::default() };
        let register = v1::RegisterConsumerRequest { consumer: Some(consumer), if_not_exists: false };
        missing(client.consumers().register_consumer(register).await.unwrap_err());
        let listed = client.topics().list_topics(v1::ListTopicsRequest::default()).await.unwrap().into_inner();
        assert_eq!(listed.topics.iter().map(|topic| topic.name.as_str()).collect::<Vec<_>>(), ["payments"]);

        client.publish("payments", vec![event("x")]).await.unwrap();
        assert_eq!(other.events(1).await[0].offset, 1, "the stream of another topic goes on");
    }

    async fn a_topic_with_consumers_is_not_deleted(backend: Backend) {
        let (_server, client) = server(backend).await;
        client.create_topic("orders").await;
        client.publish_numbered("orders", 1, 3).await;
        client.register("billing", "orders").await;
        let mut stream = client.subscribe(from_earliest("orders")).await.unwrap();
        stream.until_caught_up().await;

        let refusal = delete(&client, "orders").await.unwrap_err();
        assert_refused(&refusal, Code::FailedPrecondition, "TOPIC_IN_USE");
        assert_eq!(refusal.get_details_precondition_failure().unwrap().violations[0].subject, "orders");
        assert_eq!(refusal.get_details_error_info().unwrap().metadata["consumer"], "billing");
        assert!(refusal.message().contains("billing"), "{refusal:?}");
        client.publish_numbered("orders", 4, 1).await;
        assert_eq!(stream.events(1).await[0].offset, 4, "a refused deletion changed something");

        let unregister = v1::DeleteConsumerRequest { name: "billing".into() };
        client.consumers().delete_consumer(unregister).await.unwrap();
        delete(&client, "orders").await.unwrap();
        ends_deleted(&mut stream).await;
    }

    async fn a_topic_created_anew_is_another_log(backend: Backend) {
        let (_server, client) = server(backend).await;
        let settings = v1::Topic { name: "orders".into(), ..Default::default() };
        let old = create(&client, settings.clone()).await;
        let with_id = |text: &str| v1::NewEvent { id: "once".into(), ..event(text) };
        client.publish("orders", vec![event("old"), with_id("old")]).await.unwrap();
        delete(&client, "orders").await.unwrap();

        let new = create(&client, settings).await;
        assert_ne!(new.log_id, old.log_id);
        assert_eq!((new.head_offset, new.earliest_offset), (0, 1));
        let published = client.publish("orders", vec![with_id("new")]).await.unwrap();
        assert_eq!((published[0].offset, published[0].duplicate), (1, false), "an id of the old topic is remembered");
        let events = everything(&client, "orders").await;
        assert_eq!(events.iter().map(crate::client::text).collect::<Vec<_>>(), ["new"]);

        let stale = v1::SubscribeRequest { log_id: old.log_id, ..from_earliest("orders") };
        let refusal = client.subscribe(stale).await.unwrap_err();
        assert_refused(&refusal, Code::FailedPrecondition, "LOG_REPLACED");
        assert_eq!(refusal.get_details_error_info().unwrap().metadata["log_id"], new.log_id);
        let current = v1::SubscribeRequest { log_id: new.log_id, ..from_earliest("orders") };
        assert_eq!(client.subscribe(current).await.unwrap().until_caught_up().await.len(), 1);
    }

    async fn a_name_that_is_none_is_refused(backend: Backend) {
        let (_server, client) = server(backend).await;
        for name in ["", "Orders", "a/b", "orders ", &"x".repeat(256)] {
            assert_refused(&delete(&client, name).await.unwrap_err(), Code::InvalidArgument, "NAME_INVALID");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_on_all_servers_end_without_waiting_for_a_look() {
    let database = Database::fresh().await;
    let (_servers, [here, there]) = pair(&database, &[("--poll-interval", "1h")]).await;
    here.create_topic("orders").await;
    here.publish_numbered("orders", 1, 3).await;
    let mut streams = Vec::new();
    for client in [&here, &there] {
        let mut stream = client.subscribe(from_earliest("orders")).await.unwrap();
        stream.until_caught_up().await;
        streams.push(stream);
    }
    delete(&here, "orders").await.unwrap();
    for stream in &mut streams {
        ends_deleted(stream).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_on_servers_that_nobody_tells_end_by_looking() {
    let database = Database::fresh().await;
    let alone = || Server::embedded().environment("EVENTFLOW_DATABASE_URL", &database.url());
    let (first, second) = (alone().start().await, alone().start().await);
    let here = Client::admin(&first).await;
    let there = here.on(&second).await;
    here.create_topic("orders").await;
    here.publish_numbered("orders", 1, 3).await;
    let mut stream = there.subscribe(from_earliest("orders")).await.unwrap();
    stream.until_caught_up().await;
    delete(&here, "orders").await.unwrap();
    ends_deleted(&mut stream).await;
    assert!(Metrics::of(&second).await.get("eventflow_polls_total") > 0);
}

/// Publishing knows topics by name for a moment: what it knows of a deleted one is not believed.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_nobody_told_refuses_events_of_a_deleted_topic() {
    let database = Database::fresh().await;
    let alone = || Server::embedded().environment("EVENTFLOW_DATABASE_URL", &database.url());
    let (first, second) = (alone().start().await, alone().start().await);
    let here = Client::admin(&first).await;
    let there = here.on(&second).await;
    here.create_topic("orders").await;
    there.publish("orders", vec![event("known")]).await.unwrap();
    delete(&here, "orders").await.unwrap();
    let refusal = there.publish("orders", vec![event("late")]).await.unwrap_err();
    assert_refused(&refusal, Code::NotFound, "TOPIC_NOT_FOUND");

    here.create_topic("orders").await;
    there.publish("orders", vec![event("new")]).await.unwrap();
    delete(&here, "orders").await.unwrap();
    here.create_topic("orders").await;
    let published = there.publish("orders", vec![event("newer")]).await.unwrap();
    assert_eq!(published[0].offset, 1, "the server that knew the old topic published to the new one at once");
    assert_eq!(everything(&here, "orders").await.len(), 1);
}
