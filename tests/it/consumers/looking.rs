//! Seeing consumers: position, lag, connections, and lists.

use std::time::Duration;

use eventflow::proto::v1;
use tonic::Code;

use super::{billing, commit, get, lively, open, orders, register, status};
use crate::{
    client::{Client, assert_refused},
    harness::{
        backend::{Backend, on_both_stores},
        patience::eventually,
    },
};

/// The names on one page, and the token of the next.
async fn page(client: &Client, topic: &str, page_size: i32, token: &str) -> (Vec<String>, String) {
    let request = v1::ListConsumersRequest { topic: topic.into(), page_size, page_token: token.into() };
    let response = client.consumers().list_consumers(request).await.unwrap().into_inner();
    (response.consumers.into_iter().map(|consumer| consumer.name).collect(), response.next_page_token)
}

on_both_stores! {
    async fn lag_is_counted_in_events_and_in_time_from_the_stored_offset(backend: Backend) {
        let (_server, client) = orders(backend, 3).await;
        register(&client, billing()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let behind = status(&client, "billing").await;
        assert_eq!(behind.lag_events, Some(3));
        assert!(behind.lag_time.unwrap().seconds >= 1, "{:?}", behind.lag_time);

        let (_stream, epoch, _) = open(&client, lively()).await;
        commit(&client, "billing", epoch, 2).await.unwrap();
        assert_eq!(status(&client, "billing").await.lag_events, Some(1));

        commit(&client, "billing", epoch, 3).await.unwrap();
        let done = status(&client, "billing").await;
        assert_eq!(done.lag_events, Some(0));
        assert_eq!(done.lag_time, Some(prost_types::Duration { seconds: 0, nanos: 0 }));
        let position = done.position.unwrap();
        assert_eq!((position.offset, position.head_offset, position.earliest_offset), (3, 3, 1));
    }

    async fn a_stream_is_listed_with_its_client_and_its_server_while_it_is_open(backend: Backend) {
        let (server, client) = orders(backend, 3).await;
        register(&client, billing()).await.unwrap();
        let mut stream = client.subscribe(lively()).await.unwrap();
        let started = stream.started().await;

        let open = status(&client, "billing").await;
        assert_eq!((open.epoch, open.connection_count), (started.epoch, 1));
        let [connection] = &open.connections[..] else { panic!("not one connection: {open:?}") };
        assert_eq!(connection.subscription_id, started.subscription_id);
        assert_eq!(connection.server, server.listen().to_string());
        assert!(connection.peer.starts_with("127.0.0.1:") && connection.peer != connection.server, "{connection:?}");
        assert!(connection.connect_time.is_some());

        drop(stream);
        eventually("no connections", async || {
            let now = status(&client, "billing").await;
            (now.connection_count == 0 && now.connections.is_empty()).then_some(())
        }).await;
        assert_eq!(status(&client, "billing").await.epoch, started.epoch, "leaving makes no new epoch");
    }

    async fn consumers_are_listed_by_name_in_pages_and_by_topic(backend: Backend) {
        let (_server, client) = orders(backend, 0).await;
        client.create_topic("invoices").await;
        for (name, topic) in [("d", "orders"), ("b", "invoices"), ("a", "orders"), ("e", "orders"), ("c", "invoices")] {
            client.register(name, topic).await;
        }
        let (first, token) = page(&client, "", 2, "").await;
        let (second, token) = page(&client, "", 2, &token).await;
        let (third, end) = page(&client, "", 2, &token).await;
        assert_eq!((first, second), (vec!["a".into(), "b".into()], vec!["c".into(), "d".into()]));
        assert_eq!((third, end.as_str()), (vec!["e".into()], ""));

        let (first, token) = page(&client, "orders", 2, "").await;
        let (second, end) = page(&client, "orders", 2, &token).await;
        assert_eq!((first, second, end.as_str()), (vec!["a".into(), "d".into()], vec!["e".into()], ""));
        assert_eq!(page(&client, "invoices", 0, "").await, (vec!["b".into(), "c".into()], String::new()));

        let request = v1::ListConsumersRequest { topic: "invoices".into(), page_size: 2, page_token: token };
        let refusal = client.consumers().list_consumers(request).await.unwrap_err();
        assert_refused(&refusal, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
        let request = v1::ListConsumersRequest { topic: "nowhere".into(), ..Default::default() };
        let refusal = client.consumers().list_consumers(request).await.unwrap_err();
        assert_refused(&refusal, Code::NotFound, "TOPIC_NOT_FOUND");
    }

    async fn a_list_says_where_each_consumer_is(backend: Backend) {
        let (_server, client) = orders(backend, 3).await;
        register(&client, billing()).await.unwrap();
        let (_stream, epoch, _) = open(&client, lively()).await;
        commit(&client, "billing", epoch, 1).await.unwrap();
        let listed = client.consumers().list_consumers(v1::ListConsumersRequest::default()).await.unwrap().into_inner();
        let status = listed.consumers[0].status.clone().unwrap();
        assert_eq!((status.position.unwrap().offset, status.lag_events, status.epoch), (1, Some(2), epoch));
        assert!(status.connections.is_empty(), "connections are shown by GetConsumer only");
    }

    async fn an_unknown_consumer_is_not_found(backend: Backend) {
        let (_server, client) = orders(backend, 0).await;
        assert_refused(&get(&client, "nobody").await.unwrap_err(), Code::NotFound, "CONSUMER_NOT_FOUND");
        assert_refused(&get(&client, "No!").await.unwrap_err(), Code::InvalidArgument, "NAME_INVALID");
        let request = crate::client::as_consumer("nobody");
        assert_refused(&client.subscribe(request).await.unwrap_err(), Code::NotFound, "CONSUMER_NOT_FOUND");
    }
}
