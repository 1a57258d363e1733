//! A transaction stays open for long, as a backup's or an analyst's does.

use eventflow::proto::v1::{self, subscribe_response::Frame};
use sqlx::{Connection, PgConnection};

use super::{commit, get_topic, server_on};
use crate::{
    client::{Client, Stream, as_consumer},
    feed::Feed,
    harness::databases::Database,
};

const EVENTS: usize = 5_000;
/// Commits for each trim.
const TRIM_EVERY: usize = 5;

/// Segments that a transaction sees.
async fn seen(snapshot: &mut PgConnection) -> i64 {
    sqlx::query_scalar("select count(*) from eventflow.segments").fetch_one(snapshot).await.unwrap()
}

async fn trim(client: &Client, before_offset: i64) {
    let request = v1::TrimTopicRequest { name: "orders".into(), before_offset, validate_only: false };
    client.topics().trim_topic(request).await.expect("a topic can be trimmed");
}

/// What a consumer did.
#[derive(Default)]
struct Work {
    done: Vec<v1::Event>,
    commits: usize,
    trims: usize,
}

impl Work {
    /// Reads, commits, and trims what is done, until so many events are done.
    async fn go_on(&mut self, client: &Client, stream: &mut Stream, epoch: i64, count: usize) {
        while self.done.len() < count {
            let Frame::Batch(batch) = stream.frame().await else { continue };
            self.done.extend(batch.events);
            let last = self.done.len() as i64;
            commit(client, "billing", epoch, last).await.expect("the stream has its consumer");
            self.commits += 1;
            if self.commits.is_multiple_of(TRIM_EVERY) {
                trim(client, last).await;
                self.trims += 1;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_consuming_and_trimming_go_on_while_a_snapshot_is_held() {
    let database = Database::fresh().await;
    let (_server, client) = server_on(&database.url()).await;
    client.create_topic("orders").await;
    client.register("billing", "orders").await;
    let feed = Feed::start(&client, "orders", 8, 10);
    feed.reaches(100).await;
    let mut outsider = database.connect().await;
    let mut snapshot = outsider.begin_with("begin isolation level repeatable read").await.unwrap();
    let before = seen(&mut snapshot).await;

    let mut stream = client.subscribe(as_consumer("billing")).await.unwrap();
    let epoch = stream.started().await.epoch;
    let mut work = Work::default();
    let publishing = async {
        feed.reaches(EVENTS as u64).await;
        feed.stop().await
    };
    let (acknowledged, ()) = tokio::join!(publishing, work.go_on(&client, &mut stream, epoch, EVENTS));
    work.go_on(&client, &mut stream, epoch, acknowledged.offsets.len()).await;

    let found = acknowledged.assert_found_once(&work.done);
    let topic = get_topic(&client, "orders").await.unwrap();
    assert_eq!(topic.head_offset, found as i64);
    assert!(topic.earliest_offset > 1 && work.trims > 3, "{} trims up to {}", work.trims, topic.earliest_offset);
    let after = seen(&mut snapshot).await;
    assert_eq!(before, after, "the snapshot was not held");
    snapshot.rollback().await.unwrap();
    let kept = seen(&mut outsider).await;
    println!(
        "{found} events, {} commits and {} trims under a snapshot of {before} segments; {kept} segments kept",
        work.commits, work.trims
    );
}
