//! Trimming and sealing by hand.

use eventflow::proto::v1;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{get, server};
use crate::{
    client::{Client, assert_refused, event, violations},
    feed::everything,
    harness::backend::{Backend, on_both_stores},
};

async fn trim(client: &Client, before_offset: i64, validate_only: bool) -> Result<(i64, i64), Status> {
    let request = v1::TrimTopicRequest { name: "orders".into(), before_offset, validate_only };
    let answer = client.topics().trim_topic(request).await?.into_inner();
    Ok((answer.trimmed_events.expect("they were counted"), answer.earliest_offset))
}

/// Five requests of ten events.
async fn fifty(client: &Client) {
    client.create_topic("orders").await;
    for n in 0..5 {
        client.publish_numbered("orders", n * 10, 10).await;
    }
}

on_both_stores! {
    async fn what_is_only_validated_is_what_would_go(backend: Backend) {
        let (_server, client) = server(backend).await;
        fifty(&client).await;
        for (before, least) in [(0, 0), (1, 0), (11, 10), (26, 20), (26, 20), (51, 50)] {
            let earliest = get(&client, "orders").await.unwrap().earliest_offset;
            let foretold = trim(&client, before, true).await.unwrap();
            assert_eq!(get(&client, "orders").await.unwrap().earliest_offset, earliest, "validating removed events");
            let done = trim(&client, before, false).await.unwrap();
            assert_eq!(foretold, done, "before {before}");
            let now = get(&client, "orders").await.unwrap();
            assert_eq!((done.0, done.1), (now.earliest_offset - earliest, now.earliest_offset));
            // Whole segments: events that share one with later ones may stay.
            assert!((least + 1..=before.max(1)).contains(&now.earliest_offset), "before {before}: {now:?}");
            assert_eq!(everything(&client, "orders").await.len() as i64, 51 - now.earliest_offset);
        }
        assert_eq!(client.publish("orders", vec![event("x")]).await.unwrap()[0].offset, 51, "an offset was used again");
    }

    async fn what_cannot_be_trimmed_is_refused_and_stays(backend: Backend) {
        let (_server, client) = server(backend).await;
        fifty(&client).await;
        for validate_only in [false, true] {
            let refusal = trim(&client, 52, validate_only).await.unwrap_err();
            assert_refused(&refusal, Code::OutOfRange, "OFFSET_BEYOND_HEAD");
            assert_eq!(refusal.get_details_error_info().unwrap().metadata["head_offset"], "50");
            let refusal = trim(&client, -1, validate_only).await.unwrap_err();
            assert_refused(&refusal, Code::InvalidArgument, "REQUEST_INVALID");
            assert_eq!(violations(&refusal), ["before_offset"]);
            for (name, code, reason) in
                [("nowhere", Code::NotFound, "TOPIC_NOT_FOUND"), ("No", Code::InvalidArgument, "NAME_INVALID")]
            {
                let request = v1::TrimTopicRequest { name: name.into(), before_offset: 1, validate_only };
                assert_refused(&client.topics().trim_topic(request).await.unwrap_err(), code, reason);
            }
        }
        assert_eq!(everything(&client, "orders").await.len(), 50);
    }

    async fn a_sealed_topic_takes_nothing_and_is_read_and_trimmed(backend: Backend) {
        let (_server, client) = server(backend).await;
        fifty(&client).await;
        let known = v1::NewEvent { id: "known".into(), ..event("known") };
        client.publish("orders", vec![known.clone()]).await.unwrap();
        let seal = |sealed| v1::UpdateTopicRequest { name: "orders".into(), sealed: Some(sealed), ..Default::default() };
        for _ in 0..2 {
            let sealed = client.topics().update_topic(seal(true)).await.unwrap().into_inner().topic.unwrap();
            assert!(sealed.sealed);
        }
        let refusal = client.publish("orders", vec![event("late")]).await.unwrap_err();
        assert_refused(&refusal, Code::FailedPrecondition, "TOPIC_SEALED");
        let repeated = client.publish("orders", vec![known]).await.unwrap();
        assert!(repeated[0].duplicate && repeated[0].offset == 51, "{repeated:?}");
        assert_eq!(trim(&client, 11, false).await.unwrap(), (10, 11));
        assert_eq!(everything(&client, "orders").await.len(), 41);
        client.topics().update_topic(seal(false)).await.unwrap();
        assert_eq!(client.publish("orders", vec![event("on")]).await.unwrap()[0].offset, 52);
    }
}
