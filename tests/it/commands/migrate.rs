//! `migrate`: the schema, by its owner, and what is to be done after a restore.

use std::path::Path;

use eventflow::proto::v1;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};
use tonic::{Code, Status};

use super::shell::{Done, Shell, finished};
use crate::{
    client::{Client, Stream, as_consumer, assert_refused, event, from_earliest},
    feed::publish_surely,
    harness::{databases::Database, patience::eventually, postgres::Postgres, server::Server},
};

/// Runs `migrate` in a home of its own.
async fn migrate(shell: &Shell, environment: &[(&str, &str)], flags: &[&str]) -> Done {
    let mut command = shell.command(&[&["migrate"], flags].concat());
    command.envs(environment.iter().copied());
    finished(command, "").await
}

/// What a call ends with, once its server has found its way to the database.
async fn reached<T>(mut call: impl AsyncFnMut() -> Result<T, Status>) -> Result<T, Status> {
    eventually("a server that reaches its database", async || match call().await {
        Err(status) if status.code() == Code::Unavailable => None,
        other => Some(other),
    })
    .await
}

/// The log_id that a stream begins with.
async fn log_id(client: &Client, topic: &str) -> (Stream, String) {
    let mut stream = reached(async || client.subscribe(from_earliest(topic)).await).await.unwrap();
    let started = stream.started().await;
    stream.until_caught_up().await;
    (stream, started.log_id)
}

/// That a subscriber with this log_id is refused, and told the new one.
async fn is_replaced(client: &Client, topic: &str, log_id: &str) {
    let request = || v1::SubscribeRequest { log_id: log_id.into(), ..from_earliest(topic) };
    let refusal = reached(async || client.subscribe(request()).await).await.unwrap_err();
    assert_refused(&refusal, Code::FailedPrecondition, "LOG_REPLACED");
}

