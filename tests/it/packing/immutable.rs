//! What Postgres itself lets go of the events that are kept: only what is there again, equal, in one row.

use eventflow::proto::v1;
use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};

use crate::{
    client::{Client, event},
    feed::everything,
    harness::{databases::Database, patience::eventually, redis::Redis, server::Server},
    observe::Metrics,
};

/// Four segments of one to three events: some with a time, attributes or an id of their own.
async fn segments() -> (Server, PgConnection) {
    let database = Database::fresh().await;
    let server = Server::cluster(&database, Redis::shared().await).start().await;
    let client = Client::admin(&server).await;
    client.create_topic("orders").await;
    let full = v1::NewEvent {
        id: "i".into(),
        key: "k".into(),
        time: Some(prost_types::Timestamp { seconds: 5, nanos: 0 }),
        attributes: [("region".to_owned(), "eu".to_owned())].into(),
        ..event("full")
    };
    for events in [vec![event("a")], vec![full, event("b"), event("c")], vec![event("")], vec![event("d")]] {
        client.publish("orders", events).await.unwrap();
    }
    (server, database.connect().await)
}

/// The statement by which packing puts one row in the place of those up to offset 5, with other expressions in
/// the place of some of its own.
fn packing(changes: &[(&str, &str)]) -> String {
    let mut text = "with gone as (
        delete from eventflow.segments s where s.topic_id = 1 and s.last_offset <= 5 returning s.*
    ), e as (
        select g.first_offset + e.place - 1 as o, e.*, coalesce(e.rt, g.recorded_time) as recorded_time from gone g
        cross join lateral unnest(g.ids, g.types, g.keys, g.times, g.recorded_times, g.producers, g.metas, g.payloads)
            with ordinality e(id, type, key, time, rt, producer, meta, payload, place)
    )
    insert into eventflow.segments (topic_id, bytes, first_offset, last_offset, batch, recorded_time,
            recorded_times, ids, types, keys, times, producers, metas, payloads)
        select 1, (select sum(bytes) from gone), 1, 5, null, max(recorded_time),
            array_agg(recorded_time order by o), array_agg(id order by o), array_agg(type order by o),
            array_agg(key order by o), array_agg(time order by o), array_agg(producer order by o),
            array_agg(meta order by o), array_agg(payload order by o)
        from e as kept"
        .to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from} is not in the statement");
        text = text.replacen(from, to, 1);
    }
    text
}

/// What is stored, in words.
async fn stored(postgres: &mut PgConnection) -> Vec<String> {
    let query = "select s::text from eventflow.segments s order by s.last_offset";
    sqlx::query_scalar(query).fetch_all(postgres).await.unwrap()
}

/// What people see of it.
async fn seen(postgres: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar("select e::text from eventflow.read('orders', 0, 100) e").fetch_all(postgres).await.unwrap()
}

