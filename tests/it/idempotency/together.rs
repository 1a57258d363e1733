//! Many callers at once: each id is stored once, and nobody pays for what another one did.

use std::sync::Arc;

use eventflow::proto::v1;
use futures::future::join_all;
use tokio::sync::Barrier;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{batch, head, keyed, places, request, with_topic};
use crate::{
    client::{Client, assert_refused},
    feed::everything,
    harness::backend::{Backend, on_both_stores},
};

type Answer = Result<Vec<v1::Published>, Status>;

/// Sends requests at the same moment, each on a task of its own.
async fn at_once(client: &Client, requests: Vec<v1::PublishRequest>) -> Vec<Answer> {
    let barrier = Arc::new(Barrier::new(requests.len()));
    let send = |request| {
        let (client, barrier) = (client.clone(), barrier.clone());
        tokio::spawn(async move {
            barrier.wait().await;
            client.events().publish(request).await.map(|response| response.into_inner().published)
        })
    };
    let answers = join_all(requests.into_iter().map(send).collect::<Vec<_>>()).await;
    answers.into_iter().map(|answer| answer.expect("a call does not panic")).collect()
}

on_both_stores! {
    async fn callers_with_the_same_ids_agree(backend: Backend) {
        const CALLERS: usize = 16;
        let (_server, client) = with_topic(backend).await;
        for round in 0..10 {
            let events = batch(&format!("round-{round}"), 50);
            // Half of them in another order, so that requests overlap in every way.
            let requests = (0..CALLERS).map(|caller| {
                let mut events = events.clone();
                events.rotate_left(if caller % 2 == 0 { 0 } else { 3 * caller });
                request(events)
            });
            let mut places: Vec<Vec<(String, i64)>> = Vec::new();
            let mut new = 0;
            for answer in at_once(&client, requests.collect()).await {
                let published = answer.unwrap();
                new += published.iter().filter(|published| !published.duplicate).count();
                let mut ids: Vec<_> = published.into_iter().map(|published| (published.id, published.offset)).collect();
                ids.sort_unstable();
                places.push(ids);
            }
            assert_eq!(new, 50, "each event is new to exactly one caller");
            assert!(places.iter().all(|ids| *ids == places[0]), "two callers were told different offsets");
            assert_eq!(head(&client, "orders").await, 50 * (round + 1));
        }
        let mut ids: Vec<_> = everything(&client, "orders").await.into_iter().map(|event| event.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 500);
    }

    async fn a_bad_request_fails_alone(backend: Backend) {
        let (_server, client) = with_topic(backend).await;
        client.publish("orders", vec![keyed("taken", "1")]).await.unwrap();
        let mut stored = 1;
        for round in 0..20 {
            let name = |kind: &str, n: usize| format!("{round}-{kind}-{n}");
            let good = (0..8).map(|n| request([batch(&name("good", n), 3), vec![keyed("taken", "1")]].concat()));
            let bad = (0..4).map(|n| request([batch(&name("bad", n), 3), vec![keyed("taken", "2")]].concat()));
            let contradicting = (0..4).map(|n| {
                request([batch(&name("ugly", n), 3), vec![keyed(&name("x", n), "1"), keyed(&name("x", n), "2")]].concat())
            });
            // Good ones and bad ones in turn, so that they are appended together.
            let mut requests: Vec<_> = good.chain(bad).chain(contradicting).enumerate().collect();
            requests.sort_by_key(|(n, _)| (n % 4, *n));
            let (order, requests): (Vec<_>, Vec<_>) = requests.into_iter().unzip();
            for (n, answer) in order.into_iter().zip(at_once(&client, requests).await) {
                match answer {
                    Ok(published) => {
                        assert!(n < 8, "a bad request was accepted");
                        let first = published[0].offset;
                        let expected = [(first, false), (first + 1, false), (first + 2, false), (1, true)];
                        assert_eq!(places(&published), expected);
                        stored += 3;
                    }
                    Err(status) => {
                        assert!(n >= 8, "a good request failed: {status:?}");
                        assert_refused(&status, Code::AlreadyExists, "EVENT_ID_REUSED");
                    }
                }
            }
        }
        assert_eq!(stored, 1 + 20 * 8 * 3);
        assert_eq!(head(&client, "orders").await, stored);
        let events = everything(&client, "orders").await;
        assert!(events.iter().all(|event| event.id == "taken" || event.id.contains("good")), "a bad request left events");
    }

    async fn one_of_those_who_expect_the_same_head_wins(backend: Backend) {
        const CALLERS: i64 = 12;
        let (_server, client) = with_topic(backend).await;
        for round in 0..10 {
            let requests = (0..CALLERS).map(|caller| v1::PublishRequest {
                expected_head_offset: Some(2 * round),
                ..request(batch(&format!("{round}-{caller}"), 2))
            });
            let mut winners = Vec::new();
            for answer in at_once(&client, requests.collect()).await {
                match answer {
                    Ok(published) => winners.push(places(&published)),
                    Err(status) => {
                        assert_refused(&status, Code::Aborted, "HEAD_MOVED");
                        let details = status.get_error_details();
                        let told = details.error_info().and_then(|info| info.metadata.get("head_offset").cloned());
                        assert_eq!(told, Some((2 * round + 2).to_string()), "{status:?}");
                    }
                }
            }
            assert_eq!(winners, [vec![(2 * round + 1, false), (2 * round + 2, false)]]);
        }
        assert_eq!(head(&client, "orders").await, 20);
    }

    async fn expecting_a_head_among_others_who_do_not_is_all_or_nothing(backend: Backend) {
        let (_server, client) = with_topic(backend).await;
        for round in 0..20 {
            let before = head(&client, "orders").await;
            let careful = v1::PublishRequest {
                expected_head_offset: Some(before),
                ..request(batch(&format!("{round}-careful"), 2))
            };
            let others = (0..8).map(|n| request(batch(&format!("{round}-{n}"), 1)));
            let mut answers = at_once(&client, [careful].into_iter().chain(others).collect()).await;
            let careful = answers.remove(0);
            assert!(answers.iter().all(Result::is_ok), "another caller's condition failed a request");
            let stored = match careful {
                Ok(published) => {
                    assert_eq!(places(&published), [(before + 1, false), (before + 2, false)]);
                    10
                }
                Err(status) => {
                    assert_refused(&status, Code::Aborted, "HEAD_MOVED");
                    8
                }
            };
            assert_eq!(head(&client, "orders").await, before + stored);
        }
    }
}
