//! What failed is tried again, not before its pause and not later than needed, and then given up.

use std::time::{Duration, Instant};

use eventflow::proto::v1::{self, dead_letter::Cause};

use super::{Worker, becomes, dead_letters, got, jobs, millis, numbers, request, seconds, work};
use crate::harness::backend::{Backend, on_both_stores};

on_both_stores! {
    async fn a_failed_event_comes_again_after_its_pause_and_by_itself(backend: Backend) {
        let backoff = vec![millis(600), millis(1200)];
        let (_server, client) = jobs(backend, v1::Consumer { backoff, ..work() }).await;
        client.publish_numbered("jobs", 1, 1).await;
        let mut worker = Worker::open(&client, request()).await;
        let mut last = worker.take(1).await.remove(0);
        for (attempt, pause) in [(2, 600), (3, 1200), (4, 1200)] {
            let failed = Instant::now();
            worker.nack(&last, v1::Nack { error: format!("failure {}", attempt - 1), ..Default::default() }).await;
            assert_eq!(numbers(&client).await, (0, 0, 1, 0));
            last = worker.take(1).await.remove(0);
            let waited = failed.elapsed();
            assert!(waited >= Duration::from_millis(pause * 9 / 10), "attempt {attempt} came after {waited:?}");
            assert_eq!((last.offset, last.attempt), (1, attempt));
        }
    }

    async fn a_pause_that_was_asked_for_is_kept_to_the_moment(backend: Backend) {
        let (_server, client) = jobs(backend, work()).await;
        client.publish_numbered("jobs", 1, 1).await;
        let mut worker = Worker::open(&client, request()).await;
        let taken = worker.take(1).await;
        let failed = Instant::now();
        worker.nack(&taken[0], v1::Nack { delay: Some(millis(1300)), ..Default::default() }).await;
        let again = worker.take(1).await;
        assert!(failed.elapsed() >= Duration::from_millis(1300), "it came after {:?}", failed.elapsed());
        assert_eq!(again[0].attempt, 2);
    }

    async fn an_event_that_was_sent_as_often_as_may_be_is_given_up_once(backend: Backend) {
        let (_server, client) = jobs(backend, v1::Consumer { max_attempts: 3, ..work() }).await;
        client.publish_numbered("jobs", 1, 2).await;
        let mut worker = Worker::open(&client, request()).await;
        let taken = worker.take(2).await;
        worker.ack(&taken[1..]).await;
        let mut last = taken[0].clone();
        for attempt in 1..=3 {
            assert_eq!(last.attempt, attempt);
            worker.nack(&last, v1::Nack { error: format!("failure {attempt}"), ..Default::default() }).await;
            if attempt < 3 {
                last = worker.take(1).await.remove(0);
            }
        }
        becomes(&client, (2, 0, 0, 1)).await;
        worker.gets_nothing().await;
        let dead = dead_letters(&client).await;
        assert_eq!(dead.len(), 1);
        assert_eq!((dead[0].offset, dead[0].attempts, &*dead[0].error), (1, 3, "failure 3"));
        assert_eq!(dead[0].cause(), Cause::MaxAttempts);
        let micros = |time: &Option<prost_types::Timestamp>| time.map(|t| t.seconds * 1_000_000 + i64::from(t.nanos) / 1000).unwrap();
        let (first, last) = (micros(&dead[0].first_sent_time), micros(&dead[0].last_sent_time));
        assert!(last - first >= 180_000, "two pauses of 100 ms, less a tenth: {first} to {last}");
        assert!(micros(&dead[0].dead_time) >= last);
        assert_eq!(crate::client::text(dead[0].event.as_ref().unwrap()), "1");
    }

    async fn a_lease_that_ran_out_counts_as_an_attempt_and_its_events_come_alone(backend: Backend) {
        let (_server, client) = jobs(backend, v1::Consumer { lease: seconds(1), max_attempts: 2, ..work() }).await;
        client.publish_numbered("jobs", 1, 3).await;
        let mut worker = Worker::open(&client, request()).await;
        worker.take(3).await;
        for offset in 1..=3 {
            let batch = worker.batch().await;
            let alone = got(&batch);
            assert_eq!(alone.len(), 1, "each comes alone: {alone:?}");
            assert_eq!((alone[0].offset, alone[0].attempt), (offset, 2));
            if offset != 2 {
                worker.ack(&alone).await;
            }
        }
        becomes(&client, (3, 0, 0, 1)).await;
        let dead = dead_letters(&client).await;
        assert_eq!((dead[0].offset, dead[0].attempts, &*dead[0].error), (2, 2, ""));
    }

    async fn an_event_can_be_given_up_at_once(backend: Backend) {
        let (_server, client) = jobs(backend, work()).await;
        client.publish_numbered("jobs", 1, 1).await;
        let mut worker = Worker::open(&client, request()).await;
        let taken = worker.take(1).await;
        let hopeless = v1::Nack { error: "no such customer".into(), dead_letter: true, ..Default::default() };
        worker.nack(&taken[0], hopeless).await;
        becomes(&client, (1, 0, 0, 1)).await;
        let dead = dead_letters(&client).await;
        assert_eq!((dead[0].attempts, &*dead[0].error, dead[0].cause()), (1, "no such customer", Cause::Rejected));
    }
}
