//! What somebody changes who may change the database is found, and named.

use eventflow::proto::v1::{self, altered_range::Kind, verify_topic_response::NotedHash};
use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection};

use super::{packed_to, publish_alone, verify, verify_noted};
use crate::{
    client::Client,
    harness::{backend::Backend, databases::Database, redis::Redis, server::Server},
    observe::Metrics,
};

/// Late enough for all events of a range to be there before the first of them is packed.
const LATER: (&str, &str) = ("--pack-after", "2s");

/// Six ranges: 1 to 9, 10, 11 to 19, 20, 21 to 29 and 30.
async fn six_ranges(client: &Client) -> v1::VerifyTopicResponse {
    client.create_topic("orders").await;
    for _ in 0..3 {
        publish_alone(client, "orders", 9).await;
    }
    packed_to(client, "orders", 30).await
}

/// What was found: the range, what is wrong with it, and up to where all is well.
fn found(verified: &v1::VerifyTopicResponse) -> Option<(i64, i64, Kind, i64)> {
    let altered = verified.altered.as_ref()?;
    Some((altered.first_offset, altered.last_offset, altered.kind(), verified.verified_offset))
}

/// The ranges of the topic.
const RANGES: &str = "select first_offset, last_offset from eventflow.links order by last_offset";

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_superuser_changes_is_found() {
    let database = Database::fresh().await;
    let server = Server::cluster(&database, Redis::shared().await).flag(LATER.0, LATER.1).start().await;
    let client = Client::admin(&server).await;
    let whole = six_ranges(&client).await;
    let mut postgres = database.connect().await;
    // From here on nothing is packed any more, and no trigger is asked.
    postgres.execute("update eventflow.duties set server = gen_random_uuid(), until = 'infinity'").await.unwrap();
    postgres.execute("set session_replication_role = replica").await.unwrap();
    postgres.execute("create table kept_segments as select * from eventflow.segments").await.unwrap();
    postgres.execute("create table kept_links as select * from eventflow.links").await.unwrap();
    let ranges: Vec<(i64, i64)> = sqlx::query_as(RANGES).fetch_all(&mut postgres).await.unwrap();
    let of = |offset: i64| *ranges.iter().find(|(first, last)| (*first..=*last).contains(&offset)).unwrap();
    let (first, last) = of(15);
    let before = first - 1;
    let next = of(last + 1);

    let event =
        |set: &str| format!("update eventflow.segments set {set} where first_offset <= 15 and last_offset >= 15");
    let place = 15 - first + 1;
    let changed = Some((first, last, Kind::Changed, before));
    let unreadable = Some((first, last, Kind::Unreadable, before));
    let link = |set: &str| format!("update eventflow.links set {set} where last_offset = {last}");
    for (change, expected) in [
        (event(&format!("payloads[{place}] = 'x'")), changed),
        (event(&format!("types[{place}] = 'x'")), changed),
        (event(&format!("keys[{place}] = 'x'")), changed),
        (event(&format!("ids[{place}] = 'x'")), changed),
        (event(&format!("producers[{place}] = 'users/eve'")), changed),
        (event("recorded_time = recorded_time + interval '1 microsecond', recorded_times = null"), changed),
        (event(&format!("times = array_fill(recorded_time - interval '1 day', array[{}])", last - first + 1)), changed),
        (
            event(&format!("metas = array_fill('{{\"correlation_id\":\"x\"}}'::jsonb, array[{}])", last - first + 1)),
            changed,
        ),
        (event("ids = ids || 'x'::text"), unreadable),
        (event(&format!("payloads[{place}] = null")), unreadable),
        (event("first_offset = first_offset + 1"), unreadable),
        (format!("delete from eventflow.segments where last_offset = {last}"), unreadable),
        (format!("delete from eventflow.segments where last_offset >= {last}"), unreadable),
        (link("hash = sha256('x')"), changed),
        (link("log_id = gen_random_uuid()"), changed),
        (link("version = 9"), changed),
        (link("first_offset = first_offset - 1"), changed),
        (
            format!("delete from eventflow.links where last_offset = {last}"),
            Some((first, last, Kind::Unlinked, before)),
        ),
        // What is chained to nothing.
        (format!("delete from eventflow.links where last_offset < {last}"), Some((1, before, Kind::Unlinked, 0))),
        // Another range in its place: the next one is not chained to it.
        (
            format!(
                "update eventflow.links l set hash = n.hash from eventflow.links n
                where l.last_offset = {last} and n.last_offset = {}",
                next.1
            ),
            changed,
        ),
    ] {
        postgres.execute(AssertSqlSafe(change.clone())).await.unwrap();
        assert_eq!(found(&verify(&client, "orders").await), expected, "{change}");
        restore(&mut postgres).await;
        let again = verify(&client, "orders").await;
        assert_eq!((&again.hash, again.verified_offset, found(&again)), (&whole.hash, 30, None), "after {change}");
    }
    assert!(Metrics::of(&server).await.get("eventflow_altered_ranges_total") >= 20);
    server.logged("of topic orders were altered").await;

    // Who makes the whole chain anew, or cuts its end off, is found by whoever noted a hash.
    postgres.execute("delete from eventflow.links where last_offset > 20").await.unwrap();
    let cut = verify_noted(&client, "orders", &whole.hash, 30).await;
    assert_eq!((found(&cut), cut.noted(), cut.packed_offset), (None, NotedHash::Beyond, 20));
    postgres.execute("update eventflow.segments set payloads[1] = 'x' where last_offset = 10").await.unwrap();
    postgres.execute("delete from eventflow.links").await.unwrap();
    postgres.execute("update eventflow.duties set until = now()").await.unwrap();
    let anew = packed_to(&client, "orders", 30).await;
    assert_eq!((found(&anew), anew.verified_offset), (None, 30));
    assert_eq!(verify_noted(&client, "orders", &whole.hash, 30).await.noted(), NotedHash::Differs);
}

