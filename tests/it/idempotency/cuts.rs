//! The connection to Postgres is lost at any point of an append.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use eventflow::proto::v1;
use futures::future::join_all;
use tokio::{task::JoinHandle, time::sleep};

use super::keyed;
use crate::{
    chance::Chance,
    client::{Client, event, text},
    feed::{Feed, everything, may_be_repeated, publish_surely},
    harness::{
        chaos::{Flow, Proxy},
        databases::Database,
        postgres::Postgres,
        server::Server,
    },
    observe::Metrics,
};

/// So many must have lost an append: its way there, its answer, or the connection just before it.
const CUTS: usize = 50;
/// Before this the cuts must have hit.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two faults.
const LULL: Duration = Duration::from_millis(60);

/// A server on a database behind a proxy.
async fn behind_a_proxy() -> (Server, Proxy, Database) {
    let database = Database::fresh().await;
    let proxy = Proxy::to_unix(Postgres::shared().await.socket()).await;
    let url = database.url_through(proxy.address());
    (Server::embedded().environment("EVENTFLOW_DATABASE_URL", &url).start().await, proxy, database)
}

/// How often the server lost an append and sent its batch again.
fn lost_appends(server: &Server) -> usize {
    server.log().matches("an append's outcome is unknown; sending the batch again").count()
}

/// Cuts all connections, in one of the ways that an append can meet. Returns whether one was hit.
async fn cut(chance: &mut Chance, proxy: &Proxy, server: &Server) -> bool {
    let before = lost_appends(server);
    chance.moment(LULL).await;
    match chance.number(0..4) {
        // Whatever is on its way.
        0 | 1 => {}
        // The append happens, and its answer is lost.
        2 => proxy.stop(Flow::ToClient),
        // The append never arrives.
        _ => proxy.stop(Flow::ToTarget),
    }
    chance.moment(LULL).await;
    proxy.cut();
    proxy.flow();
    let start = Instant::now();
    // What was hit is said at once, unless the cut came between two appends.
    while lost_appends(server) == before {
        if start.elapsed() > 4 * LULL {
            return false;
        }
        sleep(LULL / 10).await;
    }
    true
}

/// Cuts until enough cuts have hit; returns how many did, and how many there were.
async fn cut_often(proxy: &Proxy, server: &Server) -> (usize, usize) {
    let mut chance = Chance::printed();
    let (mut hits, mut cuts, start) = (0, 0, Instant::now());
    while hits < CUTS {
        hits += usize::from(cut(&mut chance, proxy, server).await);
        cuts += 1;
        assert!(start.elapsed() < PATIENCE, "{hits} of {cuts} cuts hit an append");
    }
    (hits, cuts)
}

#[tokio::test(flavor = "multi_thread")]
async fn events_with_ids_are_stored_once_through_cuts() {
    let (server, proxy, _database) = behind_a_proxy().await;
    let client = Client::admin(&server).await;
    client.create_topic("orders").await;
    let feed = Feed::start(&client, "orders", 8, 5);
    feed.goes_on().await;
    let (hits, cuts) = cut_often(&proxy, &server).await;
    feed.goes_on().await;
    let acknowledged = feed.stop().await;
    let counted = Metrics::of(&server).await.get("eventflow_append_retries_total");
    assert_eq!(counted, lost_appends(&server) as u64);
    let found = acknowledged.assert_found_once(&everything(&client, "orders").await);
    println!(
        "{hits} of {cuts} cuts hit an append, {} acknowledged with ids, {found} found",
        acknowledged.offsets.len()
    );
}

/// What a publisher without ids was told.
#[derive(Default)]
struct Told {
    /// Offsets by text.
    acknowledged: HashMap<String, i64>,
    /// May be recorded or not.
    unknown: HashSet<String>,
}

/// Publishes events without ids, and repeats only what the server says was not recorded.
async fn publish_without_ids(client: Client, topic: String, publisher: usize, stop: Arc<AtomicBool>) -> Told {
    let mut told = Told::default();
    for request in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let texts: Vec<_> = (0..1 + request % 4).map(|n| format!("{publisher}-{request}-{n}")).collect();
        let published = loop {
            let events = texts.iter().map(|text| event(text)).collect();
            match client.publish(&topic, events).await {
                Ok(published) => break Some(published),
                Err(status) if status.message().starts_with("STORAGE_UNAVAILABLE") => sleep(LULL).await,
                Err(status) => {
                    assert!(may_be_repeated(&status), "{status:?}");
                    let pushback = status.metadata().get("grpc-retry-pushback-ms").expect("a repeat could store twice");
                    assert_eq!(pushback, "-1");
                    break None;
                }
            }
        };
        match published {
            Some(published) => told.acknowledged.extend(texts.into_iter().zip(published.iter().map(|p| p.offset))),
            None => told.unknown.extend(texts),
        }
    }
    told
}

