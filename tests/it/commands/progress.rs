//! Bars, as a terminal sees them.

use std::{
    fs::File,
    io::Read,
    process::{Output, Stdio},
};

use super::shell::{Shell, offsets};
use crate::harness::server::Server;

/// Events, which take several requests.
const EVENTS: u64 = 3000;

/// What a command wrote.
struct Seen {
    /// On standard output, where that is no terminal.
    out: String,
    /// On the terminal, with what moves its cursor.
    screen: String,
}

/// Where a command's standard output goes.
enum Results {
    /// To the terminal.
    Screen,
    /// Elsewhere.
    Pipe,
}

/// A server with the empty topic `orders`, a shell for it, and a file of many lines.
async fn many_lines() -> (Server, Shell, std::path::PathBuf) {
    let (server, shell) = Shell::embedded().await;
    shell.ok(&["topic", "create", "orders"]).await;
    let file = shell.home().join("lines");
    std::fs::write(&file, "a line\n".repeat(EVENTS as usize)).unwrap();
    (server, shell, file)
}

/// Runs a command whose standard error is a terminal.
async fn watched(shell: &Shell, arguments: &[&str], input: Stdio, results: Results) -> Seen {
    let pair = nix::pty::openpty(None, None).unwrap();
    let mut command = shell.command(arguments);
    command.env("TERM", "xterm").env_remove("NO_COLOR").stdin(input).stderr(pair.slave.try_clone().unwrap());
    command.stdout(match results {
        Results::Screen => Stdio::from(pair.slave.try_clone().unwrap()),
        Results::Pipe => Stdio::piped(),
    });
    let child = command.spawn().unwrap();
    // The reading ends when nobody has the other side any more.
    drop((command, pair.slave));
    let screen = tokio::task::spawn_blocking(move || {
        let (mut bytes, mut buffer, mut terminal) = (Vec::new(), [0; 4096], File::from(pair.master));
        while let Ok(count @ 1..) = terminal.read(&mut buffer) {
            bytes.extend_from_slice(&buffer[..count]);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let Output { status, stdout, .. } = child.wait_with_output().await.unwrap();
    let screen = screen.await.unwrap();
    assert!(status.success(), "{screen}");
    Seen { out: String::from_utf8(stdout).unwrap(), screen }
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_a_file_shows_how_much_of_it_is_recorded() {
    let (_server, shell, file) = many_lines().await;
    let publish = ["publish", "orders", "--type", "x"];
    for extra in [&[][..], &["--expected-head", &EVENTS.to_string()]] {
        let input = File::open(&file).unwrap();
        let Seen { out, screen } = watched(&shell, &[&publish, extra].concat(), input.into(), Results::Pipe).await;
        assert_eq!(offsets(out.lines()).len() as u64, EVENTS);
        assert!(screen.contains("20.51 KiB/20.51 KiB, 3,000 events"), "{extra:?}: {screen}");
        assert!(!screen.contains('\n'), "the bar stays behind: {screen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_of_unknown_size_is_counted() {
    let (_server, shell, file) = many_lines().await;
    let mut cat = std::process::Command::new("cat").arg(&file).stdout(Stdio::piped()).spawn().unwrap();
    let input = cat.stdout.take().unwrap();
    let Seen { screen, .. } = watched(&shell, &["publish", "orders", "--type", "x"], input.into(), Results::Pipe).await;
    cat.wait().unwrap();
    assert!(screen.contains(" 3,000 events, "), "{screen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn results_on_the_same_terminal_are_whole() {
    let (_server, shell, file) = many_lines().await;
    let input = File::open(&file).unwrap();
    let Seen { screen, .. } =
        watched(&shell, &["publish", "orders", "--type", "x", "-o", "json"], input.into(), Results::Screen).await;
    assert!(screen.contains(" 3,000 events, "), "there is no bar");
    // A line of JSON ends where it ends, whatever was drawn and removed before it.
    let objects = screen.split("\r\n").filter_map(|line| line.find('{').map(|start| &line[start..]));
    let offsets: Vec<u64> = objects
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|why| panic!("{line:?}: {why}")))
        .map(|published| published["offset"].as_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(offsets, (1..=EVENTS).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_reading_that_has_an_end_shows_how_far_it_is() {
    let (_server, shell, file) = many_lines().await;
    let publish = ["publish", "orders", "--type", "x"];
    shell.fed(&publish, &std::fs::read_to_string(&file).unwrap()).await.ok();
    for (arguments, shown) in [
        (&["tail", "orders", "--earliest", "--until-head"][..], "3,000/3,000 events"),
        (&["tail", "orders", "--after", "500", "--until", "3000"], "2,500/2,500 events"),
        (&["tail", "orders", "--earliest", "--count", "2900"], "/2,900 events"),
        (&["event", "list", "orders", "--all"], " 3,000 events, "),
        (&["event", "list", "orders", "--limit", "3000"], "3,000/3,000 events"),
    ] {
        let Seen { out, screen } = watched(&shell, arguments, Stdio::null(), Results::Pipe).await;
        assert!(screen.contains(shown), "{arguments:?}: {screen}");
        assert!(
            !out.contains('\u{1b}') && out.lines().count() >= 2500,
            "{arguments:?} printed {}",
            out.lines().count()
        );
        // Events that scroll by need no bar, and without a terminal there is none.
        let Seen { screen, .. } = watched(&shell, arguments, Stdio::null(), Results::Screen).await;
        assert!(!screen.contains(" events, "), "{arguments:?}: {screen}");
        shell.ok(arguments).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn measuring_shows_each_run_and_a_table() {
    let (_server, shell) = Shell::embedded().await;
    let bench = ["bench", "publish_single", "queue", "--events", "1000", "--runs", "2"];
    let Seen { out, screen } = watched(&shell, &bench, Stdio::null(), Results::Pipe).await;
    for shown in ["publish_single, warm-up ", "publish_single, run 1 of 2 ", "queue, run 2 of 2 ", "/1,000, "] {
        assert!(screen.contains(shown), "no {shown}: {screen}");
    }
    assert!(!screen.contains('\n'), "the bar stays behind: {screen:?}");
    assert_eq!(out.lines().count(), 3, "{out}");
    let Seen { screen, .. } = watched(&shell, &bench, Stdio::null(), Results::Screen).await;
    for shown in ["WORKLOAD ", "MEDIAN ", "publish_single.p50 ", "publish_single.p99 ", "queue "] {
        assert!(screen.contains(shown), "no {shown}: {screen}");
    }
}
