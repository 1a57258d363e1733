//! Databases and Redis are private, and end with the tests.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use sqlx::{Connection, Executor};

use crate::harness::{databases::Database, folder, patience::eventually, postgres::Postgres, redis::Redis};

#[tokio::test(flavor = "multi_thread")]
async fn each_test_has_a_database_of_its_own() {
    let (one, other) = tokio::join!(Database::fresh(), Database::empty());
    let (mut one, mut other) = (one.connect().await, other.connect().await);
    one.execute("create table mine (x int)").await.unwrap();
    other.execute("create table mine (x text)").await.unwrap();
    let fsync: String = sqlx::query_scalar("show fsync").fetch_one(&mut one).await.unwrap();
    assert_eq!(fsync, "on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_redis_is_killed_and_started_again_on_its_port() {
    let mut redis = Redis::private().await;
    assert_ne!(redis.address(), Redis::shared().await.address());
    assert!(redis.url().contains(redis.password()));
    tokio::net::TcpStream::connect(redis.address()).await.unwrap();
    redis.kill();
    assert!(tokio::net::TcpStream::connect(redis.address()).await.is_err(), "a killed Redis accepts");
    redis.start_again().await;
    tokio::net::TcpStream::connect(redis.address()).await.unwrap();
}

/// The name of this test, for the second process.
const SELF: &str = "harness_works::processes::a_killed_test_binary_leaves_nothing_behind";
/// Set in the second process.
const SECOND: &str = "HARNESS_SECOND_PROCESS";

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_test_binary_leaves_nothing_behind() {
    if std::env::var_os(SECOND).is_some() {
        let _postgres = Postgres::private().await;
        let redis = Redis::private().await;
        redis.pause();
        println!("\nfolder {}", folder::of_run().display());
        std::future::pending::<()>().await;
    }
    let mut second = Command::new(std::env::current_exe().unwrap())
        .args([SELF, "--exact", "--nocapture"])
        .env(SECOND, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(second.stdout.take().unwrap()).lines();
    let folder = lines.map_while(Result::ok).find_map(|line| Some(line.strip_prefix("folder ")?.to_owned())).unwrap();
    let folder = Path::new(&folder);
    assert!(folder.exists());
    assert!(processes_in(folder) > 2, "Postgres and Redis work in {}", folder.display());

    second.kill().unwrap();
    second.wait().unwrap();
    let gone = async || (!folder.exists() && processes_in(folder) == 0).then_some(());
    eventually("nothing of a killed test binary to be left", gone).await;
}

/// How many processes work in a folder, or did until it was removed.
fn processes_in(folder: &Path) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let folders = processes.filter_map(|process| std::fs::read_link(process.path().join("cwd")).ok());
    folders.filter(|cwd| cwd.starts_with(folder)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_postgres_can_be_crashed() {
    let mut postgres = Postgres::private().await;
    let url = postgres.url("postgres");
    sqlx::PgConnection::connect(&url).await.unwrap();
    postgres.crash().await;
    assert!(sqlx::PgConnection::connect(&url).await.is_err(), "a crashed Postgres accepts");
    postgres.start_again().await;
    sqlx::PgConnection::connect(&url).await.unwrap();
}