async fn code(postgres: &mut PgConnection, statement: &str) -> String {
    let refused = postgres.execute(AssertSqlSafe(statement.to_owned())).await;
    let refused = refused.err().unwrap_or_else(|| panic!("this was let through: {statement}"));
    refused.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_goes_only_if_its_events_are_there_again_in_one() {
    let (_server, mut postgres) = segments().await;
    let (before, shown) = (stored(&mut postgres).await, seen(&mut postgres).await);
    assert_eq!(before.len(), 4);
    let other = |column: &str| format!("array_agg({column} order by o)");
    let mut changes: Vec<(String, String)> = [
        ("array_agg(payload order by o)", "array_agg(case o when 3 then 'x'::bytea else payload end order by o)"),
        ("array_agg(payload order by o)", "array_agg(payload order by o desc)"),
        ("array_agg(meta order by o)", "null"),
        ("array_agg(meta order by o)", "array_agg(case o when 1 then '{}'::jsonb else meta end order by o)"),
        ("array_agg(time order by o)", "null"),
        ("array_agg(time order by o)", "array_agg(recorded_time order by o)"),
        ("array_agg(recorded_time order by o)", "null"),
        ("array_agg(recorded_time order by o)", "array_agg(recorded_time + interval '1 microsecond' order by o)"),
        ("max(recorded_time)", "max(recorded_time) + interval '1 microsecond'"),
        ("(select sum(bytes) from gone)", "1"),
        ("1, 5, null", "1, 5, gen_random_uuid()"),
        ("1, 5, null", "2, 5, null"),
        ("1, 5, null", "1, 6, null"),
        ("select 1, (", "select 2, ("),
        ("from e as kept", "from e where o <> 3"),
        ("from e as kept", "from (select * from e union all select * from e where o = 3) e"),
        // The events are there, but not in one row; or not all that went are in it.
        ("1, 5, null", "1, max(o), null"),
        ("s.last_offset <= 5", "s.last_offset in (1, 5)"),
    ]
    .map(|(from, to)| (from.to_owned(), to.to_owned()))
    .into();
    changes[16].1 = "min(o), max(o), null".into();
    for column in ["id", "type", "key", "producer"] {
        changes.push((other(column), format!("array_agg({column} || 'x' order by o)")));
    }
    for (place, (from, to)) in changes.iter().enumerate() {
        let mut statement = packing(&[(from, to)]);
        if place == 16 {
            statement.push_str(" group by o <= 4");
        }
        let code = code(&mut postgres, &statement).await;
        // A key that is taken is another reason.
        assert!(code == "23001" || code == "23505", "{to} in the place of {from}: {code}");
        assert_eq!(stored(&mut postgres).await, before);
    }
    for statement in [
        "delete from eventflow.segments where last_offset = 1",
        "delete from eventflow.segments where last_offset <= 5",
        "with gone as (delete from eventflow.segments where last_offset = 1 returning *)
            insert into eventflow.segments select * from gone",
    ] {
        assert_eq!(code(&mut postgres, statement).await, "23001", "{statement}");
    }
    assert_eq!(stored(&mut postgres).await, before);

    postgres.execute(AssertSqlSafe(packing(&[]))).await.expect("what packing does is let through");
    assert_eq!((stored(&mut postgres).await.len(), seen(&mut postgres).await), (2, shown));
    let change = "update eventflow.segments set batch = null where last_offset = 5";
    assert_eq!(code(&mut postgres, change).await, "23001");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_go_only_when_what_follows_them_is_trimmed() {
    let (server, mut postgres) = segments().await;
    let add = "insert into eventflow.links (topic_id, first_offset, last_offset, log_id, version, hash)
        select 1, o, o, t.log_id, 1, sha256(o::text::bytea) from eventflow.topics t, unnest(array[1, 4, 5]) o";
    postgres.execute(add).await.unwrap();
    for change in ["update eventflow.links set hash = hash", "truncate eventflow.links", "delete from eventflow.links"]
    {
        assert_eq!(code(&mut postgres, change).await, "23001", "{change}");
    }
    let trim = v1::TrimTopicRequest { name: "orders".into(), before_offset: 5, validate_only: false };
    Client::admin(&server).await.topics().trim_topic(trim).await.unwrap();
    let row =
        postgres.fetch_one("select min(last_offset) as last, count(*) as links from eventflow.links").await.unwrap();
    assert_eq!((row.get::<i64, _>("last"), row.get::<i64, _>("links")), (4, 2), "the last one that was trimmed stays");
    for last in ["4", "5"] {
        let delete = format!("delete from eventflow.links where last_offset = {last}");
        assert_eq!(code(&mut postgres, &delete).await, "23001", "{last}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_and_readers_do_not_wait_for_packing_not_even_of_the_newest_segment() {
    let (server, mut postgres) = segments().await;
    let client = Client::admin(&server).await;
    let before = everything(&client, "orders").await;
    let newest = packing(&[("s.last_offset <= 5", "s.last_offset <= 6"), ("1, 5, null", "1, 6, null")]);
    postgres.execute("begin").await.unwrap();
    postgres.execute(AssertSqlSafe(newest)).await.unwrap();
    let next = client.publish("orders", vec![event("next")]).await.unwrap();
    assert_eq!(next[0].offset, 7);
    assert_eq!(everything(&client, "orders").await[..6], before);
    postgres.execute("commit").await.unwrap();
    let last = client.publish("orders", vec![event("last")]).await.unwrap();
    assert_eq!(last[0].offset, 8);
    let after = everything(&client, "orders").await;
    assert_eq!((after.len(), &after[..6]), (8, &before[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn packing_does_not_queue_up_behind_who_trims() {
    let database = Database::fresh().await;
    let mut postgres = database.connect().await;
    let server = Server::cluster(&database, Redis::shared().await).flag("--pack-after", "50ms").start().await;
    let client = Client::admin(&server).await;
    client.create_topic("orders").await;
    // The lock that trimming takes: the same kind, of this topic.
    postgres.execute("begin; select eventflow.lock_topic_v1(1)").await.unwrap();
    super::publish_alone(&client, "orders", 5).await;
    let refused = async || (Metrics::of(&server).await.get("eventflow_pack_conflicts_total") >= 3).then_some(());
    eventually("packing to be turned away", refused).await;
    assert_eq!(super::verify(&client, "orders").await.packed_offset, 0);
    let waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted";
    assert_eq!(sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut postgres).await.unwrap(), 0);
    postgres.execute("commit").await.unwrap();
    super::packed_to(&client, "orders", 6).await;
}
