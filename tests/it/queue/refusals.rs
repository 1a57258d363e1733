//! What is refused, and with which reason: names, modes, and what contradicts itself.

use eventflow::proto::v1;
use tonic::{Code, Status};

use super::{at_once, dead_letters, jobs, millis, of, register, request, seconds, take_dead, work};
use crate::{
    client::{Client, as_consumer, assert_refused, from_earliest, violations},
    harness::{
        backend::{Backend, on_both_stores},
        server::Server,
    },
};

/// The consumer `work`, and `lines` in MODE_ORDERED.
async fn both(backend: Backend) -> (Server, Client) {
    let (server, client) = jobs(backend, work()).await;
    client.register("lines", "jobs").await;
    (server, client)
}

/// Every call that is for MODE_QUEUE only, about this consumer.
async fn queue_calls(client: &Client, name: &str) -> Vec<(&'static str, Status)> {
    let consumer = || name.to_owned();
    let mut consumers = client.consumers();
    let settle = v1::SettleRequest { consumer: consumer(), ack: vec![1], ..of("1") };
    let nothing = v1::SettleRequest { consumer: consumer(), ..of("1") };
    let list = v1::ListDeadLettersRequest { consumer: consumer(), ..Default::default() };
    let redrive = v1::RedriveDeadLettersRequest { consumer: consumer(), all: true, ..Default::default() };
    let discard = v1::DiscardDeadLettersRequest { consumer: consumer(), offsets: vec![1], ..Default::default() };
    vec![
        ("Settle", consumers.settle(settle).await.unwrap_err()),
        ("Settle nothing", consumers.settle(nothing).await.unwrap_err()),
        ("ListDeadLetters", consumers.list_dead_letters(list).await.unwrap_err()),
        ("RedriveDeadLetters", consumers.redrive_dead_letters(redrive).await.unwrap_err()),
        ("DiscardDeadLetters", consumers.discard_dead_letters(discard).await.unwrap_err()),
    ]
}

fn poll() -> v1::PollRequest {
    v1::PollRequest { consumer: "work".into(), ..Default::default() }
}

#[track_caller]
fn assert_fields(what: &str, status: &Status, reason: &str, fields: &[&str]) {
    assert_refused(status, Code::InvalidArgument, reason);
    assert_eq!(violations(status), fields, "{what}: {status:?}");
}