/// Puts back what was kept.
async fn restore(postgres: &mut sqlx::PgConnection) {
    let restore = "delete from eventflow.segments; delete from eventflow.links;
        insert into eventflow.segments select * from kept_segments;
        insert into eventflow.links select * from kept_links";
    postgres.execute(restore).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_changed_in_the_file_is_found() {
    let mut server = Backend::Sqlite.server().await.flag(LATER.0, LATER.1).start().await;
    let client = Client::admin(&server).await;
    six_ranges(&client).await;
    let path = server.data_dir().join("eventflow.db");
    server.restart_with("--pack-after", "off").await;
    let url = format!("sqlite://{}", path.display());
    let link: (i64, i64) = {
        let mut file = SqliteConnection::connect(&url).await.unwrap();
        for trigger in ["events_never_change", "events_go_by_trimming", "links_never_change", "links_go_by_trimming"] {
            file.execute(AssertSqlSafe(format!("drop trigger {trigger}"))).await.unwrap();
        }
        file.execute("create table kept_events as select * from events").await.unwrap();
        file.execute("create table kept_links as select * from links").await.unwrap();
        let of = "select first_offset, last_offset from links where first_offset <= 15 and last_offset >= 15";
        sqlx::query_as(of).fetch_one(&mut file).await.unwrap()
    };
    let (first, last) = link;
    let changed = Some((first, last, Kind::Changed, first - 1));
    let unreadable = Some((first, last, Kind::Unreadable, first - 1));
    let client = client.on(&server).await;
    for (change, expected) in [
        ("update events set payload = 'x' where \"offset\" = 15", changed),
        ("update events set meta = json_set(meta, '$.key', 'x') where \"offset\" = 15", changed),
        ("update events set recorded_time = recorded_time + 1 where \"offset\" = 15", changed),
        ("update events set meta = 'x' where \"offset\" = 15", unreadable),
        ("delete from events where \"offset\" = 15", unreadable),
        ("update links set hash = zeroblob(32) where first_offset <= 15 and last_offset >= 15", changed),
        (
            "delete from links where first_offset <= 15 and last_offset >= 15",
            Some((first, last, Kind::Unlinked, first - 1)),
        ),
    ] {
        let mut file = SqliteConnection::connect(&url).await.unwrap();
        file.execute(change).await.unwrap();
        assert_eq!(found(&verify(&client, "orders").await), expected, "{change}");
        let restore = "begin; delete from events; delete from links;
            insert into events select * from kept_events; insert into links select * from kept_links; commit";
        file.execute(restore).await.unwrap();
        assert_eq!(found(&verify(&client, "orders").await), None, "after {change}");
        file.close().await.unwrap();
    }
}
