//! A repeated request is answered as the first one was, whatever has changed meanwhile.

use eventflow::proto::v1;
use tonic::{Code, Request};

use super::{batch, head, keyed, places, request, with_topic};
use crate::{
    client::{Client, assert_refused, event},
    feed::everything,
    harness::backend::{Backend, on_both_stores},
};

/// The answer to a repetition: the same ids, offsets and times, as duplicates.
fn again(first: &[v1::Published]) -> Vec<v1::Published> {
    first.iter().map(|published| v1::Published { duplicate: true, ..published.clone() }).collect()
}

async fn seal(client: &Client, sealed: bool) {
    let request = v1::UpdateTopicRequest { name: "orders".into(), sealed: Some(sealed), ..Default::default() };
    client.topics().update_topic(request).await.unwrap();
}

on_both_stores! {
    async fn a_repeat_under_another_trace_is_the_same_request(backend: Backend) {
        let (_server, client) = with_topic(backend).await;
        let publish = async |traceparent: &str, correlation: &str, id: &str| {
            let mut request = Request::new(request(batch("a", 3)));
            for (name, value) in [("traceparent", traceparent), ("x-correlation-id", correlation), ("x-request-id", id)] {
                if !value.is_empty() {
                    request.metadata_mut().insert(name, value.parse().unwrap());
                }
            }
            client.events().publish(request).await.unwrap().into_inner().published
        };
        let (one, other) = ("4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331");
        let first = publish(&format!("00-{one}-01"), "together", "call-1").await;
        assert_eq!(places(&first), [(1, false), (2, false), (3, false)]);
        assert_eq!(publish(&format!("00-{other}-01"), "apart", "call-2").await, again(&first));
        assert_eq!(publish("", "", "").await, again(&first));
        let events = everything(&client, "orders").await;
        assert_eq!(events.len(), 3);
        assert!(events.iter().all(|event| event.correlation_id == "together"), "the first call's is kept");
    }

    async fn a_repeat_does_not_mind_the_head(backend: Backend) {
        let (_server, client) = with_topic(backend).await;
        let publish = async |events, expected_head_offset| {
            let request = v1::PublishRequest { expected_head_offset, ..request(events) };
            client.events().publish(request).await.map(|response| response.into_inner().published)
        };
        let first = publish(batch("a", 3), Some(0)).await.unwrap();
        publish(batch("b", 5), None).await.unwrap();
        for expected in [None, Some(0), Some(3), Some(8), Some(1_000_000)] {
            assert_eq!(publish(batch("a", 3), expected).await.unwrap(), again(&first), "{expected:?}");
        }
        let refusal = publish([batch("a", 3), batch("c", 1)].concat(), Some(0)).await.unwrap_err();
        assert_refused(&refusal, Code::Aborted, "HEAD_MOVED");
        assert_eq!(head(&client, "orders").await, 8);
    }

    async fn a_repeat_does_not_mind_the_seal(backend: Backend) {
        let (_server, client) = with_topic(backend).await;
        let first = client.publish("orders", batch("a", 3)).await.unwrap();
        seal(&client, true).await;
        assert_eq!(client.publish("orders", batch("a", 3)).await.unwrap(), again(&first));
        let other_content = client.publish("orders", vec![keyed("a-1", "other")]).await.unwrap_err();
        assert_refused(&other_content, Code::AlreadyExists, "EVENT_ID_REUSED");
        for new in [vec![keyed("new", "")], vec![event("")], [batch("a", 3), batch("b", 1)].concat()] {
            let refusal = client.publish("orders", new).await.unwrap_err();
            assert_refused(&refusal, Code::FailedPrecondition, "TOPIC_SEALED");
        }
        seal(&client, false).await;
        let published = client.publish("orders", batch("b", 1)).await.unwrap();
        assert_eq!(places(&published), [(4, false)], "a refused request left something behind");
    }

    async fn a_repeat_after_a_restart_is_known(backend: Backend) {
        let (mut server, client) = with_topic(backend).await;
        let first = client.publish("orders", batch("a", 100)).await.unwrap();
        assert_eq!(server.terminate().await, 0);
        server.restart().await;
        let client = client.on(&server).await;
        assert_eq!(client.publish("orders", batch("a", 100)).await.unwrap(), again(&first));
        server.restart().await;
        let client = client.on(&server).await;
        let one_by_one = batch("a", 100);
        for n in [99, 0, 50] {
            let published = client.publish("orders", vec![one_by_one[n].clone()]).await.unwrap();
            assert_eq!(published, again(&first[n..=n]));
        }
        assert_eq!(head(&client, "orders").await, 100);
    }

    async fn a_part_of_a_request_and_another_order_are_known(backend: Backend) {
        let (_server, client) = with_topic(backend).await;
        client.publish("orders", batch("a", 4)).await.unwrap();
        let mut events = batch("a", 4);
        events.reverse();
        let published = client.publish("orders", events[1..].to_vec()).await.unwrap();
        assert_eq!(places(&published), [(3, true), (2, true), (1, true)]);
    }

    async fn new_events_among_known_ones_are_stored_in_one_piece(backend: Backend) {
        let (_server, client) = with_topic(backend).await;
        client.publish("orders", batch("a", 3)).await.unwrap();
        client.publish("orders", batch("b", 2)).await.unwrap();
        let (a, b, c) = (batch("a", 3), batch("b", 2), batch("c", 3));
        let mixed = vec![c[0].clone(), a[2].clone(), c[1].clone(), event("no id"), b[0].clone(), c[2].clone()];
        let published = client.publish("orders", mixed.clone()).await.unwrap();
        assert_eq!(places(&published), [(6, false), (3, true), (7, false), (8, false), (4, true), (9, false)]);
        let published = client.publish("orders", mixed[..3].to_vec()).await.unwrap();
        assert_eq!(places(&published), [(6, true), (3, true), (7, true)]);
        assert_eq!(head(&client, "orders").await, 9);
    }

    async fn ids_belong_to_their_topic(backend: Backend) {
        let (_server, client) = with_topic(backend).await;
        client.create_topic("invoices").await;
        client.publish("orders", batch("a", 3)).await.unwrap();
        let published = client.publish("invoices", vec![keyed("a-2", "other"), keyed("a-0", "text 0")]).await.unwrap();
        assert_eq!(places(&published), [(1, false), (2, false)]);
    }
}
