//! Streams that end: a client that leaves gives its leases back, a server that ends them lets them run.

use std::time::{Duration, Instant};

use eventflow::proto::v1::{self, closing::Reason, settle_failure::Cause};
use tonic::Code;

use super::{
    Got, Worker, at_once, attempts, becomes, dead_letters, jobs, numbers, of, offsets, request, seconds, settle, work,
};
use crate::{
    client::{Client, event},
    harness::{
        backend::{Backend, on_both_stores},
        chaos::Proxy,
    },
};

/// Events of one lease, of which the client can take one or a few at once.
const LARGE: usize = 12;

/// As `work`, with leases that no test waits for.
fn for_an_hour() -> v1::Consumer {
    v1::Consumer { lease: seconds(3600), ..work() }
}

/// Publishes events that are too large to be sent at once, and opens a stream that takes one frame of them
/// by a connection of its own.
async fn half_sent(admin: &Client, client: Client) -> (Worker, Got) {
    let large = "x".repeat(500 << 10);
    for _ in 0..LARGE {
        admin.publish("jobs", vec![event(&large)]).await.unwrap();
    }
    let request = v1::SubscribeRequest { max_batch_events: 1, ..at_once(LARGE as i32) };
    let mut worker = Worker::open(&client, request).await;
    becomes(admin, (0, LARGE as i64, 0, 0)).await;
    let first = worker.take(1).await.remove(0);
    assert_eq!((first.offset, first.attempt), (1, 1));
    (worker, first)
}

/// What was sent comes a second time, each alone; what was not sent comes as if for the first time.
async fn comes_again(client: &Client) {
    let mut next = Worker::open(client, at_once(LARGE as i32)).await;
    let all = next.work_off(LARGE).await;
    let mut attempts: Vec<_> = all.iter().map(|(one, _)| (one.offset, one.attempt)).collect();
    attempts.sort_unstable();
    assert_eq!(attempts[0], (1, 2), "it was sent");
    assert_eq!(attempts[LARGE - 1], (LARGE as i64, 1), "it was not: {attempts:?}");
    assert!(attempts.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0 && pair[0].1 >= pair[1].1), "{attempts:?}");
    assert!(all.iter().all(|(one, alone)| one.attempt == 1 || *alone), "sent together again: {all:?}");
    becomes(client, (LARGE as i64, 0, 0, 0)).await;
}

/// Ends a stream by `end`; its deliveries stay leased, can be settled on the next stream, and come to nobody else.
async fn leases_run_on(
    client: &Client,
    mut worker: Worker,
    taken: Vec<Got>,
    reason: Reason,
    code: Code,
    refusal: &str,
) {
    worker.ends(reason, code, refusal).await;
    let mut next = Worker::open(client, request()).await;
    next.gets_nothing().await;
    let lease = taken[0].lease.as_str();
    let extend = v1::SettleRequest { extend: vec![taken[1].offset], ..of(lease) };
    assert_eq!(settle(client, extend).await.unwrap(), []);
    next.ack(&taken[..1]).await;
    next.nack(&taken[1], v1::Nack::default()).await;
    let again = next.take(1).await.remove(0);
    assert_eq!((again.offset, again.attempt), (taken[1].offset, 2), "the one attempt that failed counts");
    next.ack(&[again]).await;
}

