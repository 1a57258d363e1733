//! Somebody floods Redis with forged messages.

use std::time::{Duration, Instant};

use eventflow::proto::v1;
use sqlx::PgConnection;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::sleep,
};
use uuid::Uuid;

use super::{POLLS, World};
use crate::{
    client::{Client, as_consumer},
    feed::{Feed, all_reach, everything},
    harness::{patience::eventually, redis::Redis},
    observe::Metrics,
};

/// Forged messages that come as fast as Redis takes them, and how many are published at once.
const FAST: (usize, usize) = (24_000, 3_000);
/// Forged messages that come slowly enough for each to be handled.
const SLOW: (usize, usize) = (6_000, 4);
/// By then a server has handled what it was told.
const SETTLED: Duration = Duration::from_secs(2);

/// What a forger knows of the cluster.
struct Forger {
    cluster: Uuid,
    topic: i32,
    consumer: i32,
    servers: [String; 2],
}

impl Forger {
    async fn of(world: &World) -> Self {
        let mut postgres = world.database.connect().await;
        let one = async |statement: &'static str, postgres: &mut PgConnection| -> i32 {
            sqlx::query_scalar(statement).fetch_one(postgres).await.unwrap()
        };
        Self {
            cluster: sqlx::query_scalar("select id from eventflow.cluster").fetch_one(&mut postgres).await.unwrap(),
            topic: one("select id from eventflow.topics", &mut postgres).await,
            consumer: one("select id from eventflow.consumers", &mut postgres).await,
            servers: world.servers().map(|server| server.instance().to_owned()),
        }
    }

    /// The message of this number: its channel and its payload, of one kind after the other.
    fn message(&self, n: usize) -> (String, Vec<u8>) {
        let stranger = Uuid::from_u128(n as u128);
        let speaker = match n % 3 {
            0 => stranger.to_string(),
            1 => Uuid::nil().to_string(),
            _ => self.servers[n % 2].clone(),
        };
        let (topic, control) = (format!("topic:{}", self.topic), "control".to_owned());
        let said = |words: &str| format!("1 {speaker}{words}").into_bytes();
        let (channel, payload) = match n / 3 % 16 {
            0 | 1 => (topic, said("")),
            2 => (format!("topic:{n}"), said("")),
            3 => (control, said(" topics")),
            4 => (control, said(" identities")),
            5 => (control, said(&format!(" consumer {}", self.consumer))),
            6 => (control, said(&format!(" consumer {n}"))),
            7 => (control, said(" everything")),
            8 => ("beat".into(), said(&format!(" {n}"))),
            9 => ("beat".into(), said(&format!(" {}", u64::MAX))),
            10 => (topic, vec![]),
            11 => (control, (0..=255).collect()),
            12 => (topic, format!("1 {speaker} {}", "x".repeat(5000)).into_bytes()),
            13 => ("topics".into(), said(&format!(" {} {n}", self.topic).repeat(100))),
            14 => ("topics".into(), said(&format!(" {} x", self.topic))),
            _ => ("topic:nowhere".into(), b"2 not a server".to_vec()),
        };
        (format!("eventflow:{}:{channel}", self.cluster), payload)
    }

    async fn flood(&self, redis: &Redis, (count, at_once): (usize, usize)) {
        let mut stream = redis.connect().await;
        for start in (0..count).step_by(at_once) {
            let mut commands = vec![];
            for (channel, payload) in (start..start + at_once).map(|n| self.message(n)) {
                commands.extend(format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{channel}\r\n", channel.len()).as_bytes());
                commands.extend(format!("${}\r\n", payload.len()).as_bytes());
                commands.extend(payload);
                commands.extend(b"\r\n");
            }
            stream.write_all(&commands).await.expect("Redis reads");
            let mut answers = vec![];
            while answers.iter().filter(|byte| **byte == b'\n').count() < at_once {
                assert_ne!(stream.read_buf(&mut answers).await.expect("Redis answers"), 0, "Redis answers");
            }
        }
    }
}

