//! How many streams there may be, and how much a stream holds that its client does not read.

use std::time::Duration;

use prost::Message;
use sqlx::Executor;
use tonic::Code;
use tonic_types::StatusExt;

use super::{Pipe, head, hold_up, offsets, on, to, with_topics};
use crate::{
    client::{A_WHILE, Client, assert_refused, event, from_earliest},
    harness::{
        backend::{Backend, on_both_stores},
        databases::Database,
        patience::eventually,
        server::Server,
    },
    observe::{Metrics, resident},
};

/// In this time a server that reads would have read more.
const QUIET: Duration = Duration::from_millis(1500);
/// Responses that the client's window of 64 KiB takes, at most.
const IN_THE_WINDOW: i64 = 2000;

#[tokio::test(flavor = "multi_thread")]
async fn publishing_streams_count_among_all_streams() {
    let start = Server::embedded().flag("--max-streams-per-principal", "2").flag("--max-streams", "3");
    let (server, admin) = with_topics(start, &["orders"]).await;
    let _subscription = admin.subscribe(from_earliest("orders")).await.unwrap();
    let first = Pipe::open(&admin).await.unwrap();
    let refusal = Pipe::open(&admin).await.err().unwrap();
    assert_refused(&refusal, Code::ResourceExhausted, "TOO_MANY_STREAMS");
    let details = refusal.get_error_details();
    assert!(details.retry_info().is_some_and(|retry| retry.retry_delay > Some(Duration::ZERO)), "{refusal:?}");
    assert_eq!(details.quota_failure().unwrap().violations[0].subject, "users/admin");
    let refusal = admin.subscribe(from_earliest("orders")).await.unwrap_err();
    assert_refused(&refusal, Code::ResourceExhausted, "TOO_MANY_STREAMS");

    let shop = admin.producer("shop", &["orders"]).await;
    let _own = Pipe::open(&shop).await.unwrap();
    let refusal = Pipe::open(&shop).await.err().unwrap();
    assert_refused(&refusal, Code::ResourceExhausted, "TOO_MANY_STREAMS");
    assert_eq!(refusal.get_error_details().quota_failure().unwrap().violations[0].subject, "server");
    assert_eq!(Metrics::of(&server).await.get("eventflow_streams_refused_total"), 3);
    // A client that leaves without a word gives its room back.
    drop(first);
    eventually("room for another", async || Pipe::open(&admin).await.ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_requests_and_bytes_are_under_way_than_the_server_is_told() {
    const REQUESTS: i64 = 9;
    let request = || to("orders", vec![event(&"x".repeat(1000))]);
    // 128 are counted for the answer to each event.
    let bytes = request().encoded_len() + 128;
    let cases = [
        ("--publish-stream-requests", 1, 1),
        ("--publish-stream-requests", 2, 2),
        ("--publish-stream-requests", 3, 3),
        ("--publish-stream-bytes", 1, 1),
        ("--publish-stream-bytes", 3 * bytes - 1, 2),
        ("--publish-stream-bytes", 3 * bytes, 3),
        ("--publish-stream-bytes", 3 * bytes + 1, 3),
    ];
    for (flag, value, wanted) in cases {
        let database = Database::fresh().await;
        let start = Server::embedded().environment("EVENTFLOW_DATABASE_URL", &database.url());
        let (server, admin) = with_topics(start.flag(flag, &value.to_string()), &["orders"]).await;
        let mut postgres = database.connect().await;
        hold_up(&mut postgres, "orders").await;
        let mut pipe = Pipe::open(&admin).await.unwrap();
        for sequence in 1..=REQUESTS {
            pipe.send(sequence, request()).await;
        }
        let queued = async || Metrics::of(&server).await.get("eventflow_publish_queue_requests");
        eventually("requests that wait", async || (queued().await >= wanted).then_some(())).await;
        tokio::time::sleep(A_WHILE).await;
        assert_eq!(queued().await, wanted, "{flag} {value}");
        postgres.execute("rollback").await.unwrap();
        let answers = pipe.answers(REQUESTS as usize).await;
        assert!(answers.iter().map(offsets).eq((1..=REQUESTS).map(|n| vec![n])), "{flag} {value}: {answers:?}");
    }
}

on_both_stores! {
    async fn a_stream_with_room_for_one_request_of_one_byte_goes_on_all_the_same(backend: Backend) {
        let start = backend.server().await.environment("EVENTFLOW_PUBLISH_STREAM_BYTES", "1");
        let start = start.flag("--publish-stream-requests", "1");
        let topics = ["orders", "letters", "bills"];
        let (_server, admin) = with_topics(start, &topics).await;
        let mut pipe = Pipe::open(&admin).await.unwrap();
        let large = || vec![event(&"x".repeat(1 << 20)); 3];
        let many = || (0..1000).map(|n| event(&n.to_string())).collect();
        for round in 0..4 {
            for (topic, events) in topics.iter().zip([vec![event("small")], large(), many()]) {
                pipe.send(round, to(topic, events)).await;
            }
        }
        pipe.close();
        let (answers, _, end) = pipe.rest().await;
        end.unwrap();
        assert!(answers.iter().map(|answer| answer.0).eq((0..4).flat_map(|round| [round; 3])), "{answers:?}");
        for (topic, events) in topics.iter().zip([4, 12, 4000]) {
            assert_eq!(head(&admin, topic).await, events, "{topic}");
        }
    }
}

/// Sends without reading until the server reads no more; returns where that was.
async fn fill(admin: &Client, pipe: &Pipe, requests: i64, events: usize) -> i64 {
    for sequence in 1..=requests {
        pipe.send(sequence, to("orders", (0..events).map(|_| event("x")).collect())).await;
    }
    let mut before = -1;
    eventually("the server to read no more", async || {
        let now = head(admin, "orders").await;
        tokio::time::sleep(QUIET).await;
        (std::mem::replace(&mut before, now) == now && now > 0).then_some(now)
    })
    .await
}

on_both_stores! {
    async fn a_client_that_reads_no_answers_is_not_read_beyond_1024_requests(backend: Backend) {
        const REQUESTS: i64 = 10_000;
        let (server, admin) = on(backend, &["orders"]).await;
        let mut pipe = Pipe::open(&admin.reading_little(&server).await).await.unwrap();
        let before = resident(&server);
        let read = fill(&admin, &pipe, REQUESTS, 1).await;
        println!("{backend:?}: {read} of {REQUESTS} requests were read");
        assert!((1024..1024 + IN_THE_WINDOW).contains(&read), "{read} requests were read");
        let grown = resident(&server).saturating_sub(before);
        assert!(grown < 48 << 20, "the server grew by {grown} bytes");
        // Others are not held up.
        let mut other = Pipe::open(&admin).await.unwrap();
        other.send(1, to("orders", vec![event("y")])).await;
        assert_eq!(offsets(&other.answer().await), [read + 1]);
        // Nothing was lost.
        pipe.close();
        let (answers, _, end) = pipe.rest().await;
        end.unwrap();
        assert!(answers.iter().map(|answer| answer.0).eq(1..=REQUESTS), "{} answers", answers.len());
        assert_eq!(head(&admin, "orders").await, REQUESTS + 1);
    }

    async fn a_client_that_reads_no_answers_is_not_read_beyond_4_mib(backend: Backend) {
        const REQUESTS: i64 = 200;
        let (server, admin) = on(backend, &["orders"]).await;
        let mut pipe = Pipe::open(&admin.reading_little(&server).await).await.unwrap();
        // An answer to 1,000 events fills the window, so that the next ones stay with the server.
        let read = fill(&admin, &pipe, REQUESTS, 1000).await / 1000;
        println!("{backend:?}: {read} of {REQUESTS} requests of 1,000 events were read");
        assert!((4..45).contains(&read), "{read} requests were read");
        pipe.close();
        let (answers, _, end) = pipe.rest().await;
        end.unwrap();
        assert!(answers.iter().map(|answer| answer.0).eq(1..=REQUESTS), "{} answers", answers.len());
        assert_eq!(head(&admin, "orders").await, REQUESTS * 1000);
    }
}