on_both_stores! {
    async fn a_client_that_ends_its_stream_gives_everything_back_at_once(backend: Backend) {
        let (server, client) = jobs(backend, for_an_hour()).await;
        let (worker, first) = half_sent(&client, client.reading_little(&server).await).await;
        drop(worker);
        comes_again(&client).await;
        let late = settle(&client, v1::SettleRequest { ack: vec![1], ..of(&first.lease) }).await.unwrap();
        assert_eq!(late, [(1, Cause::Lost)]);
    }

    async fn a_connection_that_is_cut_gives_everything_back_at_once(backend: Backend) {
        let (server, client) = jobs(backend, for_an_hour()).await;
        let proxy = Proxy::to_tcp(server.listen()).await;
        let (_worker, _) = half_sent(&client, client.through(proxy.address()).await).await;
        proxy.cut();
        let mut next = Worker::open(&client, at_once(LARGE as i32)).await;
        let all = next.work_off(LARGE).await;
        assert!(all.iter().all(|(one, alone)| one.attempt == 1 || one.attempt == 2 && *alone), "{all:?}");
        assert_eq!(all.iter().filter(|(one, _)| one.offset == 1).map(|(one, _)| one.attempt).collect::<Vec<_>>(), [2]);
        becomes(&client, (LARGE as i64, 0, 0, 0)).await;
    }

    async fn a_change_of_the_consumer_ends_its_streams_and_not_their_leases(backend: Backend) {
        let (_server, client) = jobs(backend, for_an_hour()).await;
        client.publish_numbered("jobs", 1, 2).await;
        let mut worker = Worker::open(&client, request()).await;
        let taken = worker.take(2).await;
        let update = v1::UpdateConsumerRequest { name: "work".into(), max_attempts: Some(7), ..Default::default() };
        client.consumers().update_consumer(update).await.unwrap();
        leases_run_on(&client, worker, taken, Reason::ConsumerChanged, Code::Unavailable, "STREAM_ROTATED").await;
        becomes(&client, (2, 0, 0, 0)).await;
    }

    async fn the_end_of_a_credential_ends_its_streams_and_not_their_leases(backend: Backend) {
        let (_server, client) = jobs(backend, for_an_hour()).await;
        client.publish_numbered("jobs", 1, 2).await;
        let create = v1::CreateApiKeyRequest { owner: "consumers/work".into(), ttl: None };
        let key = client.auth().create_api_key(create).await.unwrap().into_inner();
        let mut worker = Worker::open(&client.with(&key.secret), request()).await;
        let taken = worker.take(2).await;
        let revoke = v1::RevokeApiKeyRequest { id: key.api_key.unwrap().id };
        client.auth().revoke_api_key(revoke).await.unwrap();
        leases_run_on(&client, worker, taken, Reason::CredentialEnded, Code::Unauthenticated, "CREDENTIAL_REVOKED").await;
        becomes(&client, (2, 0, 0, 0)).await;
    }

    async fn a_stream_that_got_too_old_ends_and_its_leases_do_not(backend: Backend) {
        let server = backend.server().await.flag("--stream-max-age", "6s").start().await;
        let client = Client::admin(&server).await;
        client.create_topic("jobs").await;
        crate::queue::register(&client, for_an_hour()).await;
        client.publish_numbered("jobs", 1, 2).await;
        let mut worker = Worker::open(&client, request()).await;
        let taken = worker.take(2).await;
        leases_run_on(&client, worker, taken, Reason::MaxAge, Code::Unavailable, "STREAM_ROTATED").await;
        becomes(&client, (2, 0, 0, 0)).await;
    }

    async fn what_a_deleted_consumer_had_is_gone_with_its_streams(backend: Backend) {
        let (_server, client) = jobs(backend, for_an_hour()).await;
        client.publish_numbered("jobs", 1, 2).await;
        let mut worker = Worker::open(&client, request()).await;
        let taken = worker.take(2).await;
        client.consumers().delete_consumer(v1::DeleteConsumerRequest { name: "work".into() }).await.unwrap();
        worker.ends(Reason::Deleted, Code::NotFound, "CONSUMER_NOT_FOUND").await;
        let refusal = settle(&client, v1::SettleRequest { ack: vec![1], ..of(&taken[0].lease) }).await.unwrap_err();
        crate::client::assert_refused(&refusal, Code::NotFound, "CONSUMER_NOT_FOUND");
    }

    async fn a_client_that_vanished_does_not_get_again_what_others_can_have(backend: Backend) {
        let (server, client) = jobs(backend, v1::Consumer { lease: seconds(2), max_attempts: 3, ..work() }).await;
        let proxy = Proxy::to_tcp(server.listen()).await;
        let mut vanished = Worker::open(&client.through(proxy.address()).await, request()).await;
        client.publish_numbered("jobs", 1, 5).await;
        let lost = vanished.take(5).await;
        proxy.freeze();
        let mut next = Worker::open(&client, request()).await;
        let began = Instant::now();
        let all = next.work_off(5).await;
        assert_eq!(all.iter().map(|(one, alone)| (one.offset, one.attempt, *alone)).collect::<Vec<_>>(),
            (1..=5).map(|offset| (offset, 2, true)).collect::<Vec<_>>(), "after {:?}", began.elapsed());
        let late = settle(&client, v1::SettleRequest { ack: offsets(&lost), ..of(&lost[0].lease) }).await.unwrap();
        assert_eq!(late, (1..=5).map(|offset| (offset, Cause::Lost)).collect::<Vec<_>>());
        becomes(&client, (5, 0, 0, 0)).await;
        assert_eq!(dead_letters(&client).await, []);
    }

    async fn what_a_killed_server_had_leased_comes_again_long_before_the_lease_ends(backend: Backend) {
        /// 15 s, and what a busy machine may add.
        const SOON: Duration = Duration::from_secs(15 + 20);
        let (mut server, client) = jobs(backend, for_an_hour()).await;
        client.publish_numbered("jobs", 1, 2).await;
        let mut worker = Worker::open(&client, request()).await;
        let taken = worker.take(2).await;
        worker.ack(&taken[1..]).await;
        server.restart().await;
        let began = Instant::now();
        let client = client.on(&server).await;
        let mut next = Worker::open(&client, request()).await;
        let again = got_within(&mut next, SOON).await;
        assert_eq!((offsets(&again), attempts(&again)), (vec![1], vec![2]), "after {:?}", began.elapsed());
        next.ack(&again).await;
        becomes(&client, (2, 0, 0, 0)).await;
    }
}

