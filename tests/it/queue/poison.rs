//! One event that cannot be handled does not take others with it.

use std::collections::BTreeMap;

use eventflow::proto::v1::{self, dead_letter::Cause};

use super::{Worker, at_once, becomes, dead_letters, got, jobs, publish_keys, seconds, work};
use crate::harness::backend::{Backend, on_both_stores};

/// The event that no worker survives.
const POISON: i64 = 50;

on_both_stores! {
    async fn an_event_that_kills_its_worker_each_time_is_the_only_one_given_up(backend: Backend) {
        let (_server, client) = jobs(backend, v1::Consumer { lease: seconds(3600), max_attempts: 4, ..work() }).await;
        client.publish_numbered("jobs", 1, 100).await;
        let (mut kills, mut done) = (0, BTreeMap::new());
        while done.len() < 99 || kills < 4 {
            let mut worker = Worker::open(&client, at_once(100)).await;
            loop {
                let taken = got(&worker.batch().await);
                assert!(kills > 0 || taken.len() == 100, "they are leased together first: {}", taken.len());
                if taken.iter().any(|one| one.offset == POISON) {
                    kills += 1;
                    break;
                }
                worker.ack(&taken).await;
                done.extend(taken.iter().map(|one| (one.offset, one.attempt)));
                if done.len() == 99 && kills == 4 {
                    break;
                }
            }
        }
        assert!(done.values().all(|attempt| *attempt == 2), "more than one worker died of an innocent: {done:?}");
        becomes(&client, (100, 0, 0, 1)).await;
        let dead = dead_letters(&client).await;
        assert_eq!((dead[0].offset, dead[0].attempts, dead[0].cause()), (POISON, 4, Cause::MaxAttempts));
    }

    async fn a_key_with_an_event_that_fails_holds_back_no_other_key(backend: Backend) {
        const KEYS: usize = 100;
        const EACH: usize = 3;
        let (_server, client) = jobs(backend, work()).await;
        let names: Vec<_> = (0..KEYS * EACH).map(|n| format!("key {}", n % KEYS)).collect();
        publish_keys(&client, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let mut worker = Worker::open(&client, at_once(1000)).await;
        let mut done: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        let mut count = 0;
        while count < (KEYS - 1) * EACH {
            let (bad, good): (Vec<_>, Vec<_>) = got(&worker.batch().await).into_iter().partition(|one| one.key == "key 0");
            for one in &bad {
                worker.nack(one, v1::Nack { delay: seconds(3600), ..Default::default() }).await;
            }
            worker.ack(&good).await;
            count += good.len();
            for one in good {
                assert_eq!(one.attempt, 1);
                done.entry(one.key).or_default().push(one.offset);
            }
        }
        assert_eq!((count, done.len()), ((KEYS - 1) * EACH, KEYS - 1));
        assert!(done.values().all(|offsets| offsets.is_sorted() && offsets.len() == EACH), "{done:?}");
        becomes(&client, (0, 0, 1, 0)).await;
        worker.gets_nothing().await;
    }
}
