//! What was given up: seen in pages, put back, forgotten, and trimmed.

use eventflow::proto::v1::{self, dead_letter::Cause};
use futures::future::join_all;

use super::{Worker, attempts, becomes, dead_letters, get, jobs, numbers, offsets, request, seconds, take_dead, work};
use crate::{
    client::{Client, text},
    harness::backend::{Backend, on_both_stores},
};

/// How many were redriven, and how many are left.
async fn redrive(client: &Client, offsets: &[i64], all: bool, validate_only: bool) -> (i64, i64) {
    let request =
        v1::RedriveDeadLettersRequest { consumer: "work".into(), offsets: offsets.to_vec(), all, validate_only };
    let response = client.consumers().redrive_dead_letters(request).await.unwrap().into_inner();
    (response.redriven.expect("a number"), response.remaining)
}

/// How many were discarded, and how many are left.
async fn discard(client: &Client, offsets: &[i64], all: bool, validate_only: bool) -> (i64, i64) {
    let request =
        v1::DiscardDeadLettersRequest { consumer: "work".into(), offsets: offsets.to_vec(), all, validate_only };
    let response = client.consumers().discard_dead_letters(request).await.unwrap().into_inner();
    (response.discarded.expect("a number"), response.remaining)
}

async fn trim(client: &Client, before_offset: i64) {
    let request = v1::TrimTopicRequest { name: "jobs".into(), before_offset, validate_only: false };
    client.topics().trim_topic(request).await.unwrap();
}

/// How far the consumer is, and behind.
async fn place(client: &Client) -> (i64, Option<i64>) {
    let status = get(client).await.status.unwrap();
    (status.position.unwrap().offset, status.lag_events)
}

