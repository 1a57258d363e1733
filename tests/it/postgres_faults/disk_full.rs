//! The disk of Postgres is full.

use eventflow::proto::v1;
use prost::bytes::Bytes;
use tonic::Code;

use super::{assert_unavailable, follower::Follower, head, server_on};
use crate::{
    chance::Chance,
    client::{Client, assert_refused, from_earliest},
    feed::everything,
    harness::{patience::eventually, postgres::Postgres},
};

/// More than a segment of WAL (16 MiB), which must never be refused, and half a page more than whole pages.
const LARGEST: u64 = (24 << 20) + 4096;
/// Of one event; they cannot be compressed.
const BYTES: usize = 900 * 1024;
/// Requests that are refused while the disk is full.
const REFUSALS: usize = 4;

fn noise(chance: &mut Chance) -> Bytes {
    (0..BYTES / 8).flat_map(|_| chance.number(0..u64::MAX).to_le_bytes()).collect()
}

async fn publish(client: &Client, data: &Bytes) -> Result<Vec<v1::Published>, tonic::Status> {
    let payload = Some(v1::new_event::Payload::Data(data.clone()));
    client.publish("orders", vec![v1::NewEvent { r#type: "test".into(), payload, ..Default::default() }]).await
}

fn payloads(events: &[v1::Event]) -> Vec<Bytes> {
    let data = |event: &v1::Event| match &event.payload {
        Some(v1::event::Payload::Data(data)) => data.clone(),
        other => panic!("not bytes: {other:?}"),
    };
    events.iter().map(data).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_events_and_loses_none() {
    let mut chance = Chance::printed();
    let mut postgres = Postgres::cramped(LARGEST).await;
    let (_server, client) = server_on(&postgres.url("postgres")).await;
    client.create_topic("orders").await;
    let mut follower = Follower::start(&client, from_earliest("orders")).await;
    let (mut kept, mut refused) = (Vec::new(), 0);
    while refused < REFUSALS {
        let data = noise(&mut chance);
        match publish(&client, &data).await {
            Ok(published) => {
                kept.push(data);
                assert_eq!(published[0].offset, kept.len() as i64);
            }
            Err(status) => {
                assert_refused(&status, Code::ResourceExhausted, "STORAGE_FULL");
                refused += 1;
            }
        }
        assert!(kept.len() * BYTES < 4 * LARGEST as usize, "the disk does not fill up");
    }
    let full = kept.len();
    assert!(full > 10, "only {full} events fit");
    assert_eq!(head(&client, "orders").await, full as i64);
    assert!(payloads(&everything(&client, "orders").await) == kept, "other events than were acknowledged");
    follower.reaches(full as i64).await;

    postgres.stop().await;
    postgres.start_again().await;
    for _ in 0..REFUSALS {
        let data = noise(&mut chance);
        // The first statements may meet connections of the Postgres that was stopped.
        let attempt = async || publish(&client, &data).await.map_err(|status| assert_unavailable(&status)).ok();
        let published = eventually("publishing to go on", attempt).await;
        kept.push(data);
        assert_eq!(published[0].offset, kept.len() as i64, "a gap");
    }
    assert!(payloads(&everything(&client, "orders").await) == kept, "other events than were acknowledged");
    assert!(payloads(&follower.until(kept.len() as i64).await) == kept, "the stream saw other events");
    println!("{full} events of {BYTES} bytes filled the disk, {refused} were refused, {} found in the end", kept.len());
}
