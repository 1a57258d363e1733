//! Every limit of MODE_QUEUE: at it and one below are taken, one above is refused by name.
//!
//! The numbers are those of the protos, written down here once more on purpose.

use eventflow::proto::v1;
use prost_types::Duration as Span;
use tonic::{Code, Status};

use super::{Worker, jobs, of, request, seconds, work};
use crate::{
    client::{Client, assert_refused, violations},
    harness::backend::{Backend, on_both_stores},
};

/// 30 days.
const LONGEST: i64 = 30 * 24 * 3600;

fn span(seconds: i64, nanos: i32) -> Span {
    Span { seconds, nanos }
}

fn pauses(count: usize, pause: Span) -> Vec<Span> {
    vec![pause; count]
}

fn leased(lease: Span) -> v1::Consumer {
    v1::Consumer { lease: Some(lease), ..work() }
}

fn backing_off(backoff: Vec<Span>) -> v1::Consumer {
    v1::Consumer { backoff, ..work() }
}

fn attempts(max_attempts: i32) -> v1::Consumer {
    v1::Consumer { max_attempts, ..work() }
}

fn in_flight(max_in_flight: i32) -> v1::Consumer {
    v1::Consumer { max_in_flight, ..work() }
}

/// Settings that are taken.
fn taken() -> Vec<v1::Consumer> {
    vec![
        leased(span(1, 0)),
        leased(span(1, 1_000)),
        leased(span(3599, 999_999_000)),
        leased(span(3600, 0)),
        backing_off(pauses(19, span(1, 0))),
        backing_off(pauses(20, span(LONGEST, 0))),
        backing_off(pauses(1, span(0, 0))),
        attempts(1),
        attempts(999),
        attempts(1000),
        in_flight(1),
        in_flight(99_999),
        in_flight(100_000),
    ]
}

/// Settings that are refused, the field of a registration that is named, and that of an update.
fn refused() -> Vec<(v1::Consumer, &'static str, &'static str)> {
    vec![
        (leased(span(0, 999_999_999)), "consumer.lease", "lease"),
        (leased(span(0, 0)), "consumer.lease", "lease"),
        (leased(span(-1, 0)), "consumer.lease", "lease"),
        (leased(span(3600, 1)), "consumer.lease", "lease"),
        (leased(span(i64::MAX, 0)), "consumer.lease", "lease"),
        (backing_off(pauses(21, span(1, 0))), "consumer.backoff", "backoff.pauses"),
        (backing_off(pauses(1, span(LONGEST, 1))), "consumer.backoff[0]", "backoff.pauses[0]"),
        (backing_off(vec![span(1, 0), span(-1, 0)]), "consumer.backoff[1]", "backoff.pauses[1]"),
        (attempts(-1), "consumer.max_attempts", "max_attempts"),
        (attempts(1001), "consumer.max_attempts", "max_attempts"),
        (in_flight(-1), "consumer.max_in_flight", "max_in_flight"),
        (in_flight(100_001), "consumer.max_in_flight", "max_in_flight"),
    ]
}

/// An update to all settings of a consumer that differ from those of [`work`].
fn update(consumer: &v1::Consumer) -> v1::UpdateConsumerRequest {
    v1::UpdateConsumerRequest {
        name: "work".into(),
        filter: None,
        lease: consumer.lease,
        backoff: (consumer.backoff != work().backoff).then(|| v1::Backoff { pauses: consumer.backoff.clone() }),
        max_attempts: (consumer.max_attempts != 0).then_some(consumer.max_attempts),
        max_in_flight: (consumer.max_in_flight != 0).then_some(consumer.max_in_flight),
    }
}

/// What can be set in MODE_QUEUE.
fn settings(consumer: &v1::Consumer) -> (Option<Span>, Vec<Span>, i32, i32) {
    (consumer.lease, consumer.backoff.clone(), consumer.max_attempts, consumer.max_in_flight)
}

async fn registered(client: &Client, consumer: v1::Consumer) -> Result<v1::Consumer, Status> {
    let request = v1::RegisterConsumerRequest { consumer: Some(consumer), if_not_exists: false };
    Ok(client.consumers().register_consumer(request).await?.into_inner().consumer.expect("a consumer"))
}

#[track_caller]
fn assert_names(status: &Status, field: &str) {
    assert_refused(status, Code::InvalidArgument, "REQUEST_INVALID");
    assert_eq!(violations(status), [field], "{status:?}");
}

