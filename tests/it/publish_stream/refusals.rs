//! A request that is refused is refused alone, as Publish would have refused it.

use std::collections::{BTreeMap, HashMap};

use eventflow::proto::v1::{self, PublishRequest, PublishStreamRequest};
use prost::Message;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{Pipe, head, keyed, offsets, on, reason, to};
use crate::{
    client::{Client, assert_refused, event, violations},
    harness::backend::{Backend, on_both_stores},
};

async fn seal(client: &Client, topic: &str) {
    let seal = v1::UpdateTopicRequest { name: topic.into(), sealed: Some(true), ..Default::default() };
    client.topics().update_topic(seal).await.expect("a topic can be sealed");
}

/// What a status says, but for the request id.
fn said(status: &Status) -> (Code, String, BTreeMap<String, String>, String) {
    let mut details = status.get_error_details();
    assert!(details.request_info().is_some_and(|info| !info.request_id.is_empty()), "no request id: {status:?}");
    details.set_request_info("", "");
    let info = details.error_info().expect("ErrorInfo").clone();
    details.set_error_info(info.reason, info.domain, HashMap::<String, String>::new());
    (status.code(), status.message().to_owned(), info.metadata.into_iter().collect(), format!("{details:?}"))
}

/// Requests that are refused, with the reason.
fn bad_requests() -> Vec<(&'static str, PublishRequest)> {
    let zero = v1::NewEvent { key: "a\0b".into(), ..event("x") };
    let foreign = v1::NewEvent { source: "/producers/shop".into(), ..event("x") };
    let many = (0..1001).map(|n| event(&n.to_string())).collect();
    let reused = v1::NewEvent { id: "known".into(), ..event("other") };
    vec![
        ("BATCH_INVALID", to("orders", vec![])),
        ("BATCH_INVALID", to("orders", many)),
        ("NAME_INVALID", to("", vec![event("x")])),
        ("NAME_INVALID", to("Orders", vec![event("x")])),
        ("EVENT_INVALID", to("orders", vec![event("x"), v1::NewEvent::default()])),
        ("EVENT_INVALID", to("orders", vec![zero, v1::NewEvent { r#type: "a*".into(), ..event("x") }])),
        ("EVENT_INVALID", to("orders", vec![event("good"), foreign])),
        ("REQUEST_INVALID", PublishRequest { expected_head_offset: Some(-1), ..to("orders", vec![event("x")]) }),
        ("TOPIC_NOT_FOUND", to("nowhere", vec![event("x")])),
        ("TOPIC_SEALED", to("sealed", vec![event("x")])),
        ("EVENT_ID_REUSED", to("orders", vec![event("new"), reused])),
        ("EVENT_ID_REUSED", to("orders", vec![keyed("twice"), v1::NewEvent { id: "twice".into(), ..event("x") }])),
        ("HEAD_MOVED", PublishRequest { expected_head_offset: Some(99), ..to("orders", vec![event("x")]) }),
        ("TOPIC_SEALED", PublishRequest { validate_only: true, ..to("sealed", vec![event("x")]) }),
    ]
}

on_both_stores! {
    async fn every_refusal_is_alone_and_says_what_publish_would_have_said(backend: Backend) {
        let (_server, admin) = on(backend, &["orders", "sealed"]).await;
        seal(&admin, "sealed").await;
        admin.publish("orders", vec![keyed("known")]).await.unwrap();
        let (bad, mut pipe) = (bad_requests(), Pipe::open(&admin).await.unwrap());
        let mut next = 2;
        for (sequence, (wanted, request)) in bad.iter().enumerate() {
            let alone = admin.events().publish(request.clone()).await.unwrap_err();
            assert_refused(&alone, alone.code(), wanted);
            pipe.send(sequence as i64, request.clone()).await;
            let (echoed, refusal) = pipe.answer().await;
            let refusal = refusal.unwrap_err();
            assert_eq!(echoed, sequence as i64);
            assert_refused(&refusal, alone.code(), wanted);
            assert_eq!(said(&refusal), said(&alone), "{wanted}");
            // The stream goes on, for the same topic too.
            pipe.send(-1, to("orders", vec![event("good")])).await;
            assert_eq!(offsets(&pipe.answer().await), [next], "after {wanted}");
            next += 1;
        }
        assert_eq!(head(&admin, "orders").await, next - 1);
    }

    async fn refusals_stand_among_answers_in_the_order_of_the_requests(backend: Backend) {
        let (_server, admin) = on(backend, &["orders", "sealed"]).await;
        seal(&admin, "sealed").await;
        admin.publish("orders", vec![keyed("known")]).await.unwrap();
        let mut pipe = Pipe::open(&admin).await.unwrap();
        let mut wanted = Vec::new();
        for round in 0..20 {
            for (n, (reason, request)) in bad_requests().into_iter().enumerate() {
                pipe.send(round * 100 + n as i64, to("orders", vec![event("good")])).await;
                pipe.send(-1, request).await;
                wanted.extend(["-", reason]);
            }
        }
        pipe.close();
        let (answers, _, end) = pipe.rest().await;
        end.unwrap();
        assert_eq!(answers.iter().map(reason).collect::<Vec<_>>(), wanted);
        let good: Vec<i64> = answers.iter().filter(|answer| answer.1.is_ok()).flat_map(offsets).collect();
        assert_eq!(good, (2..=good.len() as i64 + 1).collect::<Vec<_>>());
        assert_eq!(head(&admin, "orders").await, good.len() as i64 + 1);
    }

    async fn a_request_without_a_publish_is_refused_alone(backend: Backend) {
        let (_server, admin) = on(backend, &["orders"]).await;
        let mut pipe = Pipe::open(&admin).await.unwrap();
        pipe.send_whole(PublishStreamRequest { sequence: 5, publish: None }).await;
        pipe.send(6, to("orders", vec![event("x")])).await;
        let (sequence, refusal) = pipe.answer().await;
        let refusal = refusal.unwrap_err();
        assert_refused(&refusal, Code::InvalidArgument, "REQUEST_INVALID");
        assert_eq!((sequence, violations(&refusal)), (5, vec!["publish".to_owned()]));
        assert_eq!(offsets(&pipe.answer().await), [1]);
    }

    async fn a_request_over_4_mib_is_refused_alone_and_a_message_over_its_limit_ends_the_stream(backend: Backend) {
        const REQUEST: usize = 4 << 20;
        let (_server, admin) = on(backend, &["orders"]).await;
        // Events of 1 MiB but for the last one, which fills up.
        let sized = |bytes: usize| {
            let full = vec![event(&"x".repeat(1 << 20)); 3];
            let rest = bytes - to("orders", full.clone()).encoded_len();
            (rest.saturating_sub(40)..rest).find_map(|text| {
                let request = to("orders", [full.clone(), vec![event(&"x".repeat(text))]].concat());
                (request.encoded_len() == bytes).then_some(request)
            }).expect("a request of every length can be made")
        };
        let mut pipe = Pipe::open(&admin).await.unwrap();
        for (sequence, bytes) in [(1, REQUEST - 1), (2, REQUEST), (3, REQUEST + 1), (4, REQUEST + (60 << 10)), (5, REQUEST)] {
            pipe.send(sequence, sized(bytes)).await;
        }
        let answers = pipe.answers(5).await;
        assert_eq!(answers.iter().map(reason).collect::<Vec<_>>(), ["-", "-", "MESSAGE_TOO_LARGE", "MESSAGE_TOO_LARGE", "-"]);
        assert_refused(answers[2].1.as_ref().unwrap_err(), Code::ResourceExhausted, "MESSAGE_TOO_LARGE");
        assert_eq!(head(&admin, "orders").await, 12);
        // What came before is answered all the same.
        pipe.send(6, to("orders", vec![event("last")])).await;
        pipe.send(7, sized(REQUEST + (70 << 10))).await;
        pipe.send(8, to("orders", vec![event("never")])).await;
        let (answers, closing, end) = pipe.rest().await;
        assert_eq!((answers.len(), offsets(&answers[0]), closing), (1, vec![13], None));
        assert_refused(&end.unwrap_err(), Code::ResourceExhausted, "MESSAGE_TOO_LARGE");
        assert_eq!(head(&admin, "orders").await, 13);
    }

    async fn a_producer_publishes_to_its_topics_alone(backend: Backend) {
        let (_server, admin) = on(backend, &["orders", "letters"]).await;
        let shop = admin.producer("shop", &["orders"]).await;
        let mut pipe = Pipe::open(&shop).await.unwrap();
        for (sequence, topic) in ["orders", "letters", "nowhere", "orders"].into_iter().enumerate() {
            pipe.send(sequence as i64, to(topic, vec![event("x")])).await;
        }
        let answers = pipe.answers(4).await;
        assert_eq!(answers.iter().map(reason).collect::<Vec<_>>(), ["-", "PERMISSION_DENIED", "PERMISSION_DENIED", "-"]);
        assert_refused(answers[1].1.as_ref().unwrap_err(), Code::PermissionDenied, "PERMISSION_DENIED");
        assert_eq!((head(&admin, "orders").await, head(&admin, "letters").await), (2, 0));
    }

    async fn who_may_not_publish_opens_no_stream(backend: Backend) {
        let (server, _admin) = on(backend, &["orders"]).await;
        let nobody = Client::anonymous(&server).await;
        let refusal = Pipe::open(&nobody).await.err().unwrap();
        assert_refused(&refusal, Code::Unauthenticated, "CREDENTIAL_MISSING");
        let refusal = Pipe::open(&nobody.with("efk_a_b")).await.err().unwrap();
        assert_refused(&refusal, Code::Unauthenticated, "CREDENTIAL_INVALID");
    }

    async fn bytes_that_are_no_message_end_the_stream_after_the_answers(backend: Backend) {
        use crate::{api, raw};

        let (_server, admin) = on(backend, &["orders"]).await;
        let request = PublishStreamRequest { sequence: 1, publish: Some(to("orders", vec![event("x")])) };
        let good = raw::frame(&request.encode_to_vec());
        let bad = raw::frame(b"\xff\xff");
        let path = api::path_of("EventService", "PublishStream");
        let answer = raw::send(&admin, &path, [&good[..], &bad[..]].concat().into(), &[]).await;
        assert_refused(&answer.status, Code::InvalidArgument, "MESSAGE_MALFORMED");
        assert_eq!(head(&admin, "orders").await, 1, "what came before the nonsense is a request like any other");
    }
}
