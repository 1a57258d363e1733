//! An id is used for one content; a request that uses it for another stores nothing.

use eventflow::proto::v1;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{batch, head, keyed, places, request, with_topic};
use crate::{
    client::{Client, assert_refused, event, text},
    feed::everything,
    harness::backend::{Backend, on_both_stores},
};

#[track_caller]
fn assert_reused(status: &Status, index: usize) {
    assert_refused(status, Code::AlreadyExists, "EVENT_ID_REUSED");
    let details = status.get_error_details();
    let told = details.error_info().and_then(|info| info.metadata.get("index").cloned());
    assert_eq!(told, Some(index.to_string()), "{status:?}");
}

/// Asks whether a request would be accepted.
async fn validate(client: &Client, request: v1::PublishRequest) -> Result<Vec<v1::Published>, Status> {
    let request = v1::PublishRequest { validate_only: true, ..request };
    Ok(client.events().publish(request).await?.into_inner().published)
}

on_both_stores! {
    async fn an_id_twice_in_a_request_is_stored_once(backend: Backend) {
        let (_server, client) = with_topic(backend).await;
        let events = vec![keyed("a", "1"), keyed("b", "2"), keyed("a", "1"), event("3"), keyed("a", "1")];
        let published = client.publish("orders", events).await.unwrap();
        assert_eq!(places(&published), [(1, false), (2, false), (1, true), (3, false), (1, true)]);
        let events = everything(&client, "orders").await;
        assert_eq!(events.iter().map(text).collect::<Vec<_>>(), ["1", "2", "3"]);
    }

    async fn an_id_for_two_contents_in_a_request_is_refused_whole(backend: Backend) {
        let (_server, client) = with_topic(backend).await;
        let events = vec![keyed("new", "1"), event("2"), keyed("a", "3"), keyed("a", "4"), keyed("late", "5")];
        assert_reused(&client.publish("orders", events).await.unwrap_err(), 3);
        assert_eq!(head(&client, "orders").await, 0);
        let published = client.publish("orders", vec![keyed("a", "4"), keyed("new", "other")]).await.unwrap();
        assert_eq!(places(&published), [(1, false), (2, false)], "the ids of a refused request are not free");
    }

    async fn another_content_under_a_known_id_is_refused_whole(backend: Backend) {
        let (_server, client) = with_topic(backend).await;
        let original = v1::NewEvent { key: "k".into(), causation_id: "c".into(), ..keyed("a", "1") };
        client.publish("orders", vec![original.clone()]).await.unwrap();
        let time = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
        let payload = Some(v1::new_event::Payload::Data(b"1".to_vec().into()));
        let others = [
            v1::NewEvent { r#type: "other".into(), ..original.clone() },
            v1::NewEvent { key: String::new(), ..original.clone() },
            v1::NewEvent { time, ..original.clone() },
            v1::NewEvent { content_type: "text/html".into(), ..original.clone() },
            v1::NewEvent { attributes: [("x".to_owned(), "y".to_owned())].into(), ..original.clone() },
            v1::NewEvent { correlation_id: "together".into(), ..original.clone() },
            v1::NewEvent { causation_id: "d".into(), ..original.clone() },
            v1::NewEvent { payload, ..original.clone() },
            keyed("a", "1"),
        ];
        for other in others {
            let request = vec![keyed("new", "1"), event("2"), other.clone(), keyed("newer", "3")];
            assert_reused(&client.publish("orders", request).await.unwrap_err(), 2);
            assert_eq!(head(&client, "orders").await, 1, "{other:?}");
        }
        let published = client.publish("orders", vec![original]).await.unwrap();
        assert_eq!(places(&published), [(1, true)]);
    }

    async fn an_id_belongs_to_its_source(backend: Backend) {
        let (_server, client) = with_topic(backend).await;
        let (shop, till) = (client.producer("shop", &["orders"]).await, client.producer("till", &["orders"]).await);
        let offsets = [&client, &shop, &till].map(async |client| {
            places(&client.publish("orders", vec![keyed("a", "1")]).await.unwrap())[0]
        });
        let mut offsets = futures::future::join_all(offsets).await;
        offsets.sort_unstable();
        assert_eq!(offsets, [(1, false), (2, false), (3, false)], "one producer's id is another's");

        let at = |source: &str, text: &str| v1::NewEvent { source: source.into(), ..keyed("b", text) };
        assert_eq!(places(&shop.publish("orders", vec![at("/shared", "1")]).await.unwrap()), [(4, false)]);
        assert_eq!(places(&till.publish("orders", vec![at("/shared", "1")]).await.unwrap()), [(4, true)]);
        assert_reused(&till.publish("orders", vec![at("/shared", "2")]).await.unwrap_err(), 0);
        let apart = vec![at("/shared", "1"), at("/other", "1"), at("", "1")];
        assert_eq!(places(&shop.publish("orders", apart).await.unwrap()), [(4, true), (5, false), (6, false)]);
        // The own source, named: the same place for ids.
        let own = shop.publish("orders", vec![at("/producers/shop", "2")]).await.unwrap_err();
        assert_reused(&own, 0);
        assert_eq!(head(&client, "orders").await, 6);
    }

    async fn validating_says_what_publishing_would_and_stores_nothing(backend: Backend) {
        let (_server, client) = with_topic(backend).await;
        let first = client.publish("orders", batch("a", 2)).await.unwrap();

        let mixed = [batch("a", 1), batch("b", 2), vec![event("no id")], batch("b", 1)].concat();
        let checked = validate(&client, request(mixed)).await.unwrap();
        assert_eq!(places(&checked), [(1, true), (0, false), (0, false), (0, false), (0, true)]);
        assert_eq!(checked[0].recorded_time, first[0].recorded_time);
        assert!(checked[1..].iter().all(|published| published.recorded_time.is_none()));

        let reused = validate(&client, request(vec![keyed("b", "1"), keyed("a-1", "other")])).await;
        assert_reused(&reused.unwrap_err(), 1);
        let reused = validate(&client, request(vec![keyed("b", "1"), keyed("b", "2")])).await;
        assert_reused(&reused.unwrap_err(), 1);
        let expecting = |events| v1::PublishRequest { expected_head_offset: Some(0), ..request(events) };
        let moved = validate(&client, expecting(batch("c", 1))).await.unwrap_err();
        assert_refused(&moved, Code::Aborted, "HEAD_MOVED");
        assert_eq!(places(&validate(&client, expecting(batch("a", 2))).await.unwrap()), [(1, true), (2, true)]);
        let nowhere = v1::PublishRequest { topic: "nowhere".into(), ..request(batch("a", 1)) };
        assert_refused(&validate(&client, nowhere).await.unwrap_err(), Code::NotFound, "TOPIC_NOT_FOUND");

        assert_eq!(head(&client, "orders").await, 2);
        let published = client.publish("orders", batch("b", 2)).await.unwrap();
        assert_eq!(places(&published), [(3, false), (4, false)], "validating stored ids");
    }
}
