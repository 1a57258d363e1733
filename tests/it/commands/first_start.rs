//! What the first start says to do next works just as it is printed.

use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use super::shell::{Done, PROGRAM, Running, Shell, finished, offsets};
use crate::harness::{
    backend::Backend, databases::Database, folder, guard::Program, patience::eventually, redis::Redis, server::Server,
};

/// The commands that stand in what a first start has printed: they are indented.
fn commands(log: &str) -> Vec<String> {
    log.lines().filter_map(|line| line.strip_prefix("  ")).map(str::to_owned).collect()
}

/// Runs a printed line in a folder, with a home of its own.
async fn sh(line: &str, folder: &Path, home: &Path, input: &str) -> Done {
    let mut command = tokio::process::Command::new("sh");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("EVENTFLOW_")) {
        command.env_remove(name);
    }
    command.args(["-c", line]).env("HOME", home).env("XDG_CONFIG_HOME", home).current_dir(folder);
    finished(command, input).await
}

/// Runs create, tail and publish as printed, the tail in the background, and sees the event arrive.
async fn walk_through(commands: &[String], folder: &Path, home: &Path) {
    let [create, tail, publish] = commands else { panic!("not three commands: {commands:?}") };
    let done = sh(create, folder, home, "").await;
    assert_eq!(done.code, 0, "{create}: {done:?}");
    let mut tail = Running::start(Program {
        path: "sh".into(),
        arguments: vec!["-c".into(), format!("exec {tail}")],
        environment: ["HOME", "XDG_CONFIG_HOME"].map(|name| (name.into(), home.display().to_string())).into(),
        folder: folder.into(),
        log: home.join("tail.log"),
        end: Signal::SIGKILL,
        user: None,
    });
    let done = sh(publish, folder, home, "").await;
    assert_eq!((done.code, offsets(done.out.lines())), (0, vec![1]), "{publish}: {done:?}");
    let lines = tail.printed(1).await;
    assert!(lines[0].starts_with("1  ") && lines[0].ends_with(r#"  order.placed  -  {"order":1}"#), "{lines:?}");
    tail.signal(Signal::SIGINT);
    assert_eq!(tail.ended().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_commands_work_beside_the_default_folder() {
    let folder = folder::fresh("first");
    let log = folder.path().join("server.log");
    let server = Program {
        path: PathBuf::from(PROGRAM),
        arguments: ["serve", "--listen=127.0.0.1:0", "--http-listen=127.0.0.1:0"].map(String::from).into(),
        environment: vec![],
        folder: folder.path().into(),
        log: log.clone(),
        end: Signal::SIGKILL,
        user: None,
    }
    .start();
    let found = async || Some(commands(&server.log())).filter(|commands| commands.len() >= 3);
    let found = eventually("the printed commands", found).await;
    assert!(found.iter().all(|line| !line.contains("--data-dir")), "the default is spelt out: {found:?}");
    let home = folder::fresh("home");
    walk_through(&found, folder.path(), home.path()).await;
    let text = server.log();
    let file = "./eventflow-data/admin-password";
    assert!(text.contains(&format!("The password of user admin lies in {file}.")), "{text}");
    assert!(folder.path().join(file).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_commands_work_with_a_folder_that_the_shell_would_split() {
    let folder = folder::fresh("first");
    let data = folder.path().join("it's the data");
    let server = Server::embedded().flag("--data-dir", &data.display().to_string());
    // The harness looks for server.json in its own folder, which is therefore this one by another name.
    std::os::unix::fs::symlink(&data, server.data_dir()).unwrap();
    let server = server.start().await;
    let home = folder::fresh("home");
    let found = async || Some(commands(&server.log())).filter(|commands| commands.len() >= 3);
    let found = eventually("the printed commands", found).await;
    walk_through(&found, folder.path(), home.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_commands_work_over_postgres_after_the_printed_login() {
    let server = Server::cluster(&Database::fresh().await, Redis::shared().await);
    let server = server.flag("--listen", "0.0.0.0:0").environment("EVENTFLOW_INSECURE", "true").start().await;
    let home = folder::fresh("home");
    let found = async || Some(commands(&server.log())).filter(|commands| commands.len() >= 4);
    let found = eventually("the printed commands", found).await;
    let password = std::fs::read_to_string(server.data_dir().join("admin-password")).unwrap();
    let login = sh(&found[0], home.path(), home.path(), &password).await;
    assert!(login.code == 0 && login.out.ends_with(" as admin\n"), "{}: {login:?}", found[0]);
    walk_through(&found[1..], home.path(), home.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_start_prints_no_first_steps() {
    let mut server = Backend::Sqlite.server().await.start().await;
    server.logged("In another terminal").await;
    assert_eq!(server.terminate().await, 0);
    let before = server.log().matches("In another terminal").count();
    server.restart().await;
    Shell::of(&server).ok(&["health"]).await;
    assert_eq!((before, server.log().matches("In another terminal").count()), (1, 1));
}
