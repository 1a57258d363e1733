//! Requests of a topic keep their order, and nothing is recorded after one that failed and may be repeated.

use std::time::Duration;

use sqlx::{Executor, PgConnection};
use tonic::Code;

use super::{Pipe, behind, head, hold_up, keyed, offsets, on_postgres, reason, to};
use crate::{
    client::{Client, assert_refused, text},
    feed::everything,
    harness::{chaos::Flow, patience::eventually},
    observe::Metrics,
};

async fn texts(client: &Client, topic: &str) -> Vec<String> {
    everything(client, topic).await.iter().map(|event| text(event).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_do_not_wait_for_each_other_only_their_answers_do() {
    let (_server, admin, database) = on_postgres(&["slow", "fast"]).await;
    let mut postgres = database.connect().await;
    let mut pipe = Pipe::open(&admin).await.unwrap();
    hold_up(&mut postgres, "slow").await;
    for n in 1..=10 {
        pipe.send(n, to("slow", vec![keyed(&n.to_string())])).await;
        pipe.send(100 + n, to("fast", vec![keyed(&n.to_string())])).await;
    }
    eventually("the other topic to have everything", async || (head(&admin, "fast").await == 10).then_some(())).await;
    assert_eq!(head(&admin, "slow").await, 0);
    postgres.execute("rollback").await.unwrap();
    let answers = pipe.answers(20).await;
    let wanted: Vec<_> = (1..=10).flat_map(|n| [(n, vec![n]), (100 + n, vec![n])]).collect();
    assert_eq!(answers.iter().map(|answer| (answer.0, offsets(answer))).collect::<Vec<_>>(), wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failure_that_may_be_repeated_later_requests_of_the_topic_are_refused_to_the_end() {
    let (_server, admin, database) = on_postgres(&["full", "other"]).await;
    let mut postgres = database.connect().await;
    let (mut pipe, mut neighbour) = (Pipe::open(&admin).await.unwrap(), Pipe::open(&admin).await.unwrap());
    pipe.send(1, to("full", vec![keyed("1")])).await;
    assert_eq!(offsets(&pipe.answer().await), [1]);
    // The second append to the topic fails after a second, in which all others are queued; then there is room.
    inject(&mut postgres, &fails_once("perform pg_sleep(1);")).await;
    pipe.send(2, to("full", vec![keyed("2")])).await;
    eventually("an append to wait", async || (appending(&mut postgres).await > 0).then_some(())).await;
    for n in 3..=40 {
        pipe.send(n, to("full", vec![keyed(&n.to_string())])).await;
        pipe.send(100 + n, to("other", vec![keyed(&n.to_string())])).await;
        neighbour.send(n, to("full", vec![keyed(&format!("of another client {n}"))])).await;
    }
    let answers = pipe.answers(77).await;
    assert_eq!(reason(&answers[0]), "STORAGE_FULL");
    for (refused, taken) in answers[1..].iter().step_by(2).zip(answers[2..].iter().step_by(2)) {
        assert_refused(refused.1.as_ref().unwrap_err(), Code::Aborted, "PREDECESSOR_FAILED");
        assert_eq!(taken.0 - 102, offsets(taken)[0], "the other topic was held up");
    }
    // Other clients' requests stood between them in the queue.
    assert!(neighbour.answers(38).await.iter().map(offsets).eq((2..=39).map(|n| vec![n])));

    // There is room, but this stream has refused some: repeated in order on a new one, all are taken.
    pipe.send(41, to("full", vec![keyed("41")])).await;
    assert_eq!(reason(&pipe.answer().await), "PREDECESSOR_FAILED");
    assert_eq!(head(&admin, "full").await, 39);
    pipe.send(141, to("other", vec![keyed("41")])).await;
    assert_eq!(offsets(&pipe.answer().await), [39]);
    let mut again = Pipe::open(&admin).await.unwrap();
    for n in 2..=41 {
        again.send(n, to("full", vec![keyed(&n.to_string())])).await;
    }
    assert!(again.answers(40).await.iter().map(offsets).eq((40..=79).map(|n| vec![n])));
    assert_eq!(texts(&admin, "full").await[39..41], ["text of 2", "text of 3"]);
}

/// From now on, appends begin with this.
async fn inject(postgres: &mut PgConnection, code: &str) {
    let inject = format!(
        "create sequence eventflow.injected; do $do$ begin
            execute replace(pg_get_functiondef('eventflow.append_v2'::regproc), E'begin\\n', E'begin\\n{code}'); end $do$"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(inject)).execute(postgres).await.unwrap();
}

/// Code that lets one append fail for want of room, after doing something.
fn fails_once(first: &str) -> String {
    let raise = "raise exception ''no room'' using errcode = ''53100'';";
    format!("if nextval(''eventflow.injected'') = 1 then {first} {raise} end if;")
}

async fn appending(postgres: &mut PgConnection) -> i64 {
    let statement = "select count(*) from pg_stat_activity
        where datname = current_database() and state = 'active' and query like '%append_v%' and pid <> pg_backend_pid()";
    sqlx::query_scalar(statement).fetch_one(postgres).await.unwrap()
}

async fn stored(postgres: &mut PgConnection) -> i64 {
    sqlx::query_scalar("select count(*) from eventflow.segments").fetch_one(postgres).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_whose_outcome_is_unknown_is_followed_by_nothing_and_never_said_not_to_be_recorded() {
    const REQUESTS: u64 = 30;
    let (server, admin, proxy, database) = behind(&["orders"], "5s").await;
    let (mut postgres, mut blocker) = (database.connect().await, database.connect().await);
    let mut pipe = Pipe::open(&admin).await.unwrap();
    // The first append has reached the store, and the others wait, before any answer is lost.
    hold_up(&mut blocker, "orders").await;
    pipe.send(1, to("orders", vec![keyed("1")])).await;
    eventually("an append to wait", async || (appending(&mut postgres).await > 0).then_some(())).await;
    for n in 2..=REQUESTS {
        pipe.send(n as i64, to("orders", vec![keyed(&n.to_string())])).await;
    }
    let queued =
        async || (Metrics::of(&server).await.get("eventflow_publish_queue_requests") == REQUESTS).then_some(());
    eventually("all requests to be queued", queued).await;
    proxy.stop(Flow::ToClient);
    blocker.execute("rollback").await.unwrap();
    eventually("the append to be recorded", async || (stored(&mut postgres).await == 1).then_some(())).await;
    // It is repeated in vain, once: what comes after it could be stored.
    inject(&mut postgres, &fails_once("")).await;
    proxy.cut();
    proxy.flow();
    let reasons: Vec<_> = pipe.answers(REQUESTS as usize).await.iter().map(reason).collect();
    // Those that went together are equally unknown; all others were never sent.
    let unknown = reasons.iter().take_while(|reason| *reason == "OUTCOME_UNKNOWN").count();
    assert!((1..REQUESTS as usize).contains(&unknown), "{reasons:?}");
    assert!(reasons[unknown..].iter().all(|reason| reason == "PREDECESSOR_FAILED"), "{reasons:?}");
    let wanted: Vec<_> = (1..=unknown).map(|n| format!("text of {n}")).collect();
    assert_eq!(texts(&admin, "orders").await, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_refuses_the_first_and_nothing_after_it_is_recorded_when_it_is_back() {
    let (_server, admin, proxy, _database) = behind(&["orders"], "1s").await;
    let mut pipe = Pipe::open(&admin).await.unwrap();
    pipe.send(1, to("orders", vec![keyed("1")])).await;
    assert_eq!(offsets(&pipe.answer().await), [1]);
    proxy.refuse(true);
    proxy.cut();
    // A connection that was idle for so long is tried before it is used: what is sent now is certainly not recorded.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    for n in 2..=20 {
        pipe.send(n, to("orders", vec![keyed(&n.to_string())])).await;
    }
    assert_eq!(reason(&pipe.answer().await), "STORAGE_UNAVAILABLE");
    proxy.refuse(false);
    for n in 21..=40 {
        pipe.send(n, to("orders", vec![keyed(&n.to_string())])).await;
    }
    let rest: Vec<_> = pipe.answers(38).await.iter().map(reason).collect();
    assert!(rest.iter().all(|reason| reason == "PREDECESSOR_FAILED"), "{rest:?}");
    assert_eq!(texts(&admin, "orders").await, ["text of 1"]);
}