/// The next deliveries, which may take longer than others.
async fn got_within(worker: &mut Worker, deadline: Duration) -> Vec<Got> {
    let end = Instant::now() + deadline;
    loop {
        assert!(Instant::now() < end, "nothing came within {deadline:?}");
        if let v1::subscribe_response::Frame::Deliveries(batch) = worker.stream.frame().await {
            return crate::queue::got(&batch);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_drains_leaves_its_leases_to_be_settled_on_the_other() {
    let crate::queue::Two { mut first, here, second: _second, there } = crate::queue::Two::start(for_an_hour()).await;
    here.publish_numbered("jobs", 1, 5).await;
    let mut worker = Worker::open(&here, at_once(3)).await;
    let taken = worker.take(3).await;
    let (code, ()) = tokio::join!(first.terminate(), async {
        worker.ends(Reason::Draining, Code::Unavailable, "DRAINING").await;
        let mut next = Worker::open(&there, request()).await;
        let rest = next.take(2).await;
        assert_eq!((offsets(&rest), attempts(&rest)), (vec![4, 5], vec![1, 1]));
        let request = v1::SettleRequest { ack: vec![1], extend: vec![2], ..of(&taken[0].lease) };
        assert_eq!(settle(&there, request).await.unwrap(), []);
        next.ack(&rest).await;
    });
    assert_eq!(code, 0);
    // Nor does it count as an attempt that the server is gone.
    let mut next = Worker::open(&there, request()).await;
    next.gets_nothing().await;
    assert_eq!(numbers(&there).await, (1, 2, 0, 0));
    next.ack(&taken[1..2]).await;
    next.nack(&taken[2], v1::Nack::default()).await;
    let again = next.take(1).await;
    assert_eq!((offsets(&again), attempts(&again)), (vec![3], vec![2]));
    next.ack(&again).await;
    becomes(&there, (5, 0, 0, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_that_drains_had_not_sent_comes_on_the_other_as_if_for_the_first_time() {
    let crate::queue::Two { mut first, here, second: _second, there } = crate::queue::Two::start(for_an_hour()).await;
    let (mut worker, first_one) = half_sent(&here, here.reading_little(&first).await).await;
    let (code, ()) = tokio::join!(first.terminate(), async {
        let mut sent = worker.ends(Reason::Draining, Code::Unavailable, "DRAINING").await;
        sent.insert(0, first_one);
        assert!(sent.len() < LARGE, "all was sent");
        let mut next = Worker::open(&there, at_once(LARGE as i32)).await;
        let rest: Vec<_> = next.work_off(LARGE - sent.len()).await.into_iter().map(|(one, _)| one).collect();
        assert!(rest.iter().all(|one| one.attempt == 1), "{rest:?}");
        next.gets_nothing().await;
        next.ack(&sent).await;
    });
    assert_eq!(code, 0);
    becomes(&there, (LARGE as i64, 0, 0, 0)).await;
}