on_both_stores! {
    async fn settings_are_taken_up_to_each_limit_and_refused_beyond(backend: Backend) {
        let (_server, client) = jobs(backend, work()).await;
        for (n, consumer) in taken().into_iter().enumerate() {
            let named = v1::Consumer { name: format!("taken-{n}"), ..consumer.clone() };
            let made = registered(&client, named).await.unwrap_or_else(|refusal| panic!("{consumer:?}: {refusal:?}"));
            let changed = client.consumers().update_consumer(update(&consumer)).await;
            let changed = changed.unwrap_or_else(|refusal| panic!("{consumer:?}: {refusal:?}")).into_inner();
            let changed = changed.consumer.expect("a consumer");
            for wanted in [&made, &changed] {
                assert!(consumer.lease.is_none() || wanted.lease == consumer.lease, "{wanted:?}");
                assert!(consumer.max_attempts == 0 || wanted.max_attempts == consumer.max_attempts, "{wanted:?}");
                assert!(consumer.max_in_flight == 0 || wanted.max_in_flight == consumer.max_in_flight, "{wanted:?}");
            }
            assert_eq!(made.backoff, consumer.backoff);
        }
        let before = settings(&crate::queue::get(&client).await);
        for (consumer, register_field, update_field) in refused() {
            let named = v1::Consumer { name: "refused".into(), ..consumer.clone() };
            assert_names(&registered(&client, named).await.unwrap_err(), register_field);
            let refusal = client.consumers().update_consumer(update(&consumer)).await.unwrap_err();
            assert_names(&refusal, update_field);
        }
        for (zero, field) in [
            (v1::UpdateConsumerRequest { max_attempts: Some(0), ..update(&work()) }, "max_attempts"),
            (v1::UpdateConsumerRequest { max_in_flight: Some(0), ..update(&work()) }, "max_in_flight"),
        ] {
            assert_names(&client.consumers().update_consumer(zero).await.unwrap_err(), field);
        }
        assert_eq!(settings(&crate::queue::get(&client).await), before, "a refused update changed something");
    }

    async fn what_is_not_given_has_the_defaults(backend: Backend) {
        let (_server, client) = jobs(backend, work()).await;
        let plain = v1::Consumer { name: "plain".into(), backoff: vec![], ..work() };
        let made = registered(&client, plain).await.unwrap();
        let pauses: Vec<_> = [1, 5, 30, 120, 600].into_iter().map(|pause| span(pause, 0)).collect();
        assert_eq!(settings(&made), (seconds(30), pauses.clone(), 5, 1000));
        let emptied = v1::UpdateConsumerRequest { backoff: Some(v1::Backoff::default()), ..update(&work()) };
        let changed = client.consumers().update_consumer(emptied).await.unwrap().into_inner().consumer.unwrap();
        assert_eq!(changed.backoff, pauses);
        let lines = v1::Consumer { name: "lines".into(), topic: "jobs".into(), ..Default::default() };
        assert_eq!(settings(&registered(&client, lines).await.unwrap()), (None, vec![], 0, 0));
    }

    async fn a_settlement_takes_10_000_offsets_errors_of_4_kib_and_pauses_of_30_days(backend: Backend) {
        let (_server, client) = jobs(backend, work()).await;
        client.publish_numbered("jobs", 1, 3).await;
        let mut worker = Worker::open(&client, request()).await;
        let taken = worker.take(3).await;
        let lease = taken[0].lease.as_str();
        let nack = |nack: v1::Nack| v1::SettleRequest { nack: vec![v1::Nack { offset: 1, ..nack }], ..of(lease) };
        for (request, field) in [
            (v1::SettleRequest { ack: (1..=10_001).collect(), ..of(lease) }, "ack"),
            (v1::SettleRequest { extend: (1..=10_000).collect(), ack: vec![10_001], ..of(lease) }, "ack"),
            (nack(v1::Nack { error: "e".repeat(4097), ..Default::default() }), "nack[0].error"),
            (nack(v1::Nack { error: "é".repeat(2048) + "e", ..Default::default() }), "nack[0].error"),
            (nack(v1::Nack { delay: Some(span(LONGEST, 1)), ..Default::default() }), "nack[0].delay"),
        ] {
            assert_names(&client.consumers().settle(request).await.unwrap_err(), field);
        }
        let late = crate::queue::settle(&client, v1::SettleRequest { ack: (4..=10_003).collect(), ..of(lease) }).await.unwrap();
        assert_eq!(late.len(), 10_000, "none of these was ever delivered");
        worker.nack(&taken[0], v1::Nack { delay: Some(span(LONGEST, 0)), ..Default::default() }).await;
        worker.nack(&taken[1], v1::Nack { error: "e".repeat(4095), dead_letter: true, ..Default::default() }).await;
        worker.nack(&taken[2], v1::Nack { error: "é".repeat(2048), dead_letter: true, ..Default::default() }).await;
        crate::queue::becomes(&client, (0, 0, 1, 2)).await;
        let errors: Vec<_> = crate::queue::dead_letters(&client).await.iter().map(|dead| dead.error.len()).collect();
        assert_eq!(errors, [4095, 4096]);
    }

    async fn a_stream_and_a_call_ask_for_numbers_within_their_limits(backend: Backend) {
        let (_server, client) = jobs(backend, work()).await;
        for max_in_flight in [1, 99_999, 100_000] {
            drop(Worker::open(&client, crate::queue::at_once(max_in_flight)).await);
        }
        for (wrong, field) in [
            (crate::queue::at_once(-1), "max_in_flight"),
            (crate::queue::at_once(100_001), "max_in_flight"),
            (v1::SubscribeRequest { max_batch_events: 1001, ..request() }, "max_batch_events"),
            (v1::SubscribeRequest { max_batch_events: -1, ..request() }, "max_batch_events"),
        ] {
            assert_names(&client.subscribe(wrong).await.unwrap_err(), field);
        }
        let poll = |max_events, wait| v1::PollRequest { consumer: "work".into(), max_events, wait, after_offset: None };
        for (wrong, field) in [
            (poll(-1, None), "max_events"),
            (poll(1001, None), "max_events"),
            (poll(1, Some(span(60, 1))), "wait"),
            (poll(1, Some(span(-1, 0))), "wait"),
        ] {
            assert_names(&client.consumers().poll(wrong).await.unwrap_err(), field);
        }
        for max_events in [0, 1, 1000] {
            assert!(client.consumers().poll(poll(max_events, None)).await.unwrap().into_inner().deliveries.is_none());
        }
    }
}