/// That a topic holds what its publishers were told, each event once; returns how many of them were acknowledged, and
/// how many were unsure but are there.
fn check(events: &[v1::Event], told: &[Told]) -> (usize, usize) {
    assert!(events.iter().map(|event| event.offset).eq(1..=events.len() as i64), "offsets have gaps");
    let found: HashMap<&str, i64> = events.iter().map(|event| (text(event), event.offset)).collect();
    assert_eq!(found.len(), events.len(), "an event is there twice");
    let (mut acknowledged, mut unknown) = (0, 0);
    for told in told {
        for (text, offset) in &told.acknowledged {
            assert_eq!(found.get(text.as_str()), Some(offset), "{text} was acknowledged at {offset}");
        }
        acknowledged += told.acknowledged.len();
        unknown += told.unknown.iter().filter(|text| found.contains_key(text.as_str())).count();
    }
    assert_eq!(acknowledged + unknown, found.len(), "what was said not to be recorded is");
    (acknowledged, unknown)
}

/// Publishes without ids through cuts, to these topics in turn.
async fn cut_while_publishing(server: &Server, proxy: &Proxy, topics: &[&str], publishers: usize) {
    let client = Client::admin(server).await;
    for topic in topics {
        client.create_topic(topic).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let publish = |publisher: usize| {
        let topic = topics[publisher % topics.len()].to_owned();
        tokio::spawn(publish_without_ids(client.clone(), topic, publisher, stop.clone()))
    };
    let publishers: Vec<JoinHandle<Told>> = (0..publishers).map(publish).collect();
    let (hits, cuts) = cut_often(proxy, server).await;
    stop.store(true, Ordering::Relaxed);
    let mut told: Vec<Vec<Told>> = topics.iter().map(|_| Vec::new()).collect();
    for (publisher, its) in join_all(publishers).await.into_iter().enumerate() {
        told[publisher % topics.len()].push(its.expect("a publisher goes on to the end"));
    }
    let (mut acknowledged, mut unknown) = (0, 0);
    for (topic, told) in topics.iter().zip(&told) {
        let (known, unsure) = check(&everything(&client, topic).await, told);
        (acknowledged, unknown) = (acknowledged + known, unknown + unsure);
    }
    println!(
        "{hits} of {cuts} cuts hit an append, {acknowledged} acknowledged without ids, {unknown} unsure but found"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn events_without_ids_are_stored_once_through_cuts() {
    let (server, proxy, _database) = behind_a_proxy().await;
    cut_while_publishing(&server, &proxy, &["orders"], 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_topics_that_share_transactions_are_stored_once_through_cuts() {
    let (server, proxy, _database) = behind_a_proxy().await;
    let topics: Vec<String> = (0..40).map(|n| format!("orders-{n}")).collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    cut_while_publishing(&server, &proxy, &topics, topics.len()).await;
    let metrics = Metrics::of(&server).await;
    let together = metrics.with("eventflow_store_statements_total", &[("statement", "append_many")]);
    assert!(together >= 10, "topics shared {together} transactions only");
}

/// Ends the connections on which an append runs just now; returns how many there were.
async fn terminate_appends(postgres: &mut sqlx::PgConnection) -> usize {
    let statement = "select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and state = 'active' and query like '%append_v%'";
    sqlx::query(statement).fetch_all(postgres).await.expect("the superuser may end connections").len()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_stored_once_while_postgres_ends_connections() {
    const EVENTS: usize = 5_000;
    const PUBLISHERS: usize = 8;
    let database = Database::fresh().await;
    let server = Server::embedded().environment("EVENTFLOW_DATABASE_URL", &database.url()).start().await;
    let client = Client::admin(&server).await;
    client.create_topic("orders").await;
    let publish = |publisher: usize| {
        let client = client.clone();
        tokio::spawn(async move {
            let mut told: Vec<v1::Published> = Vec::new();
            // Twice, so that each id is also sent as a duplicate.
            for _ in 0..2 {
                for start in (publisher..EVENTS).step_by(PUBLISHERS * 5) {
                    let ids = (start..EVENTS).step_by(PUBLISHERS).take(5);
                    let events: Vec<_> = ids.map(|n| keyed(&format!("id-{n}"), &n.to_string())).collect();
                    told.extend(publish_surely(&client, "orders", &events).await);
                }
            }
            told
        })
    };
    let publishers: Vec<_> = (0..PUBLISHERS).map(publish).collect();
    let (mut chance, mut postgres, mut terminated) = (Chance::printed(), database.connect().await, 0);
    while !publishers.iter().all(JoinHandle::is_finished) {
        chance.moment(LULL / 2).await;
        terminated += terminate_appends(&mut postgres).await;
    }
    let events = everything(&client, "orders").await;
    assert!(events.iter().map(|event| event.offset).eq(1..=EVENTS as i64), "{} events, or gaps", events.len());
    let found: HashMap<&str, i64> = events.iter().map(|event| (event.id.as_str(), event.offset)).collect();
    assert_eq!(found.len(), EVENTS, "an id is there twice");
    let mut answers = 0;
    for told in join_all(publishers).await {
        for published in told.expect("a publisher goes on to the end") {
            assert_eq!(found.get(published.id.as_str()), Some(&published.offset), "{published:?}");
            answers += 1;
        }
    }
    assert_eq!(answers, 2 * EVENTS);
    let lost = lost_appends(&server);
    println!(
        "{terminated} connections ended in an append, {lost} appends repeated, {EVENTS} ids sent twice, found once"
    );
    assert!(terminated >= CUTS && lost > 0, "{terminated} terminations, {lost} appends repeated");
}