/// Copies a folder of files.
fn copy(from: &Path, to: &Path) {
    let done = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_migrates_for_servers_that_may_not() {
    let database = Database::empty().await;
    let mut postgres = database.connect().await;
    let name: String = sqlx::query_scalar("select current_database()").fetch_one(&mut postgres).await.unwrap();
    let roles = format!(
        "create role {name}_owner login; create role {name}_server login; alter database {name} owner to {name}_owner"
    );
    postgres.execute(sqlx::AssertSqlSafe(roles)).await.unwrap();
    let url = |role: &str| database.url().replace("eventflow@", &format!("{name}_{role}@"));
    let (owner, server) = (url("owner"), url("server"));
    let start = || {
        let start = Server::embedded().environment("EVENTFLOW_DATABASE_URL", &server);
        start.environment("EVENTFLOW_MIGRATE", "false").flag("--retention-interval", "50ms")
    };
    let refusal = start().refused().await;
    assert!(refusal.log.contains("eventflow migrate"), "{}", refusal.log);

    let (_embedded, shell) = Shell::embedded().await;
    let both = [("EVENTFLOW_DATABASE_URL", &*server), ("EVENTFLOW_MIGRATE_DATABASE_URL", &*owner)];
    let first = migrate(&shell, &both, &[]).await.ok();
    assert!(first.starts_with("applied 0001 cluster\napplied 0002 log\n"), "{first}");
    assert!(first.ends_with(&format!("role {name}_server may serve it\n")), "{first}");
    let again = migrate(&shell, &both, &["-o", "json"]).await.ok();
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(
        (&again["store"], &again["applied"], &again["replaced"]),
        (&json!("postgres"), &json!([]), &json!(null))
    );
    assert!(again["schema"].as_i64().unwrap() >= 13 && again["granted"] == format!("{name}_server"), "{again}");

    // The servers' role does all that servers do, and cannot touch what is stored.
    let running = start().start().await;
    let client = Client::admin(&running).await;
    client.create_topic("orders").await;
    client.publish_numbered("orders", 1, 2000).await;
    let trim = v1::TrimTopicRequest { name: "orders".into(), before_offset: 1001, validate_only: false };
    assert_eq!(client.topics().trim_topic(trim).await.unwrap().into_inner().earliest_offset, 1001);
    let mut as_server = PgConnection::connect(&server).await.unwrap();
    for change in [
        "delete from eventflow.segments",
        "update eventflow.topics set trimmed_to = 9",
        "update eventflow.topics set log_id = gen_random_uuid()",
        "delete from eventflow.topics",
        "select eventflow.after_restore_v1()",
        "delete from eventflow.links",
        "update eventflow.links set hash = hash",
        "insert into eventflow.links (topic_id, first_offset, last_offset, log_id, version, hash)
            values (1, 1, 1, gen_random_uuid(), 1, sha256(''))",
        "select eventflow.grant_server_v5('x')",
    ] {
        let refused = as_server.execute(change).await.unwrap_err();
        assert_eq!(refused.as_database_error().unwrap().code().unwrap(), "42501", "{change}: {refused}");
    }
    client.topics().delete_topic(v1::DeleteTopicRequest { name: "orders".into() }).await.unwrap();
    running.logged("nothing is left of deleted topic").await;

    // Without the owner's URL the servers' role would have to own the tables.
    let alone = migrate(&shell, &both[..1], &["--after-restore"]).await;
    assert_eq!((alone.code, alone.out.as_str()), (1, ""), "{}", alone.err);
    assert!(alone.err.contains("--migrate-database-url"), "{}", alone.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_of_postgres_offsets_of_the_lost_log_are_refused_on_all_servers() {
    let mut postgres = Postgres::private().await;
    let url = postgres.url("postgres");
    let start = || Server::embedded().environment("EVENTFLOW_DATABASE_URL", &url);
    let servers = [start().start().await, start().start().await];
    let here = Client::admin(&servers[0]).await;
    let there = here.on(&servers[1]).await;
    for topic in ["orders", "calm"] {
        here.create_topic(topic).await;
        here.publish_numbered(topic, 1, 5).await;
    }
    here.register("billing", "orders").await;
    postgres.stop().await;
    let backup = postgres.back_up().await;
    postgres.start_again().await;
    publish_surely(&here, "orders", &[v1::NewEvent { id: "lost".into(), ..event("lost") }]).await;
    let (_, orders) = log_id(&there, "orders").await;
    let (mut calm_stream, calm) = log_id(&there, "calm").await;
    let mut held = reached(async || there.subscribe(as_consumer("billing")).await).await.unwrap();
    let epoch = held.started().await.epoch;

    postgres.stop().await;
    postgres.restore(&backup).await;
    postgres.start_again().await;
    let shell = Shell::of(&servers[0]);
    let done = migrate(&shell, &[("EVENTFLOW_DATABASE_URL", &url)], &["--after-restore"]).await.ok();
    for text in ["New logs: 2\n", "orders  ", "calm  ", "LOG_REPLACED", "CONSUMER_FENCED"] {
        assert!(done.contains(text), "no {text:?} in {done}");
    }
    assert!(!done.contains(&orders) && !done.contains(&calm), "a log kept its name: {done}");

    for client in [&here, &there] {
        is_replaced(client, "orders", &orders).await;
        is_replaced(client, "calm", &calm).await;
    }
    // A stream that is open sees the same events still, and is told all the same.
    let (events, end) = calm_stream.rest().await;
    assert!(events.is_empty());
    assert_refused(&end.unwrap_err(), Code::FailedPrecondition, "LOG_REPLACED");
    let commit = || v1::CommitOffsetRequest { consumer: "billing".into(), offset: 5, epoch };
    let refusal = reached(async || here.consumers().commit_offset(commit()).await).await.unwrap_err();
    assert_refused(&refusal, Code::Aborted, "CONSUMER_FENCED");
    let mut next = reached(async || here.subscribe(as_consumer("billing")).await).await.unwrap();
    let started = next.started().await;
    assert!(started.epoch > epoch && started.position.unwrap().offset == 0);
    assert_eq!(next.events(5).await.len(), 5);
    let (_, new) = log_id(&there, "orders").await;
    assert!(done.contains(&new));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_of_a_folder_offsets_of_the_lost_log_are_refused() {
    let (mut server, shell) = Shell::embedded().await;
    let client = Client::admin(&server).await;
    client.create_topic("orders").await;
    client.publish_numbered("orders", 1, 3).await;
    client.register("billing", "orders").await;
    let in_use = shell.run(&["migrate", "--after-restore"]).await;
    assert_eq!((in_use.code, in_use.out.as_str()), (1, ""), "{}", in_use.err);
    assert!(in_use.err.contains("another server"), "{}", in_use.err);
    assert_eq!(server.terminate().await, 0);
    let (data, backup) = (server.data_dir(), shell.home().join("backup"));
    copy(&data, &backup);

    server.restart().await;
    let client = client.on(&server).await;
    client.publish("orders", vec![event("lost")]).await.unwrap();
    let (_stream, old) = log_id(&client, "orders").await;
    let epoch = client.subscribe(as_consumer("billing")).await.unwrap().started().await.epoch;
    server.kill().await;
    std::fs::remove_dir_all(&data).unwrap();
    copy(&backup, &data);

    assert_eq!(shell.ok(&["migrate"]).await, "the sqlite store is at schema 10\n");
    let done = shell.json(&["migrate", "--after-restore"]).await.remove(0);
    let replaced = &done["replaced"][0];
    assert_eq!(
        (&replaced["topic"], &done["applied"], &done["store"]),
        (&json!("orders"), &json!([]), &json!("sqlite"))
    );
    assert_ne!(replaced["log_id"], old);
    server.restart().await;
    let client = Client::admin(&server).await;
    is_replaced(&client, "orders", &old).await;
    let (_stream, new) = log_id(&client, "orders").await;
    assert_eq!(replaced["log_id"], new);
    let started = client.subscribe(as_consumer("billing")).await.unwrap().started().await;
    assert!(started.epoch > epoch, "{} after {epoch}", started.epoch);
    assert_eq!(client.publish("orders", vec![event("new")]).await.unwrap()[0].offset, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn migrating_needs_a_store_that_is_there_and_settings_that_fit() {
    let (_server, shell) = Shell::embedded().await;
    for (code, environment, why) in [
        (2, ("EVENTFLOW_REDIS_URL", "redis://localhost"), "--redis-url needs --database-url"),
        (1, ("EVENTFLOW_DATABASE_URL", "postgres://localhost:1/nothing"), "cannot reach the database"),
        (1, ("EVENTFLOW_DATABASE_URL", "postgres://:x:y@/"), "--database-url is not a database URL"),
        (2, ("EVENTFLOW_DATABASE_URL", "nonsense"), "--database-url is not the URL of a Postgres"),
        (2, ("EVENTFLOW_MIGRATE_DATABASE_URL", "mysql://a@b/c"), "--migrate-database-url is not the URL of a Postgres"),
    ] {
        let done = migrate(&shell, &[environment], &[]).await;
        assert_eq!((done.code, done.out.as_str()), (code, ""), "{environment:?}: {}", done.err);
        assert!(done.err.starts_with("error: ") && done.err.contains(why), "{environment:?}: {}", done.err);
    }
}
