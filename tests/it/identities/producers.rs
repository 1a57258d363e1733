//! Changing and deleting producers.

use eventflow::proto::v1;
use tonic::{Code, Status};

use super::{assert_denied, assert_ended, create_key, list_keys, started, whoami};
use crate::{
    client::{Client, assert_refused, event, violations},
    harness::backend::{Backend, on_both_stores},
};

async fn update(client: &Client, request: v1::UpdateProducerRequest) -> Result<v1::Producer, Status> {
    Ok(client.producers().update_producer(request).await?.into_inner().producer.expect("a producer"))
}

async fn delete(client: &Client, name: &str) -> Result<(), Status> {
    client.producers().delete_producer(v1::DeleteProducerRequest { name: name.into() }).await.map(drop)
}

fn shop() -> v1::UpdateProducerRequest {
    v1::UpdateProducerRequest { name: "shop".into(), ..Default::default() }
}

fn patterns(patterns: &[&str]) -> Option<v1::TopicPatterns> {
    Some(v1::TopicPatterns { patterns: patterns.iter().map(ToString::to_string).collect() })
}

on_both_stores! {
    async fn a_changed_producer_may_publish_where_it_says_now(backend: Backend) {
        let (_server, admin) = started(backend).await;
        for topic in ["orders", "letters"] {
            admin.create_topic(topic).await;
        }
        let key = admin.producer("shop", &["orders"]).await;
        key.publish("orders", vec![event("x")]).await.unwrap();
        let changed = update(&admin, v1::UpdateProducerRequest { topics: patterns(&["let*"]), ..shop() }).await.unwrap();
        assert_eq!((changed.topics.as_slice(), changed.disabled), (["let*".to_owned()].as_slice(), false));
        assert_denied(key.publish("orders", vec![event("x")]).await);
        key.publish("letters", vec![event("x")]).await.unwrap();

        let described = v1::UpdateProducerRequest { description: Some("The shop".into()), ..shop() };
        let changed = update(&admin, described).await.unwrap();
        assert_eq!((changed.description.as_str(), changed.topics.len()), ("The shop", 1));
        assert_eq!(update(&admin, shop()).await.unwrap(), changed, "nothing is named, and nothing changes");
        let nowhere = v1::UpdateProducerRequest { topics: patterns(&[]), ..shop() };
        assert_eq!(update(&admin, nowhere).await.unwrap().topics, [""; 0]);
        assert_denied(key.publish("letters", vec![event("x")]).await);
        let got = admin.producers().get_producer(v1::GetProducerRequest { name: "shop".into() }).await.unwrap();
        assert_eq!(got.into_inner().producer.unwrap().description, "The shop");
    }

    async fn a_name_belongs_to_one_producer_and_an_equal_one_is_returned_only_if_that_is_asked_for(backend: Backend) {
        let (_server, admin) = started(backend).await;
        let key = admin.producer("shop", &["orders"]).await;
        let register = async |if_not_exists, description: &str| {
            let (description, topics) = (description.to_owned(), vec!["orders".to_owned()]);
            let producer = Some(v1::Producer { name: "shop".into(), description, topics, ..Default::default() });
            admin.producers().register_producer(v1::RegisterProducerRequest { producer, if_not_exists }).await
        };
        for (if_not_exists, description) in [(false, ""), (false, "other"), (true, "other")] {
            let refusal = register(if_not_exists, description).await.unwrap_err();
            assert_refused(&refusal, Code::AlreadyExists, "PRODUCER_EXISTS");
        }
        assert_eq!(register(true, "").await.unwrap().into_inner().secret, "", "a secret is shown once");
        assert_eq!(whoami(&key).await.unwrap(), "producers/shop");
        assert_eq!(list_keys(&admin, "producers/shop").await.unwrap().len(), 1);
    }

    async fn a_disabled_producers_keys_are_refused_until_it_is_enabled(backend: Backend) {
        let (_server, admin) = started(backend).await;
        admin.create_topic("orders").await;
        let key = admin.producer("shop", &["orders"]).await;
        let (_, further) = create_key(&admin, "producers/shop", None).await.unwrap();
        assert!(update(&admin, v1::UpdateProducerRequest { disabled: Some(true), ..shop() }).await.unwrap().disabled);
        for client in [&key, &admin.with(&further)] {
            let refusal = client.publish("orders", vec![event("x")]).await.unwrap_err();
            assert_refused(&refusal, Code::FailedPrecondition, "PRODUCER_DISABLED");
            assert_refused(&whoami(client).await.unwrap_err(), Code::FailedPrecondition, "PRODUCER_DISABLED");
        }
        update(&admin, v1::UpdateProducerRequest { disabled: Some(false), ..shop() }).await.unwrap();
        key.publish("orders", vec![event("x")]).await.unwrap();
    }

    async fn a_deleted_producer_takes_its_keys_along_and_leaves_its_events(backend: Backend) {
        let (_server, admin) = started(backend).await;
        admin.create_topic("orders").await;
        let key = admin.producer("shop", &["orders"]).await;
        let (_, further) = create_key(&admin, "producers/shop", None).await.unwrap();
        key.publish("orders", vec![event("x")]).await.unwrap();
        delete(&admin, "shop").await.unwrap();
        assert_refused(&delete(&admin, "shop").await.unwrap_err(), Code::NotFound, "PRODUCER_NOT_FOUND");
        assert_refused(&update(&admin, shop()).await.unwrap_err(), Code::NotFound, "PRODUCER_NOT_FOUND");
        let refusal = list_keys(&admin, "producers/shop").await.unwrap_err();
        assert_refused(&refusal, Code::NotFound, "PRODUCER_NOT_FOUND");

        let new = admin.producer("shop", &["orders"]).await;
        for client in [&key, &admin.with(&further)] {
            assert_ended(whoami(client).await, "CREDENTIAL_INVALID");
        }
        assert_eq!(list_keys(&admin, "producers/shop").await.unwrap().len(), 1);
        assert_eq!(new.publish("orders", vec![event("x")]).await.unwrap()[0].offset, 2);
    }

    async fn a_change_that_cannot_be_is_refused_with_all_that_is_wrong(backend: Backend) {
        let (_server, admin) = started(backend).await;
        let wrong = v1::UpdateProducerRequest {
            name: "Shop".into(),
            description: Some("x".repeat(1025)),
            topics: patterns(&["orders", "a*b", "*"]),
            disabled: None,
        };
        let refusal = update(&admin, wrong).await.unwrap_err();
        assert_refused(&refusal, Code::InvalidArgument, "NAME_INVALID");
        assert_eq!(violations(&refusal), ["name", "description", "topics.patterns[1]"]);
        let many = vec!["orders"; 101];
        let refusal = update(&admin, v1::UpdateProducerRequest { topics: patterns(&many), ..shop() }).await.unwrap_err();
        assert_eq!(violations(&refusal), ["topics.patterns"]);
        assert_refused(&delete(&admin, "").await.unwrap_err(), Code::InvalidArgument, "NAME_INVALID");
    }
}
