//! Clients that leave: what was queued is carried out.

use sqlx::{Executor, PgConnection};

use super::{Pipe, head, keyed, on, on_postgres, to};
use crate::{
    client::{event, text},
    feed::everything,
    harness::{
        backend::{Backend, on_both_stores},
        patience::eventually,
    },
    observe::Metrics,
};

async fn hold_up(postgres: &mut PgConnection) {
    postgres.execute("begin").await.unwrap();
    postgres.execute("select id from eventflow.topics for update").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_queued_are_recorded_after_their_client_has_left() {
    const REQUESTS: i64 = 50;
    let (server, admin, database) = on_postgres(&["orders"]).await;
    let mut postgres = database.connect().await;
    let pipe = Pipe::open(&admin).await.unwrap();
    hold_up(&mut postgres).await;
    for n in 1..=REQUESTS {
        pipe.send(n, to("orders", vec![keyed(&n.to_string())])).await;
    }
    let queued =
        async || (Metrics::of(&server).await.get("eventflow_publish_queue_requests") == REQUESTS as u64).then_some(());
    eventually("all requests to be queued", queued).await;
    drop(pipe);
    let gone = async || (Metrics::of(&server).await.get("eventflow_subscriptions") == 0).then_some(());
    eventually("the stream to be gone", gone).await;
    postgres.execute("rollback").await.unwrap();
    eventually("the requests to be recorded", async || (head(&admin, "orders").await == REQUESTS).then_some(())).await;
    let events = everything(&admin, "orders").await;
    assert!(events.iter().map(text).eq((1..=REQUESTS).map(|n| format!("text of {n}"))), "the order was lost");
}

on_both_stores! {
    async fn streams_that_are_dropped_anywhere_leave_nothing_behind(backend: Backend) {
        let (server, admin) = on(backend, &["orders"]).await;
        for round in 0..40 {
            let mut pipe = Pipe::open(&admin).await.unwrap();
            for sequence in 0..round * 5 {
                pipe.send(sequence, to("orders", vec![event("x")])).await;
            }
            if round % 3 == 0 {
                pipe.close();
            }
            let read = usize::try_from(round * 2).unwrap();
            assert_eq!(pipe.answers(read).await.len(), read);
        }
        let gone = async || {
            let metrics = Metrics::of(&server).await;
            let left = ["eventflow_subscriptions", "eventflow_publish_queue_requests", "eventflow_publish_queue_bytes"];
            left.iter().all(|name| metrics.get(name) == 0).then_some(())
        };
        eventually("nothing to be left", gone).await;
        let events = everything(&admin, "orders").await;
        assert!(events.iter().map(|event| event.offset).eq(1..=events.len() as i64), "offsets have gaps");
        for trace in ["panicked", "\"level\":\"ERROR\"", " ERROR "] {
            assert!(!server.log().contains(trace), "{trace:?} in the log:\n{}", server.log());
        }
    }
}
