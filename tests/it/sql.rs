//! The log in Postgres as people with SQL see it: readable, and immutable.

use eventflow::proto::v1;
use sqlx::{Connection, PgConnection, Row};

use crate::{
    client::{Client, event},
    harness::{
        databases::Database,
        redis::Redis,
        server::{Server, Start},
    },
};

/// A server's database, and a connection that may do whatever the superuser may.
async fn server() -> (Start, PgConnection) {
    let database = Database::fresh().await;
    (Server::cluster(&database, Redis::shared().await), database.connect().await)
}

async fn payloads(postgres: &mut PgConnection, query: &'static str) -> Vec<(i64, Option<String>, Option<String>)> {
    let rows = sqlx::query(query).fetch_all(postgres).await.unwrap();
    rows.iter().map(|row| (row.get("offset"), row.get("payload_text"), row.get("payload_json"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_rows_and_one_that_postgres_cannot_parse_spoils_no_query() {
    let (start, mut postgres) = server().await;
    let server = start.start().await;
    let client = Client::admin(&server).await;
    client.create_topic("orders").await;
    let deep = format!("{}{}", "[".repeat(90_000), "]".repeat(90_000));
    let nasty = [r#"{"a": "\u0000"}"#, r#"{"a": "\ud800"}"#, r#"{"a": 1e200000}"#, &deep, "no JSON"];
    let mut events = vec![event(r#"{"order": 1}"#)];
    events.extend(nasty.map(event));
    let data = Some(v1::new_event::Payload::Data(vec![0xff, 0x00].into()));
    events.push(v1::NewEvent { payload: data, ..event("") });
    events.push(v1::NewEvent {
        key: "k".into(),
        id: "i".into(),
        source: "/shop".into(),
        attributes: [("region".to_owned(), "eu".to_owned())].into(),
        ..event("2")
    });
    client.publish("orders", events).await.unwrap();

    let query = "select \"offset\", payload_text, payload_json::text from eventflow.read('orders', 0, 100)";
    let rows = payloads(&mut postgres, query).await;
    assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), (1..=8).collect::<Vec<_>>());
    assert_eq!(rows[0].2.as_deref(), Some(r#"{"order": 1}"#));
    for (row, text) in rows[1..6].iter().zip(nasty) {
        assert_eq!((row.1.as_deref(), row.2.as_deref()), (Some(text), None), "offset {}", row.0);
    }
    assert_eq!((&rows[6].1, &rows[6].2), (&None, &None));
    let query = "select \"offset\", payload_text, payload_json::text from eventflow.events
        where topic = 'orders' and key = 'k' and id = 'i' and source = '/shop' and type = 'test'
          and producer = 'users/admin' and attributes ->> 'region' = 'eu' and time = recorded_time";
    assert_eq!(payloads(&mut postgres, query).await, [(8, Some("2".to_owned()), Some("2".to_owned()))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_by_sql_begins_after_an_offset_and_keeps_to_its_limit_and_to_what_is_kept() {
    let (start, mut postgres) = server().await;
    let server = start.start().await;
    let client = Client::admin(&server).await;
    client.create_topic("orders").await;
    for n in 0..4 {
        client.publish_numbered("orders", n * 5, 5).await;
    }
    let mut offsets =
        async |query: &'static str| -> Vec<i64> { sqlx::query_scalar(query).fetch_all(&mut postgres).await.unwrap() };
    assert_eq!(offsets("select \"offset\" from eventflow.read('orders', 7, 4)").await, [8, 9, 10, 11]);
    assert_eq!(offsets("select \"offset\" from eventflow.read('orders', 20, 4)").await, [0; 0]);
    let trim = v1::TrimTopicRequest { name: "orders".into(), before_offset: 6, validate_only: false };
    client.topics().trim_topic(trim).await.unwrap();
    assert_eq!(offsets("select \"offset\" from eventflow.read('orders', 0, 2)").await, [6, 7]);
    assert_eq!(offsets("select min(\"offset\") from eventflow.events where topic = 'orders'").await, [6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_changes_or_deletes_what_is_kept_not_even_the_superuser() {
    let (start, mut postgres) = server().await;
    let server = start.start().await;
    let client = Client::admin(&server).await;
    client.create_topic("orders").await;
    let with_id = v1::NewEvent { id: "i".into(), ..event("1") };
    client.publish("orders", vec![with_id.clone()]).await.unwrap();
    let changes = [
        "update eventflow.segments set bytes = 0",
        "delete from eventflow.segments",
        "truncate eventflow.segments",
        "update eventflow.event_ids set \"offset\" = 9",
        "delete from eventflow.event_ids",
        "truncate eventflow.event_ids",
    ];
    for change in changes {
        let refused = sqlx::query(change).execute(&mut postgres).await.unwrap_err();
        let code = refused.as_database_error().and_then(|error| error.code()).unwrap();
        assert_eq!(code, "23001", "{change}: {refused}");
    }
    let again = client.publish("orders", vec![with_id]).await.unwrap();
    assert!(again[0].duplicate && again[0].offset == 1);
    postgres.close().await.unwrap();
}