/// What both servers have done so far: reads of logs, polls, and statements of any kind.
async fn work(world: &World, postgres: &mut PgConnection) -> [u64; 3] {
    let mut work = [0; 3];
    for server in world.servers() {
        let metrics = Metrics::of(server).await;
        work[0] += metrics.get("eventflow_log_reads_total");
        work[1] += metrics.get(POLLS);
    }
    // Postgres counts what an idle connection did only after seconds, or at its end.
    let of_servers =
        "select pid from pg_stat_activity where datname = current_database() and application_name = 'eventflow'";
    let idle: Vec<i32> = sqlx::query_scalar(of_servers).fetch_all(&mut *postgres).await.unwrap();
    let end = sqlx::query("select pg_terminate_backend(pid) from unnest($1) pid").bind(&idle);
    end.execute(&mut *postgres).await.unwrap();
    eventually("connections to be gone", async || {
        let left = sqlx::query_scalar("select count(*) from pg_stat_activity where pid = any($1)").bind(&idle);
        let left: i64 = left.fetch_one(&mut *postgres).await.unwrap();
        (left == 0).then_some(())
    })
    .await;
    let statements = "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()";
    let statements: i64 = sqlx::query_scalar(statements).fetch_one(postgres).await.unwrap();
    work[2] = statements as u64;
    work
}

/// Floods servers that have nothing else to do; returns how much they did.
async fn work_in(flood: (usize, usize), world: &World, redis: &Redis, forger: &Forger) -> [u64; 3] {
    let mut postgres = world.database.connect().await;
    let before = work(world, &mut postgres).await;
    let began = Instant::now();
    forger.flood(redis, flood).await;
    let flooded = began.elapsed();
    sleep(SETTLED).await;
    let after = work(world, &mut postgres).await;
    let done = [0, 1, 2].map(|n| after[n] - before[n]);
    let [reads, polls, statements] = done;
    println!("{} forged messages in {flooded:?}: {reads} reads, {polls} polls, {statements} statements", flood.0);
    done
}

/// Holds the consumer on the second server.
async fn hold(client: &Client) -> crate::client::Stream {
    client.register("billing", "orders").await;
    let heartbeat_interval = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let mut stream =
        client.subscribe(v1::SubscribeRequest { heartbeat_interval, ..as_consumer("billing") }).await.unwrap();
    stream.started().await;
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_forged_messages_costs_bounded_work_and_no_event() {
    let redis = Redis::private().await;
    let world = World::healthy(&redis, &[]).await;
    let mut held = hold(&world.there).await;
    let forger = Forger::of(&world).await;
    let mut witnesses = world.witnesses().await;
    let [reads, polls, statements] = work_in(FAST, &world, &redis, &forger).await;
    assert!(reads > 0, "no forged message was heard");
    assert!(reads + polls < FAST.0 as u64 / 10 && statements < FAST.0 as u64 / 10);
    // Each of two servers hears each message.
    let [reads, polls, statements] = work_in(SLOW, &world, &redis, &forger).await;
    assert!(reads + polls < SLOW.0 as u64 / 2 && statements < SLOW.0 as u64 / 2);

    // Publishing goes on, and nothing is lost.
    let feed = Feed::over(&world.clients(), "orders", 4, 5);
    forger.flood(&redis, SLOW).await;
    feed.reaches(300).await;
    let acknowledged = feed.stop().await;
    let head = acknowledged.offsets.len();
    all_reach(&mut witnesses, head as i64).await;
    let events = everything(&world.here, "orders").await;
    acknowledged.assert_found_once(&events);
    assert!(witnesses.iter().all(|witness| witness.seen() == events), "a reader saw other events than there are");
    assert_eq!(held.events(head).await, events, "the consumer saw other events than there are");
    world.rely_on_redis(true).await;
    println!("{head} events published during {} more were received once", SLOW.0);
}