on_both_stores! {
    async fn they_are_listed_in_order_page_by_page(backend: Backend) {
        let (_server, client) = jobs(backend, work()).await;
        take_dead(&client, 5).await;
        let (mut pages, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = v1::ListDeadLettersRequest { consumer: "work".into(), page_size: 2, page_token };
            let page = client.consumers().list_dead_letters(request).await.unwrap().into_inner();
            for dead in &page.dead_letters {
                assert_eq!((dead.attempts, dead.cause()), (1, Cause::Rejected));
                assert_eq!(dead.error, format!("failure of {}", dead.offset));
                assert_eq!(text(dead.event.as_ref().unwrap()), dead.offset.to_string());
            }
            pages.push(page.dead_letters.iter().map(|dead| dead.offset).collect::<Vec<_>>());
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(pages, [vec![1, 2], vec![3, 4], vec![5]]);
    }

    async fn what_is_put_back_begins_anew_and_moves_the_consumer_nowhere(backend: Backend) {
        let (_server, client) = jobs(backend, work()).await;
        take_dead(&client, 5).await;
        becomes(&client, (5, 0, 0, 5)).await;
        assert_eq!(redrive(&client, &[4, 2, 2, 9], false, true).await, (2, 0));
        assert_eq!(redrive(&client, &[], true, true).await, (5, 0));
        assert_eq!(numbers(&client).await, (5, 0, 0, 5), "counting changed something");

        assert_eq!(redrive(&client, &[4, 2, 2, 9], false, false).await, (2, 0));
        assert_eq!(redrive(&client, &[4, 2], false, false).await, (0, 0), "a repeat is harmless");
        let mut worker = Worker::open(&client, request()).await;
        let again = worker.take(2).await;
        assert_eq!((offsets(&again), attempts(&again)), (vec![2, 4], vec![1, 1]));
        assert_eq!(place(&client).await, (5, Some(0)), "it went back");
        worker.ack(&again[..1]).await;
        worker.nack(&again[1], v1::Nack { dead_letter: true, error: "again".into(), ..Default::default() }).await;
        assert_eq!(numbers(&client).await, (5, 0, 0, 4));
        let dead = dead_letters(&client).await;
        assert_eq!((dead[2].offset, dead[2].attempts, &*dead[2].error), (4, 1, "again"));

        assert_eq!(redrive(&client, &[], true, false).await, (4, 0));
        let rest: Vec<_> = worker.work_off(4).await.into_iter().map(|(one, _)| one.attempt).collect();
        assert_eq!(rest, [1; 4]);
        becomes(&client, (5, 0, 0, 0)).await;
    }

    async fn two_calls_at_once_change_each_dead_letter_once(backend: Backend) {
        let (_server, client) = jobs(backend, work()).await;
        take_dead(&client, 60).await;
        let redriven = join_all((0..4).map(|_| redrive(&client, &[], true, false))).await;
        assert_eq!(redriven.iter().map(|(changed, _)| changed).sum::<i64>(), 60, "{redriven:?}");
        let mut worker = Worker::open(&client, crate::queue::at_once(100)).await;
        let again = worker.take(60).await;
        for one in &again {
            worker.nack(one, v1::Nack { dead_letter: true, ..Default::default() }).await;
        }
        worker.gets_nothing().await;
        let (redriven, discarded) = tokio::join!(redrive(&client, &[], true, false), discard(&client, &[], true, false));
        assert_eq!(redriven.0 + discarded.0, 60, "{redriven:?} {discarded:?}");
    }

    async fn what_is_forgotten_stays_in_the_log(backend: Backend) {
        let (_server, client) = jobs(backend, work()).await;
        take_dead(&client, 3).await;
        assert_eq!(discard(&client, &[2, 7], false, true).await, (1, 0));
        assert_eq!(discard(&client, &[2, 7], false, false).await, (1, 0));
        let left: Vec<_> = dead_letters(&client).await.iter().map(|dead| dead.offset).collect();
        assert_eq!(left, [1, 3]);
        assert_eq!(discard(&client, &[], true, false).await, (2, 0));
        assert_eq!(redrive(&client, &[], true, false).await, (0, 0));
        becomes(&client, (3, 0, 0, 0)).await;
        assert_eq!(crate::feed::everything(&client, "jobs").await.len(), 3);
    }

    async fn a_dead_letter_outlives_its_event_and_cannot_be_delivered_then(backend: Backend) {
        let (_server, client) = jobs(backend, work()).await;
        take_dead(&client, 2).await;
        take_dead(&client, 1).await;
        // What was recorded together goes together.
        trim(&client, 3).await;
        let events: Vec<_> = dead_letters(&client).await.into_iter().map(|dead| (dead.offset, dead.event.is_some())).collect();
        assert_eq!(events, [(1, false), (2, false), (3, true)]);
        assert_eq!(redrive(&client, &[], true, false).await, (3, 0));
        let mut worker = Worker::open(&client, request()).await;
        let again = worker.take(1).await;
        assert_eq!(offsets(&again), [3]);
        worker.ack(&again).await;
        worker.gets_nothing().await;
        becomes(&client, (3, 0, 0, 2)).await;
        assert!(dead_letters(&client).await.iter().all(|dead| dead.cause() == Cause::Trimmed));
    }

    async fn what_is_trimmed_while_it_waits_for_its_next_attempt_is_given_up(backend: Backend) {
        let (_server, client) = jobs(backend, work()).await;
        client.publish_numbered("jobs", 1, 2).await;
        client.publish_numbered("jobs", 3, 1).await;
        let mut worker = Worker::open(&client, request()).await;
        let taken = worker.take(3).await;
        worker.nack(&taken[0], v1::Nack { delay: seconds(3600), error: "later".into(), ..Default::default() }).await;
        worker.ack(&taken[2..]).await;
        trim(&client, 3).await;
        becomes(&client, (1, 1, 0, 1)).await;
        // The one that is leased was sent before: it can still be done.
        worker.ack(&taken[1..2]).await;
        becomes(&client, (3, 0, 0, 1)).await;
        let dead = dead_letters(&client).await;
        assert_eq!((dead[0].offset, dead[0].attempts, &*dead[0].error), (1, 1, "later"));
        assert_eq!((dead[0].cause(), &dead[0].event), (Cause::Trimmed, &None));
        assert_eq!(get(&client).await.status.unwrap().trimmed_events, 0, "it is a dead letter instead");
    }
}