on_both_stores! {
    async fn what_is_for_the_other_mode_is_refused_and_changes_nothing(backend: Backend) {
        let (_server, client) = both(backend).await;
        client.publish_numbered("jobs", 1, 1).await;
        for (call, refusal) in queue_calls(&client, "lines").await {
            println!("{call}: {refusal:?}");
            assert_refused(&refusal, Code::FailedPrecondition, "WRONG_MODE");
        }
        let update = |change: v1::UpdateConsumerRequest| v1::UpdateConsumerRequest { name: "lines".into(), ..change };
        for change in [
            v1::UpdateConsumerRequest { lease: seconds(30), ..Default::default() },
            v1::UpdateConsumerRequest { backoff: Some(v1::Backoff::default()), ..Default::default() },
            v1::UpdateConsumerRequest { max_attempts: Some(5), ..Default::default() },
            v1::UpdateConsumerRequest { max_in_flight: Some(5), ..Default::default() },
        ] {
            let refusal = client.consumers().update_consumer(update(change)).await.unwrap_err();
            assert_refused(&refusal, Code::FailedPrecondition, "WRONG_MODE");
        }
        let commit = v1::CommitOffsetRequest { consumer: "work".into(), offset: 1, epoch: 1 };
        let refusal = client.consumers().commit_offset(commit).await.unwrap_err();
        assert_refused(&refusal, Code::FailedPrecondition, "WRONG_MODE");
        let after = v1::PollRequest { after_offset: Some(0), ..poll() };
        let refusal = client.consumers().poll(after).await.unwrap_err();
        assert_refused(&refusal, Code::FailedPrecondition, "WRONG_MODE");
        for wrong in [
            v1::SubscribeRequest { take_over: true, ..as_consumer("work") },
            v1::SubscribeRequest { wait: true, ..as_consumer("work") },
            v1::SubscribeRequest { max_in_flight: 1, ..as_consumer("lines") },
        ] {
            let refusal = client.subscribe(wrong).await.unwrap_err();
            assert_refused(&refusal, Code::FailedPrecondition, "WRONG_MODE");
        }
        crate::queue::becomes(&client, (0, 0, 0, 0)).await;
    }

    async fn a_consumer_that_is_not_there_or_has_no_name_is_refused_by_every_call(backend: Backend) {
        let (_server, client) = both(backend).await;
        for (call, refusal) in queue_calls(&client, "nobody").await {
            println!("{call}: {refusal:?}");
            assert_refused(&refusal, Code::NotFound, "CONSUMER_NOT_FOUND");
        }
        for name in ["", "Work", "a b"] {
            for (call, refusal) in queue_calls(&client, name).await {
                assert_fields(call, &refusal, "NAME_INVALID", &["consumer"]);
            }
        }
        let refusal = client.subscribe(at_once(1)).await;
        assert!(refusal.is_ok(), "{refusal:?}");
        let refusal = client.subscribe(as_consumer("nobody")).await.unwrap_err();
        assert_refused(&refusal, Code::NotFound, "CONSUMER_NOT_FOUND");
        let refusal = client.consumers().poll(v1::PollRequest { consumer: "nobody".into(), ..poll() }).await.unwrap_err();
        assert_refused(&refusal, Code::NotFound, "CONSUMER_NOT_FOUND");
    }

    async fn a_settlement_that_makes_no_sense_is_refused_whole(backend: Backend) {
        let (_server, client) = both(backend).await;
        client.publish_numbered("jobs", 1, 2).await;
        let mut worker = crate::queue::Worker::open(&client, request()).await;
        let taken = worker.take(2).await;
        let lease = taken[0].lease.as_str();
        let ack = |ack: &[i64]| v1::SettleRequest { ack: ack.to_vec(), ..of(lease) };
        let nack = |nack: v1::Nack| v1::SettleRequest { nack: vec![v1::Nack { offset: 2, ..nack }], ..ack(&[1]) };
        let leases = ["", "0", "-1", "01", "+1", " 1", "x", "1.0", "9223372036854775808", "99999999999999999999"];
        for id in leases {
            let refusal = client.consumers().settle(v1::SettleRequest { ack: vec![1], ..of(id) }).await.unwrap_err();
            assert_fields(id, &refusal, "REQUEST_INVALID", &["lease_id"]);
        }
        let wrong = [
            (ack(&[1, 0]), "ack[1]"),
            (ack(&[-1]), "ack[0]"),
            (ack(&[i64::MIN]), "ack[0]"),
            (ack(&[1, 2, 1]), "ack[2]"),
            (v1::SettleRequest { extend: vec![2, 1], ..ack(&[1]) }, "extend[1]"),
            (v1::SettleRequest { nack: vec![v1::Nack { offset: 1, ..Default::default() }], ..ack(&[1]) }, "nack[0].offset"),
            (v1::SettleRequest { nack: vec![v1::Nack::default()], ..ack(&[1]) }, "nack[0].offset"),
            (nack(v1::Nack { error: "a\0b".into(), ..Default::default() }), "nack[0].error"),
            (nack(v1::Nack { delay: Some(millis(-1)), ..Default::default() }), "nack[0].delay"),
            (nack(v1::Nack { delay: Some(prost_types::Duration { seconds: 1, nanos: -1 }), ..Default::default() }), "nack[0].delay"),
            (nack(v1::Nack { delay: seconds(1), dead_letter: true, ..Default::default() }), "nack[0].delay"),
        ];
        for (request, field) in wrong {
            let refusal = client.consumers().settle(request).await.unwrap_err();
            assert_fields(field, &refusal, "REQUEST_INVALID", &[field]);
        }
        assert_eq!(crate::queue::numbers(&client).await, (0, 2, 0, 0), "a part of a refused request was carried out");
        worker.ack(&taken).await;
        crate::queue::becomes(&client, (2, 0, 0, 0)).await;
    }

    async fn which_dead_letters_has_to_be_said_in_one_way(backend: Backend) {
        let (_server, client) = both(backend).await;
        take_dead(&client, 2).await;
        let cases: [(Vec<i64>, bool, &str); 5] = [
            (vec![], false, "offsets"),
            (vec![1], true, "offsets"),
            (vec![0], false, "offsets[0]"),
            (vec![1, -1], false, "offsets[1]"),
            ((1..=10_001).collect(), false, "offsets"),
        ];
        for (offsets, all, field) in cases {
            let consumer = || "work".to_owned();
            let redrive = v1::RedriveDeadLettersRequest { consumer: consumer(), offsets: offsets.clone(), all, validate_only: false };
            let refusal = client.consumers().redrive_dead_letters(redrive).await.unwrap_err();
            assert_fields("RedriveDeadLetters", &refusal, "REQUEST_INVALID", &[field]);
            let discard = v1::DiscardDeadLettersRequest { consumer: consumer(), offsets, all, validate_only: false };
            let refusal = client.consumers().discard_dead_letters(discard).await.unwrap_err();
            assert_fields("DiscardDeadLetters", &refusal, "REQUEST_INVALID", &[field]);
        }
        assert_eq!(dead_letters(&client).await.len(), 2, "a refused request took some away");
    }

    async fn a_page_of_dead_letters_goes_on_with_its_own_token_only(backend: Backend) {
        let (_server, client) = both(backend).await;
        register(&client, v1::Consumer { name: "other".into(), ..work() }).await;
        take_dead(&client, 3).await;
        let list = |consumer: &str, page_size: i32, page_token: &str| v1::ListDeadLettersRequest {
            consumer: consumer.into(), page_size, page_token: page_token.into(),
        };
        let first = client.consumers().list_dead_letters(list("work", 2, "")).await.unwrap().into_inner();
        assert!(!first.next_page_token.is_empty());
        let consumers = v1::ListConsumersRequest { page_size: 1, ..Default::default() };
        let foreign = client.consumers().list_consumers(consumers).await.unwrap().into_inner().next_page_token;
        assert!(!foreign.is_empty());
        let own = first.next_page_token.as_str();
        for (consumer, token) in [("other", own), ("work", "x"), ("work", &own[1..]), ("work", &foreign), ("work", "é")] {
            let refusal = client.consumers().list_dead_letters(list(consumer, 2, token)).await.unwrap_err();
            assert_fields(token, &refusal, "PAGE_TOKEN_INVALID", &["page_token"]);
        }
        let refusal = client.consumers().list_dead_letters(list("work", -1, "")).await.unwrap_err();
        assert_fields("page_size", &refusal, "REQUEST_INVALID", &["page_size"]);
    }

    async fn a_consumer_is_registered_again_only_as_it_is(backend: Backend) {
        let (_server, client) = both(backend).await;
        let lease = Some(prost_types::Duration { seconds: 2, nanos: 1 });
        let exact = v1::Consumer { name: "exact".into(), lease, backoff: vec![millis(0), millis(7)], ..work() };
        let again = |consumer: v1::Consumer| v1::RegisterConsumerRequest { consumer: Some(consumer), if_not_exists: true };
        for consumer in [work(), exact.clone(), exact.clone()] {
            let name = consumer.name.clone();
            let registered = client.consumers().register_consumer(again(consumer)).await;
            assert!(registered.is_ok(), "{name}: {registered:?}");
        }
        for other in [
            v1::Consumer { lease: seconds(31), ..work() },
            v1::Consumer { backoff: vec![], ..work() },
            v1::Consumer { max_attempts: 6, ..work() },
            v1::Consumer { max_in_flight: 999, ..work() },
            v1::Consumer { backoff: vec![], mode: v1::Mode::Ordered.into(), ..work() },
        ] {
            let refusal = client.consumers().register_consumer(again(other)).await.unwrap_err();
            assert_refused(&refusal, Code::AlreadyExists, "CONSUMER_EXISTS");
        }
        let ordered = v1::Consumer { name: "new".into(), mode: v1::Mode::Unspecified.into(), ..work() };
        let refusal = client.consumers().register_consumer(again(ordered)).await.unwrap_err();
        assert_fields("backoff", &refusal, "REQUEST_INVALID", &["consumer.mode"]);
        let topic = v1::SubscribeRequest { max_in_flight: 1, ..from_earliest("jobs") };
        assert_fields("a topic", &client.subscribe(topic).await.unwrap_err(), "REQUEST_INVALID", &["max_in_flight"]);
    }
}
