//! `publish` with many lines: sent ahead, in order, and again where the stream broke.

use std::time::Duration;

use super::shell::{Shell, finished, offsets};
use crate::{
    chance::Chance,
    client::{Client, text},
    feed::everything,
    harness::{
        backend::{Backend, on_both_stores},
        patience::eventually,
    },
    observe::Metrics,
};

const PUBLISH: [&str; 4] = ["publish", "orders", "--type", "x"];

fn numbered(count: usize) -> String {
    (1..=count).map(|n| format!("{n}\n")).collect()
}

on_both_stores! {
    async fn many_lines_are_recorded_in_their_order_on_one_stream(backend: Backend) {
        const LINES: usize = 30_000;
        let (server, shell) = Shell::on(backend).await;
        shell.ok(&["topic", "create", "orders"]).await;
        let printed = shell.fed(&PUBLISH, &numbered(LINES)).await.ok();
        assert!(offsets(printed.lines()).into_iter().eq(1..=LINES as u64), "not in order");
        let events = everything(&Client::admin(&server).await, "orders").await;
        assert!(events.iter().map(text).eq((1..=LINES).map(|n| n.to_string())), "not as they were written");
        let metrics = Metrics::of(&server).await;
        let calls = |method: &str| metrics.text().lines().any(|line| line.contains(&format!("EventService/{method}\"")));
        assert!(calls("PublishStream") && !calls("Publish"), "published one call at a time:\n{}", metrics.text());
    }

    async fn restarts_of_the_server_lose_and_repeat_no_line(backend: Backend) {
        const LINES: usize = 40_000;
        let (mut server, shell) = Shell::on(backend).await;
        shell.ok(&["topic", "create", "orders"]).await;
        let mut chance = Chance::printed();
        let command = shell.command(&PUBLISH);
        let input = numbered(LINES);
        let publishing = tokio::spawn(async move { finished(command, &input).await });
        let mut kills = 0;
        while kills < 6 && !publishing.is_finished() {
            chance.moment(Duration::from_millis(300)).await;
            match kills % 2 {
                0 => server.kill().await,
                _ => drop(server.terminate().await),
            }
            kills += 1;
            server.restart().await;
        }
        let printed = publishing.await.unwrap().ok();
        assert!(offsets(printed.lines()).into_iter().eq(1..=LINES as u64), "twice, or not at all, or out of order");
        let events = everything(&Client::admin(&server).await, "orders").await;
        assert!(events.iter().map(text).eq((1..=LINES).map(|n| n.to_string())), "twice, or not at all, or out of order");
        println!("{backend:?}: {kills} restarts while {LINES} lines were published");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_line_ends_it_after_what_was_on_its_way() {
    let (_server, shell) = Shell::embedded().await;
    shell.ok(&["topic", "create", "orders"]).await;
    // The third group of 1,000 lines holds the one that is refused.
    let mut lines: Vec<String> = (1..=100_000).map(|n| format!(r#"{{"type":"x","text":"{n}"}}"#)).collect();
    lines[2500] = r#"{"type":"a*b","text":"refused"}"#.to_owned();
    let done = shell.fed(&["publish", "orders", "--envelope"], &(lines.join("\n") + "\n")).await;
    assert_eq!(done.code, 1, "{}", done.err);
    assert!(done.err.contains("EVENT_INVALID") && done.err.contains("type"), "{}", done.err);
    let printed = offsets(done.out.lines());
    let head: u64 = shell.json(&["topic", "get", "orders"]).await[0]["head_offset"].as_str().unwrap().parse().unwrap();
    assert!(printed.iter().copied().eq(1..=head), "{} printed, {head} recorded", printed.len());
    assert!((1500..90_000).contains(&head), "{head} were recorded");
    shell.fails(3, &["publish", "nowhere", "--type", "x", "--data", "x"]).await;
    let missing = shell.fed(&["publish", "nowhere", "--type", "x"], "a\nb\n").await;
    assert_eq!((missing.code, missing.out.as_str()), (3, ""), "{missing:?}");
    assert!(missing.err.contains("TOPIC_NOT_FOUND"), "{}", missing.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_fails_the_command_in_its_time() {
    let (mut server, shell) = Shell::embedded().await;
    shell.ok(&["topic", "create", "orders"]).await;
    server.kill().await;
    let done = shell.fed(&["--timeout", "2s", "publish", "orders", "--type", "x"], "a\n").await;
    assert_eq!((done.code, done.out.as_str()), (5, ""), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_printed_as_they_come_though_the_writer_pauses_for_longer_than_a_stream_lives() {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

    let server = Backend::Sqlite.server().await.flag("--stream-max-age", "1s").start().await;
    let shell = Shell::of(&server);
    shell.ok(&["topic", "create", "orders"]).await;
    let mut command = shell.command(&PUBLISH);
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut printed = BufReader::new(child.stdout.take().unwrap()).lines();
    for n in 1..=3 {
        input.write_all(format!("{n}\n").as_bytes()).await.unwrap();
        let line = eventually("the line to be printed", async || printed.next_line().await.unwrap()).await;
        assert_eq!(offsets([line.as_str()]), [n]);
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    drop(input);
    assert!(child.wait().await.unwrap().success());
}
