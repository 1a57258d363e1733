//! A backup of Postgres is restored in its place.

use tonic::Code;
use tonic_types::StatusExt;

use super::{follower::Follower, server_on};
use crate::{
    client::{assert_refused, event, from_earliest, text},
    feed::{everything, publish_surely},
    harness::postgres::Postgres,
};

/// Events that the backup has.
const KEPT: i64 = 20;
/// Events that were delivered and then lost.
const LOST: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_ends_the_streams_that_saw_more_and_publishing_goes_on_where_it_ends() {
    let mut postgres = Postgres::private().await;
    let (_server, client) = server_on(&postgres.url("postgres")).await;
    client.create_topic("orders").await;
    client.publish_numbered("orders", 1, KEPT as usize).await;
    postgres.stop().await;
    let backup = postgres.back_up().await;
    postgres.start_again().await;
    let with_id = |id: &str, text: &str| eventflow::proto::v1::NewEvent { id: id.into(), ..event(text) };
    let mut follower = Follower::start(&client, from_earliest("orders")).await;
    let lost: Vec<_> = (0..LOST).map(|n| with_id(&format!("lost-{n}"), "lost")).collect();
    let published = publish_surely(&client, "orders", &lost).await;
    assert_eq!(published.last().unwrap().offset, KEPT + LOST as i64);
    follower.reaches(KEPT + LOST as i64).await;

    postgres.stop().await;
    postgres.restore(&backup).await;
    postgres.start_again().await;
    // At once, from a head that the backup does not have; one of the lost events is published again.
    let again = [with_id("new", "new"), with_id("lost-3", "lost")];
    let published = publish_surely(&client, "orders", &again).await;
    let places: Vec<_> = published.iter().map(|published| (published.offset, published.duplicate)).collect();
    assert_eq!(places, [(KEPT + 1, false), (KEPT + 2, false)]);

    let (events, end) = follower.ends().await;
    assert_eq!(events.len() as i64, KEPT + LOST as i64, "events of another log");
    assert_refused(&end, Code::DataLoss, "LOG_SHORTENED");
    assert_eq!(end.get_details_error_info().unwrap().metadata["head_offset"], KEPT.to_string());
    let mut follower = Follower::start(&client, from_earliest("orders")).await;
    follower.reaches(KEPT + 2).await;
    publish_surely(&client, "orders", &[with_id("last", "last")]).await;
    let events = everything(&client, "orders").await;
    let texts: Vec<_> = events[KEPT as usize..].iter().map(text).collect();
    assert_eq!(texts, ["new", "lost", "last"]);
    assert!(follower.until(KEPT + 3).await == events, "the new stream saw other events than there are");
    println!("restored {KEPT} of {} events: LOG_SHORTENED, then {} without a gap", KEPT + LOST as i64, events.len());
}
