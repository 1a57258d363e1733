//! Kills and cuts in the middle of streams: what was acknowledged is there, and nothing out of its order.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{Pipe, behind, keyed, on, on_postgres, to};
use crate::{
    chance::Chance,
    client::Client,
    feed::{everything, may_be_repeated},
    harness::{
        backend::{Backend, on_both_stores},
        chaos::Flow,
    },
};

/// Requests of one publisher, one event each.
const REQUESTS: usize = 6_000;
/// Requests that it has sent ahead of the answers.
const AHEAD: usize = 300;
const PATIENCE: Duration = Duration::from_secs(150);
const LULL: Duration = Duration::from_millis(120);

/// Publishes events 0, 1, 2, … in their order: after whatever breaks, it repeats from the first one that was
/// not acknowledged, on a new stream. Returns how many streams that took.
async fn publish_in_order(client: Client, topic: &'static str) -> usize {
    let (mut acknowledged, mut streams, begun) = (0, 0, Instant::now());
    while acknowledged < REQUESTS {
        assert!(begun.elapsed() < PATIENCE, "{acknowledged} of {REQUESTS} requests were acknowledged in time");
        match Pipe::open(&client).await {
            Ok(pipe) => {
                streams += 1;
                acknowledged = go_on(pipe, topic, acknowledged).await;
            }
            Err(status) => assert!(may_be_tried_again(&status), "{status:?}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
    streams
}

/// Sends from this request on, until all are acknowledged, or one is refused, or the stream ends.
async fn go_on(mut pipe: Pipe, topic: &str, first: usize) -> usize {
    let (mut sent, mut acknowledged) = (first, first);
    while acknowledged < REQUESTS {
        while sent < REQUESTS && sent < acknowledged + AHEAD {
            pipe.send(sent as i64, to(topic, vec![keyed(&sent.to_string())])).await;
            sent += 1;
        }
        let (sequence, result) = match pipe.next().await {
            Ok(Some(response)) => match super::answer_of(response) {
                Ok(answer) => answer,
                Err(_closing) => return acknowledged,
            },
            Ok(None) => return acknowledged,
            Err(status) => {
                assert!(may_be_tried_again(&status), "{status:?}");
                return acknowledged;
            }
        };
        assert_eq!(sequence, acknowledged as i64, "an answer is missing");
        match result {
            Ok(_) => acknowledged += 1,
            Err(status) => {
                assert!(may_be_tried_again(&status), "{status:?}");
                return acknowledged;
            }
        }
    }
    acknowledged
}

fn may_be_tried_again(status: &tonic::Status) -> bool {
    let full = status.metadata().get("eventflow-reason").is_some_and(|reason| reason == "STORAGE_FULL");
    may_be_repeated(status) || full
}

/// Every event once, in the order in which they were sent.
async fn assert_in_order(client: &Client, topic: &str) {
    let events = everything(client, topic).await;
    let ids: Vec<usize> = events.iter().map(|event| event.id.parse().unwrap()).collect();
    let broken = ids.iter().enumerate().find(|(n, id)| n != *id);
    assert_eq!(broken, None, "the order was lost in {topic}");
    assert_eq!(ids.len(), REQUESTS);
}

on_both_stores! {
    async fn kills_lose_nothing_that_was_acknowledged_and_change_no_order(backend: Backend) {
        const KILLS: usize = 12;
        let (mut server, admin) = on(backend, &["orders", "letters"]).await;
        let mut chance = Chance::printed();
        let publishers = ["orders", "letters"].map(|topic| tokio::spawn(publish_in_order(admin.clone(), topic)));
        let mut kills = 0;
        while kills < KILLS && !publishers.iter().all(|publisher| publisher.is_finished()) {
            chance.moment(LULL * 4).await;
            server.kill().await;
            kills += 1;
            server.restart().await;
        }
        let mut streams = 0;
        for publisher in publishers {
            streams += publisher.await.unwrap();
        }
        let admin = admin.on(&server).await;
        for topic in ["orders", "letters"] {
            assert_in_order(&admin, topic).await;
        }
        println!("{backend:?}: {kills} kills, {streams} streams, {} events in their order", 2 * REQUESTS);
        assert!(kills > 2, "the publishers were done after {kills} kills");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cuts_between_server_and_store_change_no_order() {
    const CUTS: usize = 40;
    let (server, admin, proxy, _database) = behind(&["orders", "letters"], "1s").await;
    let mut chance = Chance::printed();
    let publishers = ["orders", "letters"].map(|topic| tokio::spawn(publish_in_order(admin.clone(), topic)));
    let mut cuts = 0;
    while cuts < CUTS && !publishers.iter().all(|publisher| publisher.is_finished()) {
        chance.moment(LULL).await;
        match chance.number(0..4) {
            0 => proxy.stop(Flow::ToClient),
            1 => proxy.stop(Flow::ToTarget),
            // The store is away for longer than requests wait.
            2 if cuts % 5 == 0 => proxy.refuse(true),
            _ => {}
        }
        chance.moment(LULL / 2).await;
        proxy.cut();
        proxy.flow();
        if cuts % 5 == 0 {
            chance.moment(LULL * 12).await;
        }
        proxy.refuse(false);
        cuts += 1;
    }
    let mut streams = 0;
    for publisher in publishers {
        streams += publisher.await.unwrap();
    }
    for topic in ["orders", "letters"] {
        assert_in_order(&admin, topic).await;
    }
    let lost = server.log().matches("an append's outcome is unknown; sending the batch again").count();
    println!("{cuts} cuts, {lost} appends repeated, {streams} streams, {} events in their order", 2 * REQUESTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_that_fail_now_and_then_change_no_order() {
    let (_server, admin, database) = on_postgres(&["orders", "letters"]).await;
    // After a failure the next append succeeds at once: only the stream knows that it must not.
    let fail = "if random() < 0.3 then raise exception ''no room'' using errcode = ''53100''; end if;";
    let inject = format!(
        "do $do$ begin
            execute replace(pg_get_functiondef('eventflow.append_v2'::regproc), E'begin\\n', E'begin\\n{fail}'); end $do$"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(inject)).execute(&mut database.connect().await).await.unwrap();
    let publishers = ["orders", "letters"].map(|topic| tokio::spawn(publish_in_order(admin.clone(), topic)));
    let mut streams = 0;
    for publisher in publishers {
        streams += publisher.await.unwrap();
    }
    for topic in ["orders", "letters"] {
        assert_in_order(&admin, topic).await;
    }
    println!("{streams} streams, {} events in their order", 2 * REQUESTS);
    assert!(streams > 8, "only {streams} streams were needed");
}
