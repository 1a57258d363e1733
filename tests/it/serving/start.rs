//! Starting: what is refused, what is written where, what is said.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use sqlx::{Connection, Executor, PgConnection};

use crate::{
    client::Client,
    harness::{
        backend::{Backend, on_both_stores},
        patience::eventually,
        postgres::Postgres,
        server::Server,
    },
};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_same_folder_is_refused_and_the_first_goes_on() {
    let first = Server::embedded().start().await;
    let admin = Client::admin(&first).await;
    let record = fs::read_to_string(first.data_dir().join("server.json")).unwrap();
    let refusal = Server::embedded().flag("--data-dir", &first.data_dir().display().to_string()).refused().await;
    assert_eq!(refusal.code, 1);
    let line = refusal.log.lines().last().unwrap_or_default();
    assert!(line.starts_with("error: ") && line.contains(&first.data_dir().display().to_string()), "{line}");
    assert!(line.contains("another"), "{line}");
    assert_eq!(fs::read_to_string(first.data_dir().join("server.json")).unwrap(), record);
    admin.create_topic("orders").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_refused_with_the_address() {
    let first = Server::embedded().start().await;
    for flag in ["--listen", "--http-listen"] {
        let refusal = Server::embedded().flag(flag, &first.listen().to_string()).refused().await;
        assert_eq!(refusal.code, 1);
        assert!(refusal.log.contains(&first.listen().to_string()), "{}", refusal.log);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_beyond_loopback_needs_insecure() {
    let refusal = Server::embedded().flag("--listen", "0.0.0.0:0").refused().await;
    assert_eq!(refusal.code, 2);
    assert!(refusal.log.contains("--insecure"), "{}", refusal.log);
    let open = Server::embedded().flag("--listen", "0.0.0.0:0").environment("EVENTFLOW_INSECURE", "true").start().await;
    Client::admin(&open).await.create_topic("orders").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_without_a_database_is_refused_without_repeating_the_url() {
    let refusal = Server::embedded().environment("EVENTFLOW_REDIS_URL", "redis://:hush@localhost:1").refused().await;
    assert_eq!(refusal.code, 2);
    assert!(refusal.log.contains("--redis-url") && refusal.log.contains("--database-url"), "{}", refusal.log);
    assert!(!refusal.log.contains("hush"), "{}", refusal.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_there_is_refused_without_repeating_its_password() {
    for (url, code) in [("postgres://ada:hush@127.0.0.1:1/x", 1), ("mysql://ada:hush@localhost/x", 2), ("hush", 2)] {
        let refusal = Server::embedded().environment("EVENTFLOW_DATABASE_URL", url).refused().await;
        assert_eq!(refusal.code, code, "{url}");
        assert!(refusal.log.contains("--database-url") && !refusal.log.contains("hush"), "{url}: {}", refusal.log);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_filter_that_is_none_is_refused_by_name() {
    let refusal = Server::embedded().flag("--log", "eventflow=loudest").refused().await;
    assert_eq!(refusal.code, 2);
    assert!(refusal.log.contains("--log"), "{}", refusal.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_may_lose_events_is_refused_until_it_is_safe_or_allowed() {
    let postgres = Postgres::private().await;
    let url = postgres.url("postgres");
    let server = || Server::embedded().environment("EVENTFLOW_DATABASE_URL", &url);
    let mut connection = PgConnection::connect(&url).await.unwrap();
    set_full_page_writes(&mut connection, "off").await;

    let refusal = server().refused().await;
    assert_eq!(refusal.code, 1);
    assert!(refusal.log.contains("full_page_writes = off"), "{}", refusal.log);
    assert!(refusal.log.contains("start with --unsafe-database"), "{}", refusal.log);
    let relation: Option<String> =
        sqlx::query_scalar("select to_regclass('eventflow.topics')::text").fetch_one(&mut connection).await.unwrap();
    assert_eq!(relation, None, "a refused database was changed");

    let allowed = server().environment("EVENTFLOW_UNSAFE_DATABASE", "true").start().await;
    Client::admin(&allowed).await.create_topic("orders").await;
    drop(allowed);
    set_full_page_writes(&mut connection, "on").await;
    server().start().await;
}

async fn set_full_page_writes(connection: &mut PgConnection, value: &'static str) {
    let statement = format!("alter system set full_page_writes = {value}");
    connection.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
    connection.execute("select pg_reload_conf()").await.unwrap();
    eventually("Postgres to reload its settings", async || {
        let mut fresh = sqlx::query_scalar("show full_page_writes").fetch_one(&mut *connection).await.ok();
        fresh.take().filter(|now: &String| now == value).map(drop)
    })
    .await;
}

on_both_stores! {
    async fn the_first_start_writes_secrets_for_its_owner_alone_and_says_where(backend: Backend) {
        let mut server = backend.server().await.start().await;
        let folder = server.data_dir();
        let password = folder.join("admin-password");
        assert_eq!(mode(&password), 0o600);
        let text = fs::read_to_string(&password).unwrap();
        server.logged(&format!("The password of user admin lies in {}.", password.display())).await;
        assert!(!server.log().contains(text.trim()), "the password is in the log");
        let key = folder.join("embedded-key");
        match backend {
            Backend::Sqlite => assert_eq!(mode(&key), 0o600),
            Backend::Postgres => assert!(!key.exists(), "commands without a credential could act as the admin"),
        }

        // The second start keeps both, and does not explain again.
        server.restart().await;
        assert_eq!(fs::read_to_string(&password).unwrap(), text);
        assert_eq!(server.log().matches("The password of user admin").count(), 1);
        Client::admin(&server).await;
    }
}
