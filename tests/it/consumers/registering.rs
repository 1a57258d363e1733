//! Names, equality, and what a consumer cannot be.

use eventflow::proto::v1::{self, consumer::Start};
use tonic::{Code, Status};

use super::{billing, commit, get, lively, open, orders, register};
use crate::{
    client::{Client, assert_refused, violations},
    harness::backend::{Backend, on_both_stores},
};

async fn if_not_exists(client: &Client, consumer: v1::Consumer) -> Result<v1::Consumer, Status> {
    let request = v1::RegisterConsumerRequest { consumer: Some(consumer), if_not_exists: true };
    Ok(client.consumers().register_consumer(request).await?.into_inner().consumer.unwrap())
}

on_both_stores! {
    async fn a_registered_consumer_is_returned_with_defaults_and_where_it_is(backend: Backend) {
        let (_server, client) = orders(backend, 3).await;
        let given = v1::Filter { types: vec!["test".into()], ..Default::default() };
        let consumer = register(&client, v1::Consumer { filter: Some(given.clone()), ..billing() }).await.unwrap();
        assert_eq!((consumer.name.as_str(), consumer.topic.as_str()), ("billing", "orders"));
        assert_eq!((consumer.mode(), consumer.filter), (v1::Mode::Ordered, Some(given)));
        assert_eq!(consumer.start, Some(Start::StartAt(v1::StartAt::Earliest.into())));
        assert!(consumer.create_time.is_some());
        let status = consumer.status.unwrap();
        let position = status.position.unwrap();
        assert_eq!((position.offset, position.head_offset, position.earliest_offset), (0, 3, 1));
        assert_eq!((status.lag_events, status.paused, status.connection_count), (Some(3), false, 0));
        assert_eq!((status.in_flight, status.retrying, status.dead_letters), (None, None, None));
    }

    async fn an_equal_consumer_is_returned_where_it_is_only_if_that_is_asked_for(backend: Backend) {
        let (_server, client) = orders(backend, 3).await;
        let first = if_not_exists(&client, billing()).await.unwrap();
        let (_stream, epoch, _) = open(&client, lively()).await;
        commit(&client, "billing", epoch, 2).await.unwrap();
        client.publish_numbered("orders", 4, 1).await;

        let again = if_not_exists(&client, billing()).await.unwrap();
        assert_eq!(again.create_time, first.create_time);
        assert_eq!(again.status.unwrap().position.unwrap().offset, 2, "registering again moves nothing");
        let refusal = register(&client, billing()).await.unwrap_err();
        assert_refused(&refusal, Code::AlreadyExists, "CONSUMER_EXISTS");
    }

    async fn an_equal_consumer_is_returned_also_when_its_start_is_no_longer_possible(backend: Backend) {
        let (_server, client) = orders(backend, 3).await;
        client.publish_numbered("orders", 4, 3).await;
        let consumer = || v1::Consumer { start: Some(Start::AfterOffset(1)), ..billing() };
        register(&client, consumer()).await.unwrap();
        let trim = v1::TrimTopicRequest { name: "orders".into(), before_offset: 4, validate_only: false };
        client.topics().trim_topic(trim).await.unwrap();
        assert_eq!(if_not_exists(&client, consumer()).await.unwrap().name, "billing");
        assert_refused(&register(&client, consumer()).await.unwrap_err(), Code::AlreadyExists, "CONSUMER_EXISTS");
        let other = v1::Consumer { name: "other".into(), ..consumer() };
        assert_refused(&register(&client, other).await.unwrap_err(), Code::OutOfRange, "OFFSET_TRIMMED");
    }

    async fn a_name_belongs_to_one_consumer_whatever_differs(backend: Backend) {
        let (_server, client) = orders(backend, 3).await;
        client.create_topic("invoices").await;
        register(&client, billing()).await.unwrap();
        let filter = Some(v1::Filter { keys: vec!["a".into()], ..Default::default() });
        let others = [
            v1::Consumer { topic: "invoices".into(), ..billing() },
            v1::Consumer { filter, ..billing() },
            v1::Consumer { start: Some(Start::AfterOffset(1)), ..billing() },
            v1::Consumer { start: Some(Start::StartAt(v1::StartAt::Head.into())), ..billing() },
        ];
        for other in others {
            for refusal in [register(&client, other.clone()).await, if_not_exists(&client, other.clone()).await] {
                assert_refused(&refusal.unwrap_err(), Code::AlreadyExists, "CONSUMER_EXISTS");
            }
        }
        assert_eq!(get(&client, "billing").await.unwrap().filter, None);
    }

    async fn what_cannot_be_registered_is_refused_and_leaves_nothing(backend: Backend) {
        let (_server, client) = orders(backend, 1).await;
        let refused = async |consumer| register(&client, consumer).await.unwrap_err();
        let nowhere = v1::Consumer { topic: "nowhere".into(), ..billing() };
        assert_refused(&refused(nowhere).await, Code::NotFound, "TOPIC_NOT_FOUND");
        let leased = v1::Consumer { max_attempts: 3, ..billing() };
        assert_refused(&refused(leased).await, Code::InvalidArgument, "REQUEST_INVALID");
        let named = refused(v1::Consumer { name: "Billing!".into(), topic: String::new(), ..billing() }).await;
        assert_refused(&named, Code::InvalidArgument, "NAME_INVALID");
        assert_eq!(violations(&named), ["consumer.name", "consumer.topic"]);
        let keys = (0..101).map(|n| n.to_string()).collect();
        let wide = v1::Consumer { filter: Some(v1::Filter { keys, ..Default::default() }), ..billing() };
        assert_refused(&refused(wide).await, Code::InvalidArgument, "FILTER_INVALID");
        let before = v1::Consumer { start: Some(Start::AfterOffset(-1)), ..billing() };
        assert_refused(&refused(before).await, Code::InvalidArgument, "START_INVALID");

        let refusal = get(&client, "billing").await.unwrap_err();
        assert_refused(&refusal, Code::NotFound, "CONSUMER_NOT_FOUND");
    }
}
