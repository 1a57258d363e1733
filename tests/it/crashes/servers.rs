//! The server is killed while it is published to.

use std::time::Duration;

use crate::{
    chance::Chance,
    client::Client,
    feed::{Feed, Reader, everything},
    harness::backend::{Backend, on_both_stores},
};

const KILLS: u64 = 24;
const EVENTS: u64 = 10_000;
/// A kill comes within this after the server has begun to acknowledge.
const LIFE: Duration = Duration::from_millis(600);

on_both_stores! {
    async fn acknowledged_events_outlive_kills_once_and_in_place(backend: Backend) {
        let mut chance = Chance::printed();
        let mut server = backend.server().await.start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        let reader = Reader::start(&client, "orders");
        let feed = Feed::start(&client, "orders", 8, 25);
        let mut kills = 0;
        while kills < KILLS || feed.acknowledged() < EVENTS {
            feed.goes_on().await;
            chance.moment(LIFE).await;
            server.kill().await;
            kills += 1;
            server.restart().await;
        }
        let acknowledged = feed.stop().await;
        let events = everything(&client.on(&server).await, "orders").await;
        let found = acknowledged.assert_found_once(&events);
        let seen = reader.until(found as i64).await;
        assert!(seen == events, "the reader saw {} of {} events, or others", seen.len(), events.len());
        println!(
            "{backend:?}: {kills} kills, {} acknowledged ({} after a lost answer), {found} found",
            acknowledged.offsets.len(), acknowledged.duplicates,
        );
    }
}
