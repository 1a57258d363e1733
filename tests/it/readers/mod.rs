//! Readers that are slow, many, restless, or never woken; and what they cost.

mod churn;
mod economy;
mod fan_out;
mod idle;
mod polling;
mod slow;

use std::time::{Duration, Instant};

use eventflow::proto::v1;

use crate::{
    client::{Client, Stream, after},
    harness::{databases::Database, patience::DEADLINE, redis::Redis, server::Server},
    observe::{Metrics, hears_others},
};

/// Tests with thousands of streams, of which one at a time is enough for a machine.
static CROWD: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Streams on one connection, below what a server allows.
const PER_CONNECTION: usize = 100;

/// Between two openings of a stream, while the store is said to be away.
const PAUSE: Duration = Duration::from_millis(100);

/// Opens a stream as clients do: once more for as long as the store is said to be away, as it is when a machine is
/// so busy that a thousand others keep a request waiting.
async fn open(client: &Client, request: v1::SubscribeRequest) -> Stream {
    let began = Instant::now();
    loop {
        match client.subscribe(request.clone()).await {
            Ok(stream) => return stream,
            Err(status) if status.message().starts_with("STORAGE_UNAVAILABLE") && began.elapsed() < DEADLINE => {}
            Err(status) => panic!("a stream does not open: {status:?}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Opens streams of a topic after an offset and waits until each has caught up.
async fn caught_up(client: &Client, server: &Server, topic: &str, offset: i64, count: usize) -> Vec<Stream> {
    let mut streams = Vec::with_capacity(count);
    let mut client = client.on(server).await;
    for n in 0..count {
        if n > 0 && n % PER_CONNECTION == 0 {
            client = client.on(server).await;
        }
        let mut stream = open(&client, after(topic, offset)).await;
        assert!(stream.until_caught_up().await.is_empty(), "there was something after {offset}");
        streams.push(stream);
    }
    streams
}

/// Reads from each stream, at once, the events from `first` to `last`, which must come in order.
async fn all_receive(streams: Vec<Stream>, first: i64, last: i64) -> Vec<Stream> {
    let readers: Vec<_> = streams
        .into_iter()
        .map(|mut stream| {
            tokio::spawn(async move {
                let events = stream.events((last - first + 1) as usize).await;
                assert!(events.iter().map(|event| event.offset).eq(first..=last), "a gap, a repeat or disorder");
                stream
            })
        })
        .collect();
    let mut streams = Vec::with_capacity(readers.len());
    for reader in readers {
        streams.push(reader.await.expect("every reader gets everything"));
    }
    streams
}

/// How often all streams of a server were told to look, because something may have been missed.
fn alarms(metrics: &Metrics) -> u64 {
    metrics.with("eventflow_wake_ups_total", &[("cause", "everything")])
}

/// Two servers on one new Postgres database, without Redis unless given, and an admin of the first.
async fn two_servers(redis: Option<&Redis>) -> (Server, Server, Client) {
    let database = Database::fresh().await;
    let start = || match redis {
        Some(redis) => Server::cluster(&database, redis),
        None => Server::embedded().environment("EVENTFLOW_DATABASE_URL", &database.url()),
    };
    let (first, second) = (start().start().await, start().start().await);
    if redis.is_some() {
        hears_others(&first).await;
        hears_others(&second).await;
    }
    let client = Client::admin(&first).await;
    client.create_topic("orders").await;
    (first, second, client)
}

/// An event with a text of this many bytes.
fn heavy(bytes: usize) -> v1::NewEvent {
    crate::client::event(&"x".repeat(bytes))
}
