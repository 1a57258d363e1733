//! Two servers over one Postgres that never look for what nobody told them of: what happens on one wakes the other.

use std::{collections::BTreeMap, time::Duration};

use eventflow::proto::v1;
use futures::future::join_all;

use super::{
    Got, Two, Worker, at_once, attempts, becomes, got, of, offsets, publish_keys, register, request, seconds, settle,
    take_dead, work,
};
use crate::{
    client::Client,
    harness::{chaos::Proxy, databases::Database, redis::Redis, server::Server},
};

fn for_an_hour() -> v1::Consumer {
    v1::Consumer { lease: seconds(3600), ..work() }
}

/// Takes so many deliveries by calls, so that there is no stream.
async fn polled(client: &Client, count: usize) -> Vec<Got> {
    let request =
        v1::PollRequest { consumer: "work".into(), max_events: count as i32, wait: seconds(10), after_offset: None };
    let deliveries = client.consumers().poll(request).await.unwrap().into_inner().deliveries;
    let taken = got(&deliveries.expect("there are some"));
    assert_eq!(taken.len(), count);
    taken
}

async fn ack(client: &Client, one: &Got) {
    assert_eq!(settle(client, v1::SettleRequest { ack: vec![one.offset], ..of(&one.lease) }).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_becomes_free_on_one_server_wakes_the_other() {
    let two = Two::without_polls(for_an_hour()).await;
    publish_keys(&two.here, &["a", "a", "a"]).await;
    let first = polled(&two.here, 1).await;
    let mut waiting = Worker::open(&two.there, request()).await;
    waiting.gets_nothing().await;
    ack(&two.here, &first[0]).await;
    let second = waiting.take(1).await;
    assert_eq!(offsets(&second), [2]);
    ack(&two.here, &second[0]).await;
    assert_eq!(offsets(&waiting.take(1).await), [3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_that_becomes_free_is_forgotten_when_many_do_at_once() {
    const KEYS: usize = 40;
    let two = Two::without_polls(for_an_hour()).await;
    let names: Vec<_> = (0..KEYS).map(|n| format!("key {n}")).collect();
    for round in 0..5 {
        publish_keys(&two.here, &[&names[..], &names[..]].concat().iter().map(String::as_str).collect::<Vec<_>>())
            .await;
        let first = polled(&two.here, KEYS).await;
        let mut waiting = Worker::open(&two.there, request()).await;
        waiting.gets_nothing().await;
        join_all(first.iter().map(|one| ack(&two.here, one))).await;
        let second = waiting.take(KEYS).await;
        waiting.ack(&second).await;
        becomes(&two.here, ((round + 1) * 2 * KEYS as i64, 0, 0, 0)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_one_server_noted_comes_on_the_other_when_it_is_due() {
    let two = Two::without_polls(for_an_hour()).await;
    two.here.publish_numbered("jobs", 1, 1).await;
    let first = polled(&two.here, 1).await;
    let mut waiting = Worker::open(&two.there, request()).await;
    waiting.gets_nothing().await;
    let nack = vec![v1::Nack { offset: 1, delay: seconds(2), ..Default::default() }];
    assert_eq!(settle(&two.here, v1::SettleRequest { nack, ..of(&first[0].lease) }).await.unwrap(), []);
    waiting.gets_nothing().await;
    let again = waiting.take(1).await;
    assert_eq!((again[0].offset, again[0].attempt), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_back_on_one_server_comes_on_the_other() {
    let two = Two::without_polls(for_an_hour()).await;
    take_dead(&two.here, 3).await;
    let mut waiting = Worker::open(&two.there, request()).await;
    waiting.gets_nothing().await;
    let redrive = v1::RedriveDeadLettersRequest { consumer: "work".into(), all: true, ..Default::default() };
    two.here.consumers().redrive_dead_letters(redrive).await.unwrap();
    assert_eq!(offsets(&waiting.take(3).await), [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn room_that_is_made_on_one_server_is_used_on_the_other() {
    let two = Two::without_polls(v1::Consumer { max_in_flight: 2, ..for_an_hour() }).await;
    two.here.publish_numbered("jobs", 1, 4).await;
    let first = polled(&two.here, 2).await;
    let mut waiting = Worker::open(&two.there, request()).await;
    waiting.gets_nothing().await;
    ack(&two.here, &first[0]).await;
    assert_eq!(offsets(&waiting.take(1).await), [3]);
    ack(&two.here, &first[1]).await;
    assert_eq!(offsets(&waiting.take(1).await), [4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stream_on_one_server_gives_back_comes_on_the_other() {
    let two = Two::without_polls(for_an_hour()).await;
    two.here.publish_numbered("jobs", 1, 3).await;
    let mut leaving = Worker::open(&two.here, request()).await;
    let taken = leaving.take(3).await;
    let mut waiting = Worker::open(&two.there, request()).await;
    waiting.gets_nothing().await;
    leaving.ack(&taken[1..2]).await;
    drop(leaving);
    let again: Vec<_> =
        waiting.work_off(2).await.into_iter().map(|(one, alone)| (one.offset, one.attempt, alone)).collect();
    assert_eq!(again, [(1, 2, true), (3, 2, true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_goes_on_on_one_server_goes_on_on_the_other() {
    let two = Two::without_polls(for_an_hour()).await;
    let pause = |paused| v1::PauseConsumerRequest { name: "work".into(), paused };
    two.here.consumers().pause_consumer(pause(true)).await.unwrap();
    let mut waiting = Worker::open(&two.there, request()).await;
    two.here.publish_numbered("jobs", 1, 1).await;
    waiting.gets_nothing().await;
    two.here.consumers().pause_consumer(pause(false)).await.unwrap();
    assert_eq!(offsets(&waiting.take(1).await), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_workers_on_two_servers_do_each_event_once() {
    const EVENTS: usize = 800;
    let two = Two::without_polls(for_an_hour()).await;
    let work = |client: Client, done: tokio::sync::mpsc::Sender<Got>| async move {
        let mut worker = Worker::open(&client, at_once(20)).await;
        loop {
            let batch = got(&worker.batch().await);
            worker.ack(&batch).await;
            for one in batch {
                if done.send(one).await.is_err() {
                    return;
                }
            }
        }
    };
    let (send, mut receive) = tokio::sync::mpsc::channel(EVENTS);
    let workers: Vec<_> = (0..8)
        .map(|n| tokio::spawn(work(if n % 2 == 0 { two.here.clone() } else { two.there.clone() }, send.clone())))
        .collect();
    for part in 0..8 {
        let keys: Vec<_> =
            (0..EVENTS / 8).map(|n| if n % 4 == 0 { String::new() } else { format!("{}", n % 30) }).collect();
        let client = if part % 2 == 0 { &two.here } else { &two.there };
        publish_keys(client, &keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    let mut done = BTreeMap::new();
    while done.len() < EVENTS {
        let one = tokio::time::timeout(crate::harness::patience::DEADLINE, receive.recv()).await;
        let one = one.unwrap_or_else(|_| panic!("only {} were done", done.len())).expect("workers go on");
        assert_eq!(one.attempt, 1);
        assert!(done.insert(one.offset, one.key).is_none(), "{} came twice", one.offset);
    }
    becomes(&two.here, (EVENTS as i64, 0, 0, 0)).await;
    workers.iter().for_each(|worker| worker.abort());
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_messages_of_redis_delay_and_lose_nothing() {
    let (database, redis) = (Database::fresh().await, Redis::shared().await);
    let proxy = Proxy::to_redis(redis.address()).await;
    let first = Server::cluster(&database, redis).start().await;
    let second =
        Server::cluster(&database, redis).environment("EVENTFLOW_REDIS_URL", &redis.url_through(proxy.address()));
    let second = second.start().await;
    let here = Client::admin(&first).await;
    let there = here.on(&second).await;
    here.create_topic("jobs").await;
    register(&here, for_an_hour()).await;
    crate::observe::hears_others(&second).await;
    publish_keys(&here, &["a", "a", "b"]).await;
    let taken = polled(&here, 2).await;
    let mut waiting = Worker::open(&there, request()).await;
    waiting.gets_nothing().await;
    proxy.swallow(Some(":control"));
    let began = tokio::time::Instant::now();
    ack(&here, &taken[0]).await;
    let next = waiting.take(1).await;
    assert_eq!((offsets(&next), attempts(&next)), (vec![2], vec![1]));
    assert!(proxy.swallowed() > 0);
    // Twice the 5 s between two looks, and what a busy machine may add.
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
}
