//! Changes of a consumer and of its topic while its events are on their way.

use eventflow::proto::v1::{self, closing::Reason, settle_failure::Cause, subscribe_response::Frame};
use tonic::Code;

use super::{
    Worker, at_once, attempts, becomes, get, jobs, numbers, of, offsets, publish_keys, register, request, seconds,
    settle, work,
};
use crate::{
    client::{Client, event},
    harness::backend::{Backend, on_both_stores},
};

fn for_an_hour() -> v1::Consumer {
    v1::Consumer { lease: seconds(3600), ..work() }
}

async fn pause(client: &Client, paused: bool) {
    let request = v1::PauseConsumerRequest { name: "work".into(), paused };
    let response = client.consumers().pause_consumer(request).await.unwrap().into_inner();
    assert_eq!(response.consumer.unwrap().status.unwrap().paused, paused);
}

/// Moves the consumer; returns its position then.
async fn seek(client: &Client, after_offset: i64) -> i64 {
    let start = Some(v1::seek_consumer_request::Start::AfterOffset(after_offset));
    let request = v1::SeekConsumerRequest { name: "work".into(), start };
    let response = client.consumers().seek_consumer(request).await.unwrap().into_inner();
    response.consumer.unwrap().status.unwrap().position.unwrap().offset
}

/// Reads signs of life until one says that the consumer is paused, or that it is not.
async fn hears(worker: &mut Worker, paused: bool) {
    loop {
        match worker.stream.frame().await {
            Frame::Heartbeat(beat) if beat.paused == paused => return,
            Frame::Heartbeat(_) | Frame::CaughtUp(_) => {}
            other => panic!("no heartbeat: {other:?}"),
        }
    }
}

