//! Postgres ends random connections of two servers while both are published to.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use eventflow::proto::v1;
use sqlx::PgConnection;
use tokio::task::JoinHandle;

use super::Pair;
use crate::{
    chance::Chance,
    client::{Client, event},
    feed::{Feed, Reader, everything, publish_surely},
    harness::databases::Database,
};

/// So many connections must have been in the middle of a statement when they were ended.
const HITS: usize = 50;
/// Between two terminations, at most.
const LULL: Duration = Duration::from_millis(40);
/// Before this they must have hit.
const PATIENCE: Duration = Duration::from_secs(100);

/// Ends one connection of the servers, one with a statement if there soon is any; whether it had one, or `None`
/// if it was gone.
async fn terminate(postgres: &mut PgConnection, chance: &mut Chance) -> Option<bool> {
    let find = "select pid, state = 'active' from pg_stat_activity
        where datname = current_database() and application_name = 'eventflow' and state is not null";
    // Any one, every fourth time.
    let mut looks = if chance.number(0..4) == 0 { 1 } else { 20 };
    let (pid, busy) = loop {
        let found: Vec<(i32, bool)> = sqlx::query_as(find).fetch_all(&mut *postgres).await.unwrap();
        looks -= 1;
        match found.iter().find(|(_, busy)| *busy) {
            Some(busy) if looks > 0 => break *busy,
            None if looks > 0 => {}
            Some(_) | None => {
                let any = chance.number(0..found.len().max(1) as u64) as usize;
                break *found.get(any)?;
            }
        }
    };
    let ended = sqlx::query_scalar("select pg_terminate_backend($1)").bind(pid).fetch_one(postgres);
    let ended: bool = ended.await.unwrap();
    ended.then_some(busy)
}

/// What twins were told: one publishes on each server, the same ids at the same time.
#[derive(Default)]
struct Told {
    /// Offsets by id.
    offsets: HashMap<String, i64>,
    /// Ids that one of the two was told to be known already.
    known: usize,
}

/// Publishes as twins until told to stop.
async fn twins(clients: [Client; 2], pair: usize, stop: Arc<AtomicBool>) -> Told {
    let mut told = Told::default();
    for request in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let ids = (0..1 + request % 4).map(|n| format!("twins-{pair}-{request}-{n}"));
        let events: Vec<_> = ids.map(|id| v1::NewEvent { id: id.clone(), ..event(&id) }).collect();
        let [one, other] = &clients;
        let (one, other) =
            tokio::join!(publish_surely(one, "orders", &events), publish_surely(other, "orders", &events));
        for (one, other) in one.into_iter().zip(other) {
            assert_eq!((&one.id, one.offset), (&other.id, other.offset), "twins were told different things");
            assert!(one.duplicate || other.duplicate, "{} was recorded twice", one.id);
            told.known += 1;
            told.offsets.insert(one.id, one.offset);
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_stored_once_while_postgres_ends_connections_of_two_servers() {
    let database = Database::fresh().await;
    let pair = Pair::over(&database, &[]).await;
    let clients = [pair.here.clone(), pair.there.clone()];
    let readers = clients.each_ref().map(|client| Reader::start(client, "orders"));
    // Eight writers: two pairs of twins, and two of each server's own.
    let stop = Arc::new(AtomicBool::new(false));
    let pairs: Vec<JoinHandle<Told>> =
        (0..2).map(|pair| tokio::spawn(twins(clients.clone(), pair, stop.clone()))).collect();
    let feed = Feed::over(&clients, "orders", 4, 5);

    let (mut chance, mut postgres) = (Chance::printed(), database.connect().await);
    let (mut ended, mut hits, began) = (0, 0, Instant::now());
    while hits < HITS {
        chance.moment(LULL).await;
        let busy = terminate(&mut postgres, &mut chance).await;
        (ended, hits) = (ended + usize::from(busy.is_some()), hits + usize::from(busy == Some(true)));
        assert!(began.elapsed() < PATIENCE, "{hits} of {ended} terminations hit a statement");
    }
    feed.goes_on().await;
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = feed.stop().await;
    let alone = acknowledged.offsets.len();
    let mut known = 0;
    for told in pairs {
        let told = told.await.expect("twins go on to the end");
        known += told.known;
        acknowledged.offsets.extend(told.offsets);
    }
    let events = everything(&pair.here, "orders").await;
    let found = acknowledged.assert_found_once(&events);
    for reader in readers {
        let seen = reader.until(found as i64).await;
        assert!(seen == events, "a reader saw {} of {} events, or others", seen.len(), events.len());
    }
    let unknown = "an append's outcome is unknown; sending the batch again";
    let repeated = [&pair.first, &pair.second].map(|server| server.log().matches(unknown).count());
    assert!(known > 0 && alone > 0 && repeated.iter().sum::<usize>() > 0, "{repeated:?} appends were hit");
    println!(
        "{ended} connections ended, {hits} in a statement, {repeated:?} appends repeated, in {:?}; {alone} ids sent to \
         one server, {known} to both; {found} found",
        began.elapsed()
    );
}
