//! `work`: a command for each event of a queue.

use std::collections::HashMap;

use nix::sys::signal::Signal;

use super::{
    queues::{becomes, mailer, number, prepare, publish},
    shell::{Shell, offsets},
};
use crate::harness::{
    backend::{Backend, on_both_stores},
    patience::eventually,
};

/// The lines of a file that commands have written, in their order.
pub(super) fn written(shell: &Shell, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(shell.home().join(name)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

on_both_stores! {
    async fn each_event_is_worked_on_and_what_fails_comes_again_until_it_is_given_up(backend: Backend) {
        let (_server, shell) = Shell::on(backend).await;
        prepare(&shell, 3, &["--max-attempts", "2"]).await;
        let exec = r#"cat > in.$EVENT_OFFSET.$EVENT_ATTEMPT; echo "said $EVENT_TYPE" >&2
            case $EVENT_OFFSET in 2) echo "not today" >&2; exit 3;; 3) [ $EVENT_ATTEMPT = 2 ];; esac"#;
        let done = shell.run(&["work", "mailer", "--exec", exec, "--until-head", "-o", "json"]).await;
        assert_eq!(done.code, 0, "{done:?}");
        let lines: Vec<serde_json::Value> = done.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let mut seen: Vec<_> = lines
            .iter()
            .map(|line| format!("{} {} {}", line["offset"].as_str().unwrap(), line["attempt"], line["outcome"]))
            .collect();
        seen.sort();
        assert_eq!(seen, ["1 1 \"ack\"", "2 1 \"nack\"", "2 2 \"nack\"", "3 1 \"nack\"", "3 2 \"ack\""]);
        let event: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(shell.home().join("in.3.2")).unwrap()).unwrap();
        assert_eq!((&event["offset"], &event["text"], &event["type"]), (&"3".into(), &"3".into(), &"mail".into()));
        let dead = shell.json(&["consumer", "dead-letters", "mailer"]).await;
        assert_eq!((dead.len(), &dead[0]["offset"], &dead[0]["attempts"]), (1, &"2".into(), &2.into()), "{dead:?}");
        assert_eq!(dead[0]["error"], "said mail\nnot today");
        assert_eq!(number(&shell, "position").await, 3);
    }

    async fn events_of_a_key_are_worked_on_in_order_while_others_run_beside_them(backend: Backend) {
        const KEYS: usize = 5;
        let (_server, shell) = Shell::on(backend).await;
        prepare(&shell, 0, &[]).await;
        let lines: String = (1..=60).map(|n| format!("{{\"type\":\"mail\",\"key\":\"k{}\",\"text\":\"{n}\"}}\n", n % KEYS)).collect();
        shell.fed(&["publish", "jobs", "--envelope"], &lines).await.ok();
        // Each seventh one fails once, and its key has to wait for it.
        let exec = r#"echo "begin $EVENT_KEY $EVENT_OFFSET" >> log; sleep 0.05
            [ $((EVENT_OFFSET % 7)) != 0 ] || [ $EVENT_ATTEMPT = 2 ] || exit 1
            echo "end $EVENT_KEY $EVENT_OFFSET" >> log"#;
        let out = shell.ok(&["work", "mailer", "--exec", exec, "--concurrency", "4", "--until-head"]).await;
        assert_eq!(out.lines().last(), Some("60 done, 8 failed"), "{out}");
        let mut last: HashMap<String, u64> = HashMap::new();
        let (mut at_once, mut most) = (0_usize, 0);
        for line in written(&shell, "log") {
            let words: Vec<_> = line.split(' ').collect();
            let offset: u64 = words[2].parse().unwrap();
            if words[0] == "begin" {
                at_once += 1;
                most = most.max(at_once);
                assert!(last.get(words[1]).is_none_or(|last| *last < offset), "{line} after {last:?}");
            } else {
                at_once -= 1;
                last.insert(words[1].to_owned(), offset);
            }
        }
        assert!(most > 1, "nothing ran beside anything else");
        assert_eq!(last.len(), KEYS);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_takes_too_long_is_killed_with_what_it_started() {
    let (_server, shell) = mailer(1, &["--max-attempts", "1"]).await;
    let exec = "(sleep 30; touch survived) & wait";
    let out = shell.ok(&["work", "mailer", "--exec", exec, "--exec-timeout", "300ms", "--until-head"]).await;
    let lines: Vec<_> = out.lines().collect();
    assert!(lines[0].starts_with("1  attempt 1  failed  ") && lines[0].ends_with("  timed out after 300ms"), "{out}");
    assert_eq!(lines[1], "0 done, 1 failed");
    let dead = shell.json(&["consumer", "dead-letters", "mailer"]).await;
    assert_eq!(dead[0]["error"], "timed out after 300ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_runs_for_longer_than_its_lease_keeps_it_and_so_does_what_waits_behind_it() {
    let (_server, shell) = mailer(3, &["--lease", "1s"]).await;
    let out = shell.ok(&["work", "mailer", "--exec", "sleep 1.7", "--until-head"]).await;
    let attempts: Vec<_> = out.lines().take(3).map(|line| line.split("  ").nth(1).unwrap()).collect();
    assert_eq!(attempts, ["attempt 1"; 3], "{out}");
    assert_eq!((offsets(out.lines().take(3)), out.lines().last()), (vec![1, 2, 3], Some("3 done, 0 failed")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_before_anything_is_taken() {
    let (_server, shell) = mailer(1, &[]).await;
    shell.ok(&["consumer", "register", "billing", "jobs"]).await;
    let ordered = shell.fails(6, &["work", "billing", "--exec", "true"]).await;
    assert!(ordered.contains("MODE_ORDERED") && ordered.contains("eventflow tail --consumer billing"), "{ordered}");
    shell.fails(3, &["work", "nobody", "--exec", "true"]).await;
    shell.fails(2, &["work", "mailer"]).await;
    shell.fails(5, &["work", "mailer", "--exec", "true", "--server", "127.0.0.1:1"]).await;
    assert_eq!(number(&shell, "in flight").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_signal_waits_for_commands_and_gives_back_what_was_not_begun() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (_server, shell) = mailer(4, &[]).await;
        let exec = "echo $EVENT_OFFSET >> begun; until [ -e go ]; do sleep 0.05; done";
        let mut work = shell.follow(&["work", "mailer", "--exec", exec, "--concurrency", "2"]);
        eventually("two commands", async || (written(&shell, "begun").len() == 2).then_some(())).await;
        becomes(&shell, "in flight", 4).await;
        work.signal(signal);
        tokio::time::sleep(crate::client::A_WHILE).await;
        assert_eq!(work.lines(), Vec::<String>::new(), "it did not wait");
        std::fs::write(shell.home().join("go"), "").unwrap();
        assert_eq!(work.ended().await, 0);
        assert_eq!(work.lines().last().map(String::as_str), Some("2 done, 0 failed"));
        assert_eq!(written(&shell, "begun").len(), 2, "it went on taking events");
        becomes(&shell, "in flight", 0).await;
        let rest = shell.ok(&["work", "mailer", "--exec", "true", "--until-head"]).await;
        assert_eq!(rest.lines().last(), Some("2 done, 0 failed"), "{rest}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_signal_kills_the_commands_and_says_that_they_failed() {
    let (_server, shell) = mailer(1, &["--backoff", "1h"]).await;
    let mut work = shell.follow(&["work", "mailer", "--exec", "touch begun; sleep 60"]);
    eventually("the command", async || shell.home().join("begun").exists().then_some(())).await;
    work.signal(Signal::SIGTERM);
    tokio::time::sleep(crate::client::A_WHILE).await;
    work.signal(Signal::SIGTERM);
    assert_eq!(work.ended().await, 0);
    let lines = work.lines();
    assert!(lines[0].ends_with("  the worker was told to stop") && lines[1] == "0 done, 1 failed", "{lines:?}");
    assert_eq!((number(&shell, "retrying").await, number(&shell, "in flight").await), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_goes_on_with_what_comes_later() {
    let (_server, shell) = mailer(0, &[]).await;
    let mut work = shell.follow(&["work", "mailer", "--exec", "true"]);
    for n in 1..=3 {
        publish(&shell, n..=n).await;
        work.printed(n).await;
    }
    work.signal(Signal::SIGTERM);
    assert_eq!(work.ended().await, 0);
    assert_eq!(offsets(work.lines().iter().take(3).map(String::as_str)), [1, 2, 3]);
}
