//! Packing while others append and trim, while servers and connections die, and after long silences.

use std::time::Duration;

use eventflow::proto::v1;
use sqlx::{Executor, PgConnection};
use tonic::Code;

use super::{large, packed_to, packing, publish_alone, sent, verify};
use crate::{
    chance::Chance,
    client::{Client, assert_refused, event, text},
    feed::{Feed, everything},
    harness::{
        chaos::{Flow, Proxy},
        databases::Database,
        patience::{eventually, eventually_within},
        postgres::Postgres,
        redis::Redis,
        server::Server,
    },
};

async fn number(postgres: &mut PgConnection, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(postgres).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_cut_off_packs_nothing() {
    let (database, redis) = (Database::fresh().await, Redis::shared().await);
    let mut postgres = database.connect().await;
    let server = packing(Server::cluster(&database, redis)).start().await;
    let client = Client::admin(&server).await;
    client.create_topic("orders").await;
    // Each pack takes so long that it is ended in the middle: after the old rows went, before the link came.
    let slow = "create function slow() returns trigger language plpgsql as $$
            begin perform pg_sleep(5); return null; end $$;
        create trigger slow after delete on eventflow.segments for each statement execute function slow()";
    postgres.execute(slow).await.unwrap();
    publish_alone(&client, "orders", 50).await;
    let before = everything(&client, "orders").await;
    let (mut chance, mut ended) = (Chance::printed(), 0);
    let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity
        where datname = current_database() and state = 'active' and query like '%pack_v1%' and pid <> pg_backend_pid()";
    while ended < 8 {
        let rows = number(&mut postgres, "select count(*) from eventflow.segments").await;
        let links = number(&mut postgres, "select count(*) from eventflow.links").await;
        assert!(rows == 51 && links == 0 || links > 0 && rows < 51, "{rows} rows with {links} links");
        if links > 0 {
            break;
        }
        chance.moment(Duration::from_millis(50)).await;
        ended += number(&mut postgres, end).await;
    }
    assert!(ended > 0, "no transaction was cut off");
    postgres.execute("drop trigger slow on eventflow.segments").await.unwrap();
    let found = packed_to(&client, "orders", 51).await;
    assert_eq!((found.verified_offset, found.verified_events), (51, 51));
    assert_eq!(everything(&client, "orders").await, before);
    println!("{ended} transactions were cut off");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packer_that_is_killed_leaves_all_or_nothing() {
    let (database, redis) = (Database::fresh().await, Redis::shared().await);
    let mut server = packing(Server::cluster(&database, redis)).start().await;
    let client = Client::admin(&server).await;
    client.create_topic("orders").await;
    let mut chance = Chance::printed();
    for round in 1..=6 {
        let client = client.on(&server).await;
        publish_alone(&client, "orders", 40).await;
        chance.moment(Duration::from_millis(300)).await;
        server.restart().await;
        let client = client.on(&server).await;
        let found = verify(&client, "orders").await;
        assert_eq!((found.altered, found.verified_offset), (None, found.packed_offset));
        let texts: Vec<_> = everything(&client, "orders").await.iter().map(|event| text(event).to_owned()).collect();
        assert_eq!(texts.len(), round * 41);
        assert!(texts.chunks(41).all(|run| run[..40].iter().enumerate().all(|(n, text)| *text == n.to_string())));
    }
    let client = client.on(&server).await;
    assert_eq!(packed_to(&client, "orders", 6 * 41).await.verified_events, 6 * 41);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_pack_while_others_append_and_trim() {
    let (database, redis) = (Database::fresh().await, Redis::shared().await);
    let start = || packing(Server::cluster(&database, redis)).flag("--pack-after", "20ms");
    let servers = [start().start().await, start().start().await];
    let client = Client::admin(&servers[0]).await;
    let there = client.on(&servers[1]).await;
    client.create_topic("orders").await;
    let feeds = [Feed::named(&client, "orders", "a", 2, 3), Feed::named(&there, "orders", "b", 2, 1)];
    let mut trimmed = 1;
    for round in 1..=10 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        client.publish("orders", vec![large()]).await.unwrap();
        let found = verify(&there, "orders").await;
        assert_eq!(found.altered, None);
        if round % 3 == 0 {
            let before_offset = found.packed_offset / 2 + 1;
            let trim = v1::TrimTopicRequest { name: "orders".into(), before_offset, validate_only: false };
            trimmed = client.topics().trim_topic(trim).await.unwrap().into_inner().earliest_offset;
        }
    }
    let [here, elsewhere] = feeds;
    let (here, elsewhere) = (here.stop().await, elsewhere.stop().await);
    client.publish("orders", vec![large()]).await.unwrap();
    let head = verify(&client, "orders").await.head_offset;
    let found = packed_to(&there, "orders", head).await;
    assert_eq!((found.verified_offset, found.earliest_offset), (head, trimmed));
    let events = everything(&there, "orders").await;
    assert_eq!(events.iter().map(|event| event.offset).collect::<Vec<_>>(), (trimmed..=head).collect::<Vec<_>>());
    let mut missing = here
        .offsets
        .iter()
        .chain(&elsewhere.offsets)
        .filter(|(id, offset)| **offset >= trimmed && events[(**offset - trimmed) as usize].id != **id);
    assert_eq!(missing.next(), None, "an event is not where it was acknowledged");
    let acknowledged = here.offsets.len() + elsewhere.offsets.len() + 11;
    assert_eq!(head as usize, acknowledged, "an event was lost or stored twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_saw_a_head_of_long_ago_is_aimed_anew() {
    let (database, redis) = (Database::fresh().await, Redis::shared().await);
    let start = || packing(Server::cluster(&database, redis)).flag("--pack-after", "20ms");
    let servers = [start().start().await, start().start().await];
    let client = Client::admin(&servers[0]).await;
    let there = client.on(&servers[1]).await;
    client.create_topic("orders").await;
    client.publish("orders", vec![event("first")]).await.unwrap();
    // The first server knows nothing of these.
    publish_alone(&there, "orders", 5).await;
    packed_to(&there, "orders", 7).await;
    let before = sent(&servers[0], "append").await;
    let published = client.publish("orders", vec![event("last")]).await.unwrap();
    assert_eq!(published[0].offset, 8);
    assert!((1..=2).contains(&(sent(&servers[0], "append").await - before)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_among_packed_events_is_not_stored_twice() {
    let database = Database::fresh().await;
    let proxy = Proxy::to_unix(Postgres::shared().await.socket()).await;
    let url = database.url_through(proxy.address());
    let server = Server::embedded().environment("EVENTFLOW_DATABASE_URL", &url).flag("--pack-after", "off");
    let server = server.start().await;
    let client = Client::admin(&server).await;
    client.create_topic("orders").await;
    client.publish("orders", vec![event("1")]).await.unwrap();
    let (mut postgres, mut holder) = (database.connect().await, database.connect().await);
    holder.execute("begin; lock table eventflow.segments in share row exclusive mode").await.unwrap();
    let publisher = client.clone();
    let publish = tokio::spawn(async move { publisher.publish("orders", vec![event("2")]).await });
    let waiting = "select count(*) from pg_locks where relation = 'eventflow.segments'::regclass and not granted";
    eventually("an append to wait", async || (number(&mut postgres, waiting).await == 1).then_some(())).await;
    proxy.stop(Flow::ToClient);
    holder.execute("commit").await.unwrap();
    let stored = "select count(*) from eventflow.segments";
    eventually("the event to be recorded", async || (number(&mut postgres, stored).await == 2).then_some(())).await;
    // Another server packs it meanwhile, as if this one had stood still for long; with the first one, unless 6 s lie
    // between them, after which a run ends.
    let other = Server::embedded().environment("EVENTFLOW_DATABASE_URL", &database.url()).flag("--pack-after", "1s");
    let other = other.start().await;
    let there = client.on(&other).await;
    there.publish("orders", vec![event("3")]).await.unwrap();
    there.publish("orders", vec![large()]).await.unwrap();
    packed_to(&there, "orders", 4).await;
    proxy.cut();
    proxy.flow();
    let refusal = publish.await.unwrap().expect_err(&server.log());
    assert_refused(&refusal, Code::Unavailable, "OUTCOME_UNKNOWN");
    assert_eq!(refusal.metadata().get("grpc-retry-pushback-ms").unwrap(), "-1");
    let back = async || client.publish("orders", vec![event("5")]).await.ok();
    let next = eventually_within(Duration::from_secs(60), "the server to be back", back).await;
    assert_eq!(next[0].offset, 5);
    assert_eq!(everything(&there, "orders").await.len(), 5);
}
