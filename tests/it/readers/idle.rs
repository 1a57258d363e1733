//! Ten thousand streams that have nothing to do.

use std::time::{Duration, Instant};

use eventflow::proto::v1::{self, subscribe_response::Frame};

use super::{CROWD, PER_CONNECTION, open, two_servers};
use crate::{
    client::{Client, Stream, after},
    harness::server::Server,
    observe::{Metrics, resident},
};

const STREAMS: usize = 10_000;
/// Until the last of them has an event, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);
/// As without a notifier.
const INTERVAL: Duration = Duration::from_millis(100);
const POLLS: &str = "eventflow_polls_total";
const READS: &str = "eventflow_log_reads_total";

/// Opens streams over one connection, and waits until each has caught up.
async fn connection_of_streams(client: Client) -> Vec<Stream> {
    let heartbeat_interval = Some(prost_types::Duration { seconds: 300, nanos: 0 });
    let mut streams = Vec::new();
    for _ in 0..PER_CONNECTION {
        let request = v1::SubscribeRequest { heartbeat_interval, ..after("orders", 0) };
        let mut stream = open(&client, request).await;
        assert!(stream.until_caught_up().await.is_empty());
        streams.push(stream);
    }
    streams
}

/// The offset of the first event that comes.
async fn first_offset(stream: &mut Stream) -> i64 {
    loop {
        match stream.next_within(PATIENCE).await.expect("the stream goes on") {
            Some(Frame::Batch(batch)) => return batch.events[0].offset,
            Some(_) => {}
            None => panic!("the stream ended"),
        }
    }
}

async fn idle_streams(client: &Client, server: &Server) -> Vec<Stream> {
    let mut streams = Vec::with_capacity(STREAMS);
    for _ in 0..STREAMS / PER_CONNECTION / 4 {
        let clients = futures::future::join_all((0..4).map(|_| client.on(server))).await;
        let opening: Vec<_> = clients.into_iter().map(|client| tokio::spawn(connection_of_streams(client))).collect();
        for opened in opening {
            streams.extend(opened.await.unwrap());
        }
    }
    streams
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_streams_cost_one_look_an_interval_and_all_see_an_event_of_another_server() {
    let _alone = CROWD.lock().await;
    let (first, second, client) = two_servers(None).await;
    let small = resident(&second);
    let streams = idle_streams(&client, &second).await;
    assert_eq!(streams.len(), STREAMS);
    let grown = (resident(&second) - small) >> 20;

    let (began, before) = (Instant::now(), Metrics::of(&second).await);
    tokio::time::sleep(INTERVAL * 30).await;
    let after = Metrics::of(&second).await;
    let intervals = began.elapsed().as_millis() / INTERVAL.as_millis();
    let polls = after.get(POLLS) - before.get(POLLS);
    println!("{STREAMS} idle streams: {polls} looks in {intervals} intervals, {grown} MiB");
    assert!(polls >= 5 && u128::from(polls) <= intervals + 2, "{polls} looks in {intervals} intervals");
    assert_eq!(after.get(READS), before.get(READS), "idle streams read nothing");
    assert!(grown < 400, "{grown} MiB for {STREAMS} idle streams");

    client.publish_numbered("orders", 1, 1).await;
    let receiving: Vec<_> = streams
        .into_iter()
        .map(|mut stream| tokio::spawn(async move { (first_offset(&mut stream).await, stream) }))
        .collect();
    let mut streams = Vec::with_capacity(STREAMS);
    for received in receiving {
        let (offset, stream) = received.await.unwrap();
        assert_eq!(offset, 1);
        streams.push(stream);
    }
    let reads = Metrics::of(&second).await.get(READS) - after.get(READS);
    assert!((1..=10).contains(&reads), "{reads} reads for one event and {STREAMS} streams");
    assert_eq!(Metrics::of(&first).await.get(READS), 0, "a server without readers reads nothing");
}
