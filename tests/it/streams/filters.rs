//! Filters let through what they should.

use std::collections::HashMap;

use eventflow::proto::v1;

use crate::{
    client::{Client, event, from_earliest, text},
    harness::backend::{Backend, on_both_stores},
};

fn map(entries: &[(&str, &str)]) -> HashMap<String, String> {
    entries.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn texts(events: &[v1::Event]) -> Vec<&str> {
    events.iter().map(text).collect()
}

on_both_stores! {
    async fn each_field_selects_and_all_fields_must_match(backend: Backend) {
        let server = backend.server().await.start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        let shop = client.producer("shop", &["ord*"]).await;
        let make = |text: &str, r#type: &str, key: &str, attributes: &[(&str, &str)], correlation: &str| v1::NewEvent {
            r#type: r#type.into(),
            key: key.into(),
            attributes: map(attributes),
            correlation_id: correlation.into(),
            ..event(text)
        };
        client.publish("orders", vec![
            make("1", "order.placed", "a", &[("region", "eu")], "x"),
            make("2", "order.paid", "b", &[("region", "us"), ("tier", "1")], "y"),
            make("3", "invoice", "a", &[], ""),
        ]).await.unwrap();
        shop.publish("orders", vec![make("4", "order.placed", "c", &[("region", "eu"), ("tier", "1")], "x")]).await.unwrap();

        let none = v1::Filter::default;
        let cases = [
            (none(), vec!["1", "2", "3", "4"]),
            (v1::Filter { types: vec!["order.*".into()], ..none() }, vec!["1", "2", "4"]),
            (v1::Filter { types: vec!["order".into()], ..none() }, vec![]),
            (v1::Filter { types: vec!["invoice".into(), "order.paid".into()], ..none() }, vec!["2", "3"]),
            (v1::Filter { keys: vec!["a".into(), "c".into()], ..none() }, vec!["1", "3", "4"]),
            (v1::Filter { attributes: map(&[("region", "eu")]), ..none() }, vec!["1", "4"]),
            (v1::Filter { attributes: map(&[("region", "eu"), ("tier", "1")]), ..none() }, vec!["4"]),
            (v1::Filter { correlation_ids: vec!["x".into()], ..none() }, vec!["1", "4"]),
            (v1::Filter { producers: vec!["producers/shop".into()], ..none() }, vec!["4"]),
            (v1::Filter { keys: vec!["a".into()], types: vec!["order.*".into()], ..none() }, vec!["1"]),
        ];
        for (filter, expected) in cases {
            let request = v1::SubscribeRequest {
                filter: Some(filter.clone()),
                stop_at: v1::StopAt::Head.into(),
                ..from_earliest("orders")
            };
            let (events, end) = client.subscribe(request).await.unwrap().rest().await;
            end.unwrap();
            assert_eq!(texts(&events), expected, "{filter:?}");
        }
    }

    async fn a_stream_says_how_far_it_is_past_what_the_filter_left_out(backend: Backend) {
        let server = backend.server().await.start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        client.publish_numbered("orders", 1, 1500).await;
        let filter = Some(v1::Filter { keys: vec!["nobody".into()], ..Default::default() });
        let request = v1::SubscribeRequest { filter, stop_at: v1::StopAt::Head.into(), ..from_earliest("orders") };
        let mut stream = client.subscribe(request).await.unwrap();
        stream.started().await;
        let mut told = 0;
        while let Some(frame) = stream.next().await.unwrap() {
            match frame {
                v1::subscribe_response::Frame::Heartbeat(heartbeat) => told = heartbeat.position.unwrap().offset,
                other => panic!("not a heartbeat: {other:?}"),
            }
        }
        assert_eq!(told, 1500);
    }
}
