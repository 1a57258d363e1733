//! Postgres is restarted again and again, by its administrator or by a crash of one of its processes.

use std::time::Duration;

use super::{follower::Follower, server_on};
use crate::{
    chance::Chance,
    client::from_earliest,
    feed::{Feed, Reader, everything},
    harness::postgres::Postgres,
};

/// Of each kind.
const RESTARTS: u64 = 3;
/// Acknowledged between two restarts, at least.
const EVENTS: u64 = 300;

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_events_outlive_stops_and_crashes_of_postgres_and_one_stream_sees_them_all() {
    let mut chance = Chance::printed();
    let mut postgres = Postgres::private().await;
    let (server, client) = server_on(&postgres.url("postgres")).await;
    client.create_topic("orders").await;
    let follower = Follower::start(&client, from_earliest("orders")).await;
    let reader = Reader::start(&client, "orders");
    let feed = Feed::start(&client, "orders", 8, 10);
    for restart in 1..=2 * RESTARTS {
        feed.reaches(feed.acknowledged() + EVENTS).await;
        chance.moment(Duration::from_millis(500)).await;
        match restart % 2 {
            0 => postgres.stop().await,
            _ => postgres.crash().await,
        }
        postgres.start_again().await;
    }
    feed.reaches(feed.acknowledged() + EVENTS).await;
    let acknowledged = feed.stop().await;
    let events = everything(&client, "orders").await;
    let found = acknowledged.assert_found_once(&events);
    assert!(reader.until(found as i64).await == events, "the reader saw other events than there are");
    assert!(follower.until(found as i64).await == events, "the stream saw other events than there are");
    let noticed = server.log().matches("the database server was started again or replaced").count();
    assert_eq!(noticed as u64, 2 * RESTARTS, "restarts that the server noticed");
    println!(
        "{RESTARTS} stops and {RESTARTS} crashes of Postgres, {} acknowledged ({} after a lost answer), {found} found",
        acknowledged.offsets.len(),
        acknowledged.duplicates
    );
}
