//! VerifyTopic where nothing was altered: noted hashes, trims, restores, parts, refusals.

use eventflow::proto::v1::{self, verify_topic_response::NotedHash};
use tonic::Code;

use super::{packed_to, packing, part, publish_alone, verify, verify_noted};
use crate::{
    client::{Client, assert_refused, event, violations},
    harness::{
        backend::{Backend, on_both_stores},
        server::Server,
    },
};

fn request(name: &str) -> v1::VerifyTopicRequest {
    v1::VerifyTopicRequest { name: name.into(), ..Default::default() }
}

async fn trim(client: &Client, before_offset: i64) -> i64 {
    let trim = v1::TrimTopicRequest { name: "orders".into(), before_offset, validate_only: false };
    client.topics().trim_topic(trim).await.unwrap().into_inner().earliest_offset
}

on_both_stores! {
    async fn a_noted_hash_is_confirmed_until_it_is_trimmed(backend: Backend) {
        let server = backend.server().await.flag("--pack-after", "2s").start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        let empty = verify(&client, "orders").await;
        assert_eq!((empty.verified_offset, empty.hash.as_str(), empty.packed_offset, empty.earliest_offset), (0, "", 0, 1));

        let mut noted = Vec::new();
        for round in 1..=3 {
            publish_alone(&client, "orders", 9).await;
            let found = packed_to(&client, "orders", round * 10).await;
            assert_eq!((found.verified_offset, found.verified_events), (round * 10, round * 10));
            assert_eq!(found.hash.len(), 64);
            noted.push((found.hash, found.verified_offset));
        }
        let ask = async |hash: &str, offset| verify_noted(&client, "orders", hash, offset).await.noted();
        for (hash, offset) in &noted {
            assert_eq!(ask(hash, *offset).await, NotedHash::Matches, "at {offset}");
            assert_eq!(ask(&hash.to_uppercase(), *offset).await, NotedHash::Matches);
        }
        let [(first, _), (second, _), (third, _)] = &noted[..] else { panic!("three were noted") };
        assert_eq!(ask(first, 20).await, NotedHash::Differs);
        // No range ends there.
        assert_eq!(ask(first, 4).await, NotedHash::Differs);
        assert_eq!(ask(third, 31).await, NotedHash::Beyond);
        assert_eq!(ask("", 0).await, NotedHash::Unspecified);

        // The last link that was trimmed still counts, as the place where the chain is fastened.
        assert_eq!(trim(&client, 21).await, 21);
        let found = verify(&client, "orders").await;
        assert_eq!((found.altered, found.verified_offset, found.verified_events), (None, 30, 10));
        assert_eq!((&found.hash, found.earliest_offset), (third, 21));
        assert_eq!(ask(first, 10).await, NotedHash::Trimmed);
        assert_eq!(ask(second, 20).await, NotedHash::Matches);
        assert_eq!(ask(first, 20).await, NotedHash::Differs);
        assert_eq!(ask(third, 30).await, NotedHash::Matches);
        assert_eq!(trim(&client, 31).await, 31);
        let found = verify(&client, "orders").await;
        assert_eq!((found.verified_offset, &found.hash, found.verified_events), (30, third, 0));
        assert_eq!(ask(third, 30).await, NotedHash::Matches);
        assert_eq!(ask(second, 20).await, NotedHash::Trimmed);
    }

    async fn a_long_topic_is_verified_in_parts(backend: Backend) {
        let server = packing(backend.server().await).start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        client.publish_numbered("orders", 0, 60_000).await;
        publish_alone(&client, "orders", 1).await;
        let whole = packed_to(&client, "orders", 60_002).await;
        assert_eq!((whole.verified_events, whole.verified_offset), (60_002, 60_002));
        let noted = v1::VerifyTopicRequest { noted_hash: whole.hash.clone(), noted_offset: 60_002, ..request("orders") };
        let first = part(&client, noted.clone()).await.unwrap();
        assert!((50_000..55_000).contains(&first.verified_events), "{} events in a part", first.verified_events);
        assert!(!first.next_page_token.is_empty() && first.noted() == NotedHash::Unspecified);
        let next = v1::VerifyTopicRequest { page_token: first.next_page_token.clone(), ..noted.clone() };
        let second = part(&client, next.clone()).await.unwrap();
        assert_eq!((second.noted(), second.verified_offset, &second.hash), (NotedHash::Matches, 60_002, &whole.hash));
        assert_eq!(first.verified_events + second.verified_events, 60_002);
        // Trimmed between two parts: what is left is verified.
        trim(&client, first.verified_offset + 1001).await;
        let rest = part(&client, next).await.unwrap();
        assert_eq!((rest.altered, rest.noted(), rest.verified_offset), (None, NotedHash::Matches, 60_002));
        // A token belongs to its query.
        let other = v1::VerifyTopicRequest { page_token: first.next_page_token, ..request("orders") };
        assert_refused(&part(&client, other).await.unwrap_err(), Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    }

    async fn bad_requests_are_refused(backend: Backend) {
        let server = backend.server().await.start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        client.publish("orders", vec![event("x")]).await.unwrap();
        assert_refused(&part(&client, request("missing")).await.unwrap_err(), Code::NotFound, "TOPIC_NOT_FOUND");
        assert_refused(&part(&client, request("")).await.unwrap_err(), Code::InvalidArgument, "NAME_INVALID");
        let noted = |noted_hash: &str, noted_offset| {
            v1::VerifyTopicRequest { noted_hash: noted_hash.into(), noted_offset, ..request("orders") }
        };
        let hash = "0123456789abcdef".repeat(4);
        for (hash, offset, field) in [
            (&hash[1..], 1, "noted_hash"),
            (&format!("{hash}0"), 1, "noted_hash"),
            (&hash.replace('a', "g"), 1, "noted_hash"),
            ("", 1, "noted_hash"),
            (&hash, 0, "noted_offset"),
            (&hash, -1, "noted_offset"),
            (&hash, i64::MIN, "noted_offset"),
        ] {
            let refusal = part(&client, noted(hash, offset)).await.unwrap_err();
            assert_refused(&refusal, Code::InvalidArgument, "REQUEST_INVALID");
            assert_eq!(violations(&refusal), [field], "{hash} at {offset}");
        }
        for offset in [1, i64::MAX] {
            assert_eq!(part(&client, noted(&hash, offset)).await.unwrap().noted(), NotedHash::Beyond);
        }
        let token = v1::VerifyTopicRequest { page_token: "AAAA".into(), ..request("orders") };
        assert_refused(&part(&client, token).await.unwrap_err(), Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    }
}

/// Another topic of the same name is another log: the token of the old one is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_does_not_outlive_its_log() {
    let server = packing(Server::embedded()).start().await;
    let client = Client::admin(&server).await;
    client.create_topic("orders").await;
    client.publish_numbered("orders", 0, 60_000).await;
    publish_alone(&client, "orders", 1).await;
    packed_to(&client, "orders", 60_002).await;
    let first = part(&client, request("orders")).await.unwrap();
    client.topics().delete_topic(v1::DeleteTopicRequest { name: "orders".into() }).await.unwrap();
    client.create_topic("orders").await;
    let next = v1::VerifyTopicRequest { page_token: first.next_page_token, ..request("orders") };
    assert_refused(&part(&client, next).await.unwrap_err(), Code::FailedPrecondition, "LOG_REPLACED");
}
