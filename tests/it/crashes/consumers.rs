//! An ordered consumer goes on after a crash where it had committed.

use std::time::{Duration, Instant};

use eventflow::proto::v1::{self, subscribe_response::Frame};
use tokio::time::timeout;
use tonic::Status;

use crate::{
    chance::Chance,
    client::{Client, Stream, as_consumer},
    feed::{Feed, everything, may_be_repeated},
    harness::{
        backend::{Backend, on_both_stores},
        patience::{DEADLINE, eventually},
    },
};

const KILLS: usize = 3;
/// How long a killed server's hold of a consumer lasts at most, and what a busy machine may add.
const HOLD: Duration = Duration::from_secs(15 + 20);

/// A consumer, and what it has done.
#[derive(Default)]
struct Work {
    /// Handled, in the order in which it was; what was handled without a commit is undone at the next start.
    done: Vec<v1::Event>,
    /// The last offset of which the commit was acknowledged.
    committed: i64,
    /// The last offset of which the commit was sent.
    sent: i64,
}

impl Work {
    /// Opens the consumer's stream, waiting for the hold of a killed server to run out.
    async fn start(&mut self, client: &Client) -> (Stream, i64) {
        let heartbeat_interval = Some(prost_types::Duration { seconds: 1, nanos: 0 });
        let request = || v1::SubscribeRequest { wait: true, heartbeat_interval, ..as_consumer("billing") };
        let asked = Instant::now();
        let mut stream = eventually("a stream", async || match client.subscribe(request()).await {
            Ok(stream) => Some(stream),
            Err(status) => {
                assert!(may_be_repeated(&status), "{status:?}");
                None
            }
        })
        .await;
        let started = loop {
            match stream.frame().await {
                Frame::Started(started) => break started,
                Frame::Heartbeat(heartbeat) => assert!(heartbeat.waiting, "a heartbeat before the start"),
                other => panic!("not Started: {other:?}"),
            }
            assert!(asked.elapsed() < HOLD, "the hold of a killed server lasts for more than {HOLD:?}");
        };
        let position = started.position.expect("a start has a position").offset;
        // A commit whose answer was lost may have been stored or not.
        assert!([self.committed, self.sent].contains(&position), "{position}: {}, {}", self.committed, self.sent);
        self.committed = position;
        self.done.truncate(position as usize);
        (stream, started.epoch)
    }

    /// Takes frames and commits each, until the stream breaks or `head` is committed.
    async fn go_on(&mut self, client: &Client, (mut stream, epoch): (Stream, i64), head: i64) -> Result<(), Status> {
        while self.committed < head {
            let frame = stream.next().await?.expect("the stream goes on");
            let Frame::Batch(batch) = frame else { continue };
            self.done.extend(batch.events);
            self.sent = self.done.last().expect("a batch is not empty").offset;
            let request = v1::CommitOffsetRequest { consumer: "billing".into(), offset: self.sent, epoch };
            let mut consumers = client.consumers();
            timeout(DEADLINE, consumers.commit_offset(request)).await.expect("a commit ends in time")?;
            self.committed = self.sent;
        }
        Ok(())
    }
}

on_both_stores! {
    async fn a_consumer_goes_on_after_its_last_commit(backend: Backend) {
        let mut chance = Chance::printed();
        let mut server = backend.server().await.start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        client.register("billing", "orders").await;
        let feed = Feed::start(&client, "orders", 4, 5);
        let mut work = Work::default();
        for _ in 0..KILLS {
            feed.goes_on().await;
            let stream = work.start(&client).await;
            let before = work.committed;
            let kill = async {
                chance.moment(Duration::from_secs(1)).await;
                server.kill().await;
            };
            let (end, ()) = tokio::join!(work.go_on(&client, stream, i64::MAX), kill);
            assert!(may_be_repeated(&end.expect_err("nobody reads from a killed server")));
            assert!(work.committed >= before);
            server.restart().await;
        }
        feed.goes_on().await;
        let acknowledged = feed.stop().await;
        let head = acknowledged.offsets.len() as i64;
        let stream = work.start(&client).await;
        work.go_on(&client, stream, head).await.expect("the stream lives");
        let found = acknowledged.assert_found_once(&work.done);
        assert!(work.done == everything(&client, "orders").await, "the consumer saw other events than there are");
        println!("{backend:?}: {KILLS} kills, {head} acknowledged, {found} handled once");
    }
}
