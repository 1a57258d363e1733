//! `GetEvent`.

use eventflow::proto::v1::{self, get_event_request::By};
use tonic::{Code, Status};

use super::trim;
use crate::{
    client::{Client, assert_refused, event, text, violations},
    harness::backend::{Backend, on_both_stores},
};

async fn get(client: &Client, by: By, source: &str) -> Result<v1::Event, Status> {
    let request = v1::GetEventRequest { topic: "orders".into(), by: Some(by), source: source.into() };
    Ok(client.events().get_event(request).await?.into_inner().event.expect("always set"))
}

async fn at(client: &Client, offset: i64) -> Result<v1::Event, Status> {
    get(client, By::Offset(offset), "").await
}

async fn by_id(client: &Client, id: &str, source: &str) -> Result<v1::Event, Status> {
    get(client, By::Id(id.into()), source).await
}

#[track_caller]
fn assert_missing(result: Result<v1::Event, Status>) {
    assert_refused(&result.expect_err("it is not there"), Code::NotFound, "EVENT_NOT_FOUND");
}

fn keyed(id: &str, source: &str, text: &str) -> v1::NewEvent {
    v1::NewEvent { id: id.into(), source: source.into(), ..event(text) }
}

on_both_stores! {
    async fn an_event_is_found_by_its_offset_wherever_it_lies(backend: Backend) {
        let server = backend.server().await.start().await;
        let admin = Client::admin(&server).await;
        admin.create_topic("orders").await;
        for count in [1, 500, 3] {
            admin.publish("orders", (0..count).map(|n| event(&n.to_string())).collect()).await.unwrap();
        }
        for (offset, wanted) in [(1, "0"), (2, "0"), (251, "249"), (501, "499"), (502, "0"), (504, "2")] {
            let found = at(&admin, offset).await.unwrap();
            assert_eq!((found.offset, text(&found), found.topic.as_str()), (offset, wanted, "orders"));
            assert!(found.recorded_time.is_some() && found.producer == "users/admin", "{found:?}");
        }
        for offset in [505, 1_000_000, i64::MAX] {
            assert_missing(at(&admin, offset).await);
        }
    }

    async fn an_event_is_found_by_the_id_that_its_producer_gave_and_its_source(backend: Backend) {
        let server = backend.server().await.start().await;
        let admin = Client::admin(&server).await;
        admin.create_topic("orders").await;
        let long = "x".repeat(128);
        let ids = ["one", "0198f2d4-0000-7000-8000-000000000001", "ü/ \"", &long];
        let published = admin.publish("orders", ids.map(|id| keyed(id, "", id)).to_vec()).await.unwrap();
        admin.publish("orders", vec![keyed("one", "/shop", "elsewhere")]).await.unwrap();
        for (id, published) in ids.iter().zip(&published) {
            for source in ["", "/users/admin"] {
                let found = by_id(&admin, id, source).await.unwrap();
                assert_eq!((found.offset, found.id.as_str(), text(&found)), (published.offset, *id, *id));
            }
        }
        let found = by_id(&admin, "one", "/shop").await.unwrap();
        assert_eq!((found.offset, text(&found)), (5, "elsewhere"));
        for (id, source) in [("two", ""), ("one", "/other"), ("ONE", ""), ("one ", ""), ("one", "/users/admin/")] {
            assert_missing(by_id(&admin, id, source).await);
        }
        // Found where it was first recorded, however often it is sent.
        admin.publish("orders", vec![keyed("one", "", "one")]).await.unwrap();
        assert_eq!(by_id(&admin, "one", "").await.unwrap().offset, 1);
    }

    async fn an_id_that_the_server_assigned_is_not_indexed(backend: Backend) {
        let server = backend.server().await.start().await;
        let admin = Client::admin(&server).await;
        admin.create_topic("orders").await;
        let published = admin.publish("orders", vec![event("x")]).await.unwrap();
        assert_missing(by_id(&admin, &published[0].id, "").await);
        assert_eq!(at(&admin, published[0].offset).await.unwrap().id, published[0].id);
    }

    async fn trimmed_events_are_not_found(backend: Backend) {
        let server = backend.server().await.start().await;
        let admin = Client::admin(&server).await;
        admin.create_topic("orders").await;
        for id in ["a", "b", "c"] {
            admin.publish("orders", vec![keyed(id, "", id)]).await.unwrap();
        }
        // The newest events are in memory here, which must not show what is gone.
        assert_eq!(trim(&admin, 3).await, 3);
        for offset in [1, 2] {
            assert_missing(at(&admin, offset).await);
        }
        assert_missing(by_id(&admin, "b", "").await);
        assert_eq!(by_id(&admin, "c", "").await.unwrap().offset, 3);
        trim(&admin, 4).await;
        assert_missing(at(&admin, 3).await);
        assert_missing(at(&admin, 4).await);
    }

    async fn a_producer_key_sees_its_own_events_on_its_topics_and_nothing_of_others(backend: Backend) {
        let server = backend.server().await.start().await;
        let admin = Client::admin(&server).await;
        admin.create_topic("orders").await;
        let (shop, office) =
            (admin.producer("shop", &["orders"]).await, admin.producer("office", &["orders", "letters"]).await);
        let elsewhere = admin.producer("elsewhere", &["letters"]).await;
        shop.publish("orders", vec![keyed("one", "", "of shop")]).await.unwrap();
        office.publish("orders", vec![keyed("one", "", "of office"), keyed("two", "/common", "common")]).await.unwrap();

        assert_eq!(text(&at(&shop, 1).await.unwrap()), "of shop");
        assert_eq!(by_id(&shop, "one", "").await.unwrap().offset, 1);
        assert_eq!(by_id(&office, "one", "").await.unwrap().offset, 2);
        let none = at(&shop, 99).await.unwrap_err();
        for hidden in [at(&shop, 2).await, by_id(&shop, "one", "/producers/office").await] {
            let hidden = hidden.unwrap_err();
            assert_refused(&hidden, Code::NotFound, "EVENT_NOT_FOUND");
            assert!(!hidden.message().contains("may not"), "it tells that there is one: {hidden:?}");
        }
        // What belongs to somebody else looks like what was never there.
        assert_eq!(at(&shop, 2).await.unwrap_err().message().replace('2', "99"), none.message());
        assert_missing(by_id(&shop, "two", "/common").await);
        assert_eq!(by_id(&office, "two", "/common").await.unwrap().offset, 3);
        assert_refused(&at(&elsewhere, 1).await.unwrap_err(), Code::PermissionDenied, "PERMISSION_DENIED");
        let missing = v1::GetEventRequest { topic: "letters".into(), by: Some(By::Offset(1)), ..Default::default() };
        let refusal = office.events().get_event(missing).await.unwrap_err();
        assert_refused(&refusal, Code::NotFound, "TOPIC_NOT_FOUND");
        assert_eq!(text(&by_id(&admin, "one", "/producers/office").await.unwrap()), "of office");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_name_no_event_are_refused_by_field() {
    let server = Backend::Sqlite.server().await.start().await;
    let admin = Client::admin(&server).await;
    admin.create_topic("orders").await;
    let request = |topic: &str, by: Option<By>, source: &str| v1::GetEventRequest {
        topic: topic.into(),
        by,
        source: source.into(),
    };
    let long = "x".repeat(129);
    for (request, reason, field) in [
        (request("orders", None, ""), "REQUEST_INVALID", "by"),
        (request("orders", Some(By::Offset(0)), ""), "REQUEST_INVALID", "offset"),
        (request("orders", Some(By::Offset(-1)), ""), "REQUEST_INVALID", "offset"),
        (request("orders", Some(By::Offset(i64::MIN)), ""), "REQUEST_INVALID", "offset"),
        (request("orders", Some(By::Offset(1)), "/s"), "REQUEST_INVALID", "source"),
        (request("orders", Some(By::Id(String::new())), ""), "REQUEST_INVALID", "id"),
        (request("orders", Some(By::Id(long)), ""), "REQUEST_INVALID", "id"),
        (request("orders", Some(By::Id("a\0b".into())), ""), "REQUEST_INVALID", "id"),
        (request("orders", Some(By::Id("a".into())), "a\0b"), "REQUEST_INVALID", "source"),
        (request("orders", Some(By::Id("x".into())), &"s".repeat(256)), "REQUEST_INVALID", "source"),
        (request("", Some(By::Offset(1)), ""), "NAME_INVALID", "topic"),
        (request("Orders", Some(By::Offset(1)), ""), "NAME_INVALID", "topic"),
    ] {
        let refusal = admin.events().get_event(request.clone()).await.unwrap_err();
        assert_refused(&refusal, Code::InvalidArgument, reason);
        assert_eq!(violations(&refusal), [field], "{request:?}");
    }
    let taken =
        v1::GetEventRequest { topic: "orders".into(), by: Some(By::Id("x".repeat(128))), source: "s".repeat(255) };
    let refusal = admin.events().get_event(taken).await.unwrap_err();
    assert_refused(&refusal, Code::NotFound, "EVENT_NOT_FOUND");
    let refusal = admin.events().get_event(request("nowhere", Some(By::Offset(1)), "")).await.unwrap_err();
    assert_refused(&refusal, Code::NotFound, "TOPIC_NOT_FOUND");
}
