//! Postgres itself is killed while it is published to.

use std::time::Duration;

use crate::{
    chance::Chance,
    client::Client,
    feed::{Feed, Reader, everything},
    harness::{postgres::Postgres, server::Server},
};

const KILLS: u64 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_events_outlive_kills_of_postgres() {
    let mut chance = Chance::printed();
    let mut postgres = Postgres::private().await;
    let server = Server::embedded().environment("EVENTFLOW_DATABASE_URL", &postgres.url("postgres")).start().await;
    let client = Client::admin(&server).await;
    client.create_topic("orders").await;
    let reader = Reader::start(&client, "orders");
    let feed = Feed::start(&client, "orders", 8, 10);
    for kill in 1..=KILLS {
        feed.reaches(500 * kill).await;
        chance.moment(Duration::from_secs(1)).await;
        postgres.kill().await;
        postgres.start_again().await;
    }
    feed.reaches(500 * (KILLS + 1)).await;
    let acknowledged = feed.stop().await;
    let events = everything(&client, "orders").await;
    let found = acknowledged.assert_found_once(&events);
    let seen = reader.until(found as i64).await;
    assert!(seen == events, "the reader saw {} of {} events, or others", seen.len(), events.len());
    println!("{KILLS} kills of Postgres, {} acknowledged, {found} found", acknowledged.offsets.len());
}
