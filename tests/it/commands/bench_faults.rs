//! `eventflow bench`, where it is refused, disturbed or interrupted: it says so, and leaves nothing behind.

use nix::sys::signal::Signal;

use super::shell::{PROGRAM, Running, Shell, finished};
use crate::harness::{backend::Backend, guard::Program, patience::eventually};

/// A run of two minutes.
const LONG: [&str; 7] = ["latency", "--rate", "1", "--events", "5000", "--warm-up", "0"];

/// The topics that are there.
async fn topics(shell: &Shell) -> Vec<String> {
    let topics = shell.json(&["topic", "list"]).await;
    topics.iter().map(|topic| topic["name"].as_str().unwrap().to_owned()).collect()
}

/// Waits until a run has published something, and returns its topic.
async fn under_way(shell: &Shell) -> String {
    eventually("a run under way", async || {
        let topics = shell.json(&["topic", "list"]).await;
        let head = topics.first()?["head_offset"].as_str().unwrap().to_owned();
        (head != "0").then(|| topics[0]["name"].as_str().unwrap().to_owned())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_wishes_are_refused() {
    let (server, shell) = Shell::embedded().await;
    for wrong in [
        &["no_such_workload"][..],
        &["--runs", "0"],
        &["--events", "0"],
        &["--connections", "0"],
        &["--embedded", "--second-server", "127.0.0.1:1"],
        &["--second-server", "https://example.com:1"],
        &["--embedded", "--server", &server.listen().to_string()],
    ] {
        shell.fails(2, &[&["bench"], wrong].concat()).await;
    }
    assert_eq!(topics(&shell).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_away_are_named() {
    let (_server, shell) = Shell::embedded().await;
    let away = ["bench", "latency", "--events", "40", "--runs", "1"];
    for flag in ["--server", "--second-server"] {
        let said = shell.fails(5, &[&away[..], &[flag, "127.0.0.1:9"]].concat()).await;
        assert!(said.contains("http://127.0.0.1:9;"), "{flag}: {said}");
    }
    let idle = ["bench", "idle", "--events", "40", "--runs", "1", "--metrics-url", "127.0.0.1:9"];
    let said = shell.fails(5, &idle).await;
    assert!(said.contains("127.0.0.1:9"), "{said}");
    assert_eq!(topics(&shell).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_create_topics_cannot_measure() {
    let (_server, shell) = Shell::embedded().await;
    shell.ok(&["user", "create", "ci", "--role", "viewer", "--program"]).await;
    let key = shell.json(&["key", "create", "users/ci"]).await.remove(0);
    let said = shell.fails(4, &["bench", "replay", "--api-key", key["secret"].as_str().unwrap()]).await;
    assert!(said.contains("PERMISSION_DENIED"), "{said}");
    let said = shell.fails(4, &["bench", "replay", "--api-key", "efk_no_key"]).await;
    assert!(said.contains("CREDENTIAL_INVALID"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_removes_what_was_made() {
    let (_server, shell) = Shell::on(Backend::Postgres).await;
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut bench = shell.follow(&[&["bench"], &LONG[..]].concat());
        under_way(&shell).await;
        bench.signal(signal);
        assert_eq!(bench.ended().await, 1, "{:?}", bench.lines());
        assert_eq!(bench.lines(), ["error: interrupted"]);
        assert_eq!(topics(&shell).await, [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_somebody_else_fails_the_run() {
    let (_server, shell) = Shell::embedded().await;
    let mut bench = shell.follow(&["bench", "latency", "--rate", "1", "--events", "200", "--warm-up", "0"]);
    let topic = under_way(&shell).await;
    shell.ok(&["publish", &topic, "--type", "x", "--data", "x"]).await;
    assert_eq!(bench.ended().await, 1, "{:?}", bench.lines());
    let said = bench.lines().join("\n");
    assert!(said.starts_with("error: 5 of 5 events came, with the checksum "), "{said}");
    assert_eq!(topics(&shell).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_deleted_meanwhile_fails_the_run() {
    let (_server, shell) = Shell::embedded().await;
    let mut bench = shell.follow(&[&["bench"], &LONG[..]].concat());
    let topic = under_way(&shell).await;
    shell.ok(&["topic", "delete", &topic, "--yes"]).await;
    assert_ne!(bench.ended().await, 0, "{:?}", bench.lines());
}

/// The files in the folder for temporary ones.
fn temporary(shell: &Shell) -> usize {
    std::fs::read_dir(shell.home().join("tmp")).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_its_own_needs_nothing_and_leaves_nothing() {
    let (_server, shell) = Shell::embedded().await;
    std::fs::create_dir(shell.home().join("tmp")).unwrap();
    let arguments = ["bench", "publish_pipelined", "idle", "--embedded", "--events", "500", "--runs", "1"];
    let mut command = shell.command(&[&arguments[..], &["--idle", "10"]].concat());
    // What is meant for other servers is not meant for this one.
    command.env("TMPDIR", shell.home().join("tmp")).env("EVENTFLOW_DATABASE_URL", "postgres://nobody@127.0.0.1:9/none");
    let printed = finished(command, "").await.ok();
    let names: Vec<_> = printed.lines().map(|line| line.split('\t').next().unwrap()).collect();
    let idle = ["idle.publish", "idle.publish_alone", "idle.resident", "idle.resident_each"];
    assert_eq!(names, [&["publish_pipelined"], &idle[..]].concat());
    assert_eq!(temporary(&shell), 0);
    assert_eq!(topics(&shell).await, [""; 0], "it has used the other server");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_the_server_of_its_own() {
    let (_server, shell) = Shell::embedded().await;
    let folder = shell.home().join("tmp");
    std::fs::create_dir(&folder).unwrap();
    let program = Program {
        path: PROGRAM.into(),
        arguments: [&["bench", "--embedded"], &LONG[..]].concat().into_iter().map(str::to_owned).collect(),
        environment: vec![
            ("TMPDIR".into(), folder.display().to_string()),
            ("HOME".into(), shell.home().display().to_string()),
        ],
        folder: shell.home().into(),
        log: shell.home().join("bench.log"),
        end: Signal::SIGKILL,
        user: None,
    };
    let mut bench = Running::start(program);
    let record = eventually("the record of the server", async || {
        let data = std::fs::read_dir(&folder).unwrap().next()?.unwrap().path();
        serde_json::from_slice::<serde_json::Value>(&std::fs::read(data.join("server.json")).ok()?).ok()
    })
    .await;
    bench.signal(Signal::SIGINT);
    assert_eq!(bench.ended().await, 1);
    assert_eq!(bench.lines(), ["error: interrupted"]);
    assert_eq!(temporary(&shell), 0);
    let pid = nix::unistd::Pid::from_raw(record["pid"].as_i64().unwrap().try_into().unwrap());
    assert_eq!(nix::sys::signal::kill(pid, None), Err(nix::errno::Errno::ESRCH), "the server goes on");
}