on_both_stores! {
    async fn a_paused_consumer_delivers_nothing_and_settles_what_it_had(backend: Backend) {
        let (_server, client) = jobs(backend, for_an_hour()).await;
        client.publish_numbered("jobs", 1, 3).await;
        let mut worker = Worker::open(&client, at_once(2)).await;
        let taken = worker.take(2).await;
        pause(&client, true).await;
        hears(&mut worker, true).await;
        worker.ack(&taken[..1]).await;
        worker.nack(&taken[1], v1::Nack { delay: Some(crate::queue::millis(0)), ..Default::default() }).await;
        client.publish_numbered("jobs", 4, 1).await;
        worker.gets_nothing().await;
        assert_eq!(numbers(&client).await, (1, 0, 1, 0));
        let mut late = Worker::open(&client, request()).await;
        hears(&mut late, true).await;
        drop(late);

        pause(&client, false).await;
        let mut rest = worker.take(2).await;
        worker.ack(&rest).await;
        rest.extend(worker.take(1).await);
        rest.sort_by_key(|one| one.offset);
        assert_eq!((offsets(&rest), attempts(&rest)), (vec![2, 3, 4], vec![2, 1, 1]));
        worker.ack(&rest[2..]).await;
        hears(&mut worker, false).await;
        becomes(&client, (4, 0, 0, 0)).await;
    }

    async fn a_new_filter_holds_for_what_was_not_delivered(backend: Backend) {
        let (_server, client) = jobs(backend, for_an_hour()).await;
        let typed = |n: usize| v1::NewEvent { r#type: if n.is_multiple_of(2) { "even" } else { "odd" }.into(), ..event("x") };
        client.publish("jobs", (1..=8).map(typed).collect()).await.unwrap();
        let mut worker = Worker::open(&client, at_once(3)).await;
        let taken = worker.take(3).await;
        let filter = Some(v1::Filter { types: vec!["even".into()], ..Default::default() });
        let update = v1::UpdateConsumerRequest { name: "work".into(), filter, ..Default::default() };
        client.consumers().update_consumer(update).await.unwrap();
        worker.ends(Reason::ConsumerChanged, Code::Unavailable, "STREAM_ROTATED").await;
        let mut next = Worker::open(&client, request()).await;
        let rest = next.take(3).await;
        assert_eq!(offsets(&rest), [4, 6, 8]);
        next.ack(&taken).await;
        next.ack(&rest).await;
        becomes(&client, (8, 0, 0, 0)).await;
    }

    async fn a_consumer_that_is_moved_loses_its_leases_and_retries_and_begins_anew(backend: Backend) {
        let (_server, client) = jobs(backend, for_an_hour()).await;
        publish_keys(&client, &["a", "b", "a", "b", "", ""]).await;
        let mut worker = Worker::open(&client, at_once(4)).await;
        let taken = worker.take(4).await;
        worker.ack(&taken[..1]).await;
        worker.nack(&taken[1], v1::Nack { delay: seconds(3600), ..Default::default() }).await;
        worker.nack(&taken[2], v1::Nack { dead_letter: true, ..Default::default() }).await;
        assert_eq!(seek(&client, 0).await, 0);
        worker.ends(Reason::ConsumerChanged, Code::Unavailable, "STREAM_ROTATED").await;
        let lease = taken[0].lease.as_str();
        let late = settle(&client, v1::SettleRequest { ack: vec![6], ..of(lease) }).await.unwrap();
        assert_eq!(late, [(6, Cause::Lost)]);
        assert_eq!(numbers(&client).await, (0, 0, 0, 1), "dead letters stay");

        let mut next = Worker::open(&client, request()).await;
        let mut again = next.take(4).await;
        assert_eq!((offsets(&again), attempts(&again)), (vec![1, 2, 5, 6], vec![1; 4]));
        let late = settle(&client, v1::SettleRequest { ack: vec![1, 2, 6], ..of(lease) }).await.unwrap();
        assert!(late.iter().all(|(_, cause)| [Cause::Lost, Cause::AlreadySettled].contains(cause)), "{late:?}");
        assert_eq!((late.len(), numbers(&client).await), (3, (0, 4, 0, 1)), "an old lease settled a new delivery");
        next.ack(&again).await;
        again = next.take(2).await;
        assert_eq!((offsets(&again), attempts(&again)), (vec![3, 4], vec![1, 1]));

        assert_eq!(seek(&client, 5).await, 5);
        next.ends(Reason::ConsumerChanged, Code::Unavailable, "STREAM_ROTATED").await;
        let mut last = Worker::open(&client, request()).await;
        let rest = last.take(1).await;
        assert_eq!(offsets(&rest), [6]);
        last.ack(&rest).await;
        becomes(&client, (6, 0, 0, 1)).await;
    }

    async fn what_is_trimmed_before_it_was_delivered_is_counted_and_passed_over(backend: Backend) {
        let (_server, client) = jobs(backend, for_an_hour()).await;
        // What was recorded together goes together.
        client.publish_numbered("jobs", 1, 10).await;
        client.publish_numbered("jobs", 11, 10).await;
        let mut worker = Worker::open(&client, at_once(5)).await;
        let taken = worker.take(5).await;
        let trim = v1::TrimTopicRequest { name: "jobs".into(), before_offset: 11, validate_only: false };
        client.topics().trim_topic(trim).await.unwrap();
        worker.ack(&taken).await;
        let next = worker.take(5).await;
        assert_eq!((offsets(&next), attempts(&next)), ((11..=15).collect(), vec![1; 5]));
        worker.ack(&next).await;
        let last = worker.take(5).await;
        worker.ack(&last).await;
        becomes(&client, (20, 0, 0, 0)).await;
        assert_eq!(get(&client).await.status.unwrap().trimmed_events, 5);
    }

    async fn an_old_lease_settles_nothing_of_a_consumer_registered_again(backend: Backend) {
        let (_server, client) = jobs(backend, for_an_hour()).await;
        client.publish_numbered("jobs", 1, 2).await;
        let mut worker = Worker::open(&client, request()).await;
        let old = worker.take(2).await;
        worker.nack(&old[1], v1::Nack { dead_letter: true, ..Default::default() }).await;
        client.consumers().delete_consumer(v1::DeleteConsumerRequest { name: "work".into() }).await.unwrap();
        register(&client, for_an_hour()).await;
        let mut next = Worker::open(&client, request()).await;
        let new = next.take(2).await;
        assert_eq!((offsets(&new), attempts(&new)), (vec![1, 2], vec![1, 1]));
        assert_ne!(new[0].lease, old[0].lease);
        let late = settle(&client, v1::SettleRequest { ack: vec![1, 2], ..of(&old[0].lease) }).await.unwrap();
        assert_eq!(late.len(), 2, "{late:?}");
        assert_eq!(numbers(&client).await, (0, 2, 0, 0));
        next.ack(&new).await;
        becomes(&client, (2, 0, 0, 0)).await;
    }

    async fn a_name_that_changed_its_mode_settles_at_once(backend: Backend) {
        let (_server, client) = jobs(backend, for_an_hour()).await;
        client.publish_numbered("jobs", 1, 1).await;
        client.register("other", "jobs").await;
        let other = |lease: &str| v1::SettleRequest { consumer: "other".into(), ack: vec![1], ..of(lease) };
        let refusal = client.consumers().settle(other("1")).await.unwrap_err();
        crate::client::assert_refused(&refusal, Code::FailedPrecondition, "WRONG_MODE");
        client.consumers().delete_consumer(v1::DeleteConsumerRequest { name: "other".into() }).await.unwrap();
        register(&client, v1::Consumer { name: "other".into(), ..for_an_hour() }).await;
        let mut worker = Worker::open(&client, crate::client::as_consumer("other")).await;
        let taken = worker.take(1).await;
        let settled = client.consumers().settle(other(&taken[0].lease)).await.unwrap().into_inner();
        assert_eq!(settled.failures, []);
    }
}
