//! What SQLite has for itself, beside the contract that both stores keep.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use bytestring::ByteString;
use uuid::Uuid;

use super::SqliteStore;
use crate::{
    domain::{
        AppendBatch, Attributes, BatchId, EventBody, NewTopic, Offset, Payload, PendingEvent, ReadCap, SeenHead,
        TopicId, TopicName,
    },
    store::{AppendError, Appended, LogStore, OpenError, Store, StoreError, TopicStore},
};

fn batch(text: &str) -> AppendBatch {
    let body = EventBody {
        r#type: "t".into(),
        key: ByteString::new(),
        id: ByteString::new(),
        source: ByteString::new(),
        time: None,
        content_type: ByteString::new(),
        attributes: Attributes::new(),
        correlation_id: ByteString::new(),
        causation_id: ByteString::new(),
        payload: Payload::Text(text.into()),
        producer: ByteString::new(),
    };
    let events = vec![PendingEvent { body, identity: None }];
    AppendBatch { id: BatchId::random(), seen: SeenHead::default(), expected_head: None, events }
}

async fn topic(store: &SqliteStore) -> TopicId {
    let name = TopicName::parse(&format!("t-{}", Uuid::new_v4())).unwrap();
    let new = NewTopic { name, description: String::new(), retention: None, retention_bytes: 0, sealed: false };
    store.create_topic(&new).await.unwrap().id
}

async fn append(store: &SqliteStore, topic: TopicId, text: &str) {
    let appended = store.append(topic, &batch(text)).await.unwrap();
    assert!(matches!(appended, Appended::Stored { .. }), "{appended:?}");
}

async fn count(store: &SqliteStore, topic: TopicId) -> usize {
    let cap = ReadCap { events: 100_000, bytes: 1 << 30 };
    let read = store.read(topic, Offset::ZERO, cap).await.unwrap().unwrap();
    read.segment.map_or(0, |segment| segment.events().len())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_folder_serves_one_store_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    let second = SqliteStore::open(folder.path()).await;
    let Err(OpenError::InUse(message)) = second else { panic!("{second:?}") };
    assert!(message.contains(&folder.path().display().to_string()), "{message}");
    store.close().await;
    drop(store);
    SqliteStore::open(folder.path()).await.unwrap();
}

#[tokio::test]
async fn nobody_else_may_look_into_the_folder() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("made/by/open");
    let store = SqliteStore::open(&folder).await.unwrap();
    append(&store, topic(&store).await, "secret").await;
    assert_eq!(mode(&folder), 0o700);
    let files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "not a folder").unwrap();
    let refused = SqliteStore::open(&file).await;
    assert!(matches!(&refused, Err(OpenError::Unreachable { message, .. }) if message.contains("file")), "{refused:?}");

    fs::write(folder.path().join("eventflow.db"), "not a database, and long enough to be looked at".repeat(30))
        .unwrap();
    let refused = SqliteStore::open(folder.path()).await;
    assert!(matches!(refused, Err(OpenError::Unreachable { .. } | OpenError::Migrate { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_schema_for_newer_servers_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    // A newer version that still works with this program, and one that does not.
    sqlx::query("update schema set version = 4").execute(&store.writer).await.unwrap();
    store.close().await;
    drop(store);
    let store = SqliteStore::open(folder.path()).await.unwrap();
    sqlx::query("update schema set version = 5, oldest_server = 4").execute(&store.writer).await.unwrap();
    store.close().await;
    drop(store);
    let refused = SqliteStore::open(folder.path()).await;
    assert!(matches!(refused, Err(OpenError::SchemaTooNew(_))), "{refused:?}");
}

#[tokio::test]
async fn a_commit_waits_for_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    let journal: String = sqlx::query_scalar("pragma journal_mode").fetch_one(&store.writer).await.unwrap();
    let synchronous: i64 = sqlx::query_scalar("pragma synchronous").fetch_one(&store.writer).await.unwrap();
    assert_eq!((journal.as_str(), synchronous), ("wal", 2), "2 is FULL: the WAL is synced at each commit");
}

/// What a crash leaves behind is what is on disk at that moment: database and WAL, as they are.
#[tokio::test]
async fn what_was_acknowledged_outlives_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    let topic = topic(&store).await;
    for acknowledged in 1..=60 {
        append(&store, topic, &"x".repeat(40_000)).await;
        if acknowledged % 20 == 0 {
            let crashed = tempfile::tempdir().unwrap();
            for file in ["eventflow.db", "eventflow.db-wal"] {
                fs::copy(folder.path().join(file), crashed.path().join(file)).unwrap();
            }
            let found = SqliteStore::open(crashed.path()).await.unwrap();
            assert_eq!(count(&found, topic).await, acknowledged);
            assert_eq!(found.cluster_id(), store.cluster_id());
        }
    }
}

#[tokio::test]
async fn the_database_refuses_to_change_events() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    let topic = topic(&store).await;
    for text in ["a", "b", "c"] {
        append(&store, topic, text).await;
    }
    store.trim(topic, Offset::new(1).unwrap()).await.unwrap();
    let refused = [
        "update events set payload = 'forged'",
        "update events set recorded_time = 0 where \"offset\" = 2",
        "delete from events",
        "delete from events where \"offset\" = 3",
        "replace into events select * from events where \"offset\" = 2",
        "insert or replace into events select * from events where \"offset\" = 3",
    ];
    for sql in refused {
        let result = sqlx::query(sql).execute(&store.writer).await;
        assert!(result.is_err(), "{sql} was let through");
    }
    let refused = sqlx::query("delete from topics").execute(&store.readers).await;
    assert!(refused.is_err(), "a reader may write");
    assert_eq!(count(&store, topic).await, 2);
}

#[tokio::test]
async fn people_can_read_events_with_sql() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    let topic = topic(&store).await;
    append(&store, topic, "{\"total\": 3}").await;
    let sql = "select type, key, payload ->> 'total', substr(recorded_time, 1, 2) from readable_events";
    let found: (String, String, i64, String) = sqlx::query_as(sql).fetch_one(&store.readers).await.unwrap();
    assert_eq!(found, ("t".into(), String::new(), 3, "20".into()));
}

#[tokio::test]
async fn a_full_disk_refuses_and_heals() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    let topic = topic(&store).await;
    append(&store, topic, "before").await;
    let pages: i64 = sqlx::query_scalar("pragma page_count").fetch_one(&store.writer).await.unwrap();
    // The limit belongs to the connection: it goes with it if the store opens a new one.
    let limit = format!("pragma max_page_count = {pages}");
    sqlx::query(sqlx::AssertSqlSafe(limit)).execute(&store.writer).await.unwrap();
    let refused = store.append(topic, &batch(&"x".repeat(1 << 20))).await;
    assert!(matches!(refused, Err(AppendError::Store(StoreError::Full(_)))), "{refused:?}");
    sqlx::query("pragma max_page_count = 1000000").execute(&store.writer).await.unwrap();
    append(&store, topic, "after").await;
    assert_eq!(count(&store, topic).await, 2);
}

#[tokio::test]
async fn a_closed_store_is_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    let topic = topic(&store).await;
    store.close().await;
    let refused = store.append(topic, &batch("late")).await;
    assert!(matches!(refused, Err(AppendError::Store(StoreError::NotNow(_)))), "{refused:?}");
    assert!(matches!(store.ping().await, Err(StoreError::NotNow(_))));
}
