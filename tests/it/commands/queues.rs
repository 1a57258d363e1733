//! Queues by commands: settings, single fetches, settling, dead letters, and `tail`.

use super::shell::{Shell, field, offsets};
use crate::harness::{patience::eventually, server::Server};

/// The topic `jobs` with as many events, and the queue `mailer` of it with further settings.
pub(super) async fn mailer(events: usize, settings: &[&str]) -> (Server, Shell) {
    let (server, shell) = Shell::embedded().await;
    prepare(&shell, events, settings).await;
    (server, shell)
}

/// As [`mailer`], on a server that runs.
pub(super) async fn prepare(shell: &Shell, events: usize, settings: &[&str]) {
    shell.ok(&["topic", "create", "jobs"]).await;
    publish(shell, 1..=events).await;
    let register = ["consumer", "register", "mailer", "jobs", "--mode", "queue", "--backoff", "100ms"];
    shell.ok(&[&register[..], settings].concat()).await;
}

/// Publishes events with these texts.
pub(super) async fn publish(shell: &Shell, texts: std::ops::RangeInclusive<usize>) {
    let lines: String = texts.map(|n| format!("{n}\n")).collect();
    shell.fed(&["publish", "jobs", "--type", "mail"], &lines).await.ok();
}

/// What `consumer get` says of the queue.
pub(super) async fn number(shell: &Shell, name: &str) -> u64 {
    let text = shell.ok(&["consumer", "get", "mailer"]).await;
    field(&text, name).parse().unwrap_or_else(|_| panic!("{name} in {text}"))
}

/// Waits until `consumer get` says this.
pub(super) async fn becomes(shell: &Shell, name: &str, wanted: u64) {
    eventually(&format!("{name} to be {wanted}"), async || (number(shell, name).await == wanted).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_created_with_its_settings_and_changed() {
    let settings = ["--lease", "2m", "--max-attempts", "7", "--max-in-flight", "9", "--filter", "type=mail"];
    let (_server, shell) = mailer(2, &settings).await;
    let shown = shell.ok(&["consumer", "get", "mailer"]).await;
    for (name, value) in [
        ("mode", "queue"),
        ("lease", "2m"),
        ("backoff", "0.1s"),
        ("max attempts", "7"),
        ("max in flight", "9"),
        ("in flight", "0"),
        ("retrying", "0"),
        ("dead letters", "0"),
    ] {
        assert_eq!(field(&shown, name), value, "{name}");
    }
    let changed = shell.ok(&["consumer", "update", "mailer", "--lease", "1m", "--backoff", "1s,2m"]).await;
    assert_eq!((field(&changed, "lease"), field(&changed, "backoff")), ("1m", "1s,2m"));
    let kept = (field(&changed, "max attempts"), field(&changed, "max in flight"), field(&changed, "filter"));
    assert_eq!(kept, ("7", "9", "type=mail"), "what was not given has changed");
    let changed =
        shell.ok(&["consumer", "update", "mailer", "--max-attempts", "8", "--max-in-flight", "5", "--all"]).await;
    let now = (field(&changed, "max attempts"), field(&changed, "max in flight"), field(&changed, "filter"));
    assert_eq!(now, ("8", "5", "-"));

    shell.fails(2, &["consumer", "update", "mailer"]).await;
    assert!(shell.fails(1, &["consumer", "update", "mailer", "--lease", "2h"]).await.contains("lease"));
    shell.ok(&["consumer", "create", "billing", "jobs"]).await;
    assert!(shell.fails(6, &["consumer", "update", "billing", "--lease", "1m"]).await.contains("WRONG_MODE"));
    let wrong = ["consumer", "register", "other", "jobs", "--lease", "1m"];
    assert!(shell.fails(1, &wrong).await.contains("MODE_QUEUE"), "a lease in MODE_ORDERED");
    let ordered = shell.ok(&["consumer", "get", "billing"]).await;
    assert!(!ordered.contains("retrying"), "{ordered}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_fetched_and_settled_one_by_one() {
    let (_server, shell) = mailer(4, &["--max-attempts", "1"]).await;
    let polled = shell.ok(&["consumer", "poll", "mailer"]).await;
    let lines: Vec<_> = polled.lines().collect();
    let lease = lines[0].strip_prefix("lease ").unwrap().to_owned();
    assert!(lines[1].starts_with("OFFSET  ATTEMPT  "), "{polled}");
    let first: Vec<_> = lines[2].split_whitespace().collect();
    assert_eq!((lines.len(), &first[..]), (6, &["1", "1", "mail", "-", "1"][..]), "{polled}");
    assert_eq!(number(&shell, "in flight").await, 4);

    let settle = ["consumer", "settle", "mailer", "--lease", &lease];
    let settle = |what: &'static [&'static str]| [&settle[..], what].concat();
    assert_eq!(shell.ok(&settle(&["--ack", "1", "--extend", "4"])).await, "settled\n");
    shell.ok(&settle(&["--nack", "2", "--error", "no such address"])).await;
    shell.ok(&settle(&["--nack", "3", "--dead-letter"])).await;
    shell.ok(&settle(&["--ack", "1"])).await;
    let unknown = shell.fails(6, &settle(&["--ack", "9"])).await;
    assert!(unknown.contains("9 is not settled: it does not belong to this lease"), "{unknown}");
    shell.fails(2, &settle(&[])).await;
    shell.fails(1, &["consumer", "settle", "mailer", "--lease", "x", "--ack", "1"]).await;
    assert_eq!((number(&shell, "in flight").await, number(&shell, "dead letters").await), (1, 2));

    publish(&shell, 5..=5).await;
    let polled = shell.json(&["consumer", "poll", "mailer", "--commit", "--wait", "5s"]).await;
    assert_eq!(polled[0]["deliveries"][0]["event"]["offset"], "5", "{polled:?}");
    shell.ok(&settle(&["--ack", "4"])).await;
    becomes(&shell, "position", 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_put_back_and_forgotten() {
    let (_server, shell) = mailer(3, &[]).await;
    let lease = shell.json(&["consumer", "poll", "mailer"]).await[0]["lease_id"].as_str().unwrap().to_owned();
    let all = ["--nack", "1", "--nack", "2", "--nack", "3", "--error", "no\u{1b}[31m way", "--dead-letter"];
    shell.ok(&[&["consumer", "settle", "mailer", "--lease", &lease][..], &all].concat()).await;
    let listed = shell.ok(&["consumer", "dead-letters", "mailer"]).await;
    let lines: Vec<_> = listed.lines().collect();
    assert!(lines.len() == 4 && lines[0].starts_with("OFFSET ") && lines[1].contains("rejected"), "{listed}");
    assert!(lines[1].ends_with("no\\u{1b}[31m way"), "{listed}");
    assert_eq!(shell.ok(&["consumer", "dead-letters", "mailer", "--limit", "2"]).await.lines().count(), 3);
    let json = shell.json(&["consumer", "dead-letters", "mailer", "--all"]).await;
    assert_eq!((json.len(), &json[2]["offset"], &json[2]["event"]["text"]), (3, &"3".into(), &"3".into()), "{json:?}");

    let of = |verb: &'static str, rest: &[&'static str]| [&["consumer", verb, "mailer"][..], rest].concat();
    assert_eq!(shell.ok(&of("redrive", &["--all", "--dry-run"])).await, "3 would go back\n");
    assert_eq!(shell.ok(&of("discard", &["--offset", "1", "--dry-run"])).await, "1 would be forgotten\n");
    assert_eq!(number(&shell, "dead letters").await, 3, "counting has changed something");
    for verb in ["redrive", "discard"] {
        shell.fails(2, &of(verb, &[])).await;
        shell.fails(2, &of(verb, &["--all", "--offset", "1"])).await;
        shell.fails(2, &of(verb, &["--offset", "0"])).await;
    }
    assert!(shell.fails(2, &of("discard", &["--all"])).await.contains("--yes"));
    assert_eq!(shell.ok(&of("redrive", &["--offset", "2", "--offset", "99"])).await, "1 back in the queue\n");
    assert_eq!(shell.ok(&of("redrive", &["--offset", "2"])).await, "0 back in the queue\n");
    let again = shell.json(&["consumer", "poll", "mailer", "--wait", "5s", "--commit"]).await;
    let delivery = &again[0]["deliveries"][0];
    assert_eq!((&delivery["event"]["offset"], &delivery["attempt"]), (&"2".into(), &1.into()), "{again:?}");
    let discarded = shell.json(&of("discard", &["--all", "--yes"])).await;
    assert_eq!(discarded[0]["discarded"], "2");
    assert_eq!(number(&shell, "dead letters").await, 0);

    shell.ok(&["consumer", "register", "billing", "jobs"]).await;
    for arguments in [
        &["consumer", "dead-letters", "billing"][..],
        &["consumer", "redrive", "billing", "--all"],
        &["consumer", "discard", "billing", "--all", "--yes"],
        &["consumer", "settle", "billing", "--lease", "1", "--ack", "1"],
    ] {
        assert!(shell.fails(6, arguments).await.contains("WRONG_MODE"), "{arguments:?}");
        let missing: Vec<_> = arguments.iter().map(|word| if *word == "billing" { "nobody" } else { word }).collect();
        assert!(shell.fails(3, &missing).await.contains("CONSUMER_NOT_FOUND"), "{missing:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_of_a_queue_acknowledges_what_it_prints_or_gives_it_back() {
    let (_server, shell) = mailer(5, &["--lease", "2s"]).await;
    let looked = shell.ok(&["tail", "--consumer", "mailer", "--no-commit", "--until-head"]).await;
    assert_eq!(offsets(looked.lines()), [1, 2, 3, 4, 5]);
    becomes(&shell, "in flight", 0).await;
    assert_eq!(number(&shell, "position").await, 0, "something was acknowledged");

    let mut two = offsets(shell.ok(&["tail", "--consumer", "mailer", "--count", "2"]).await.lines());
    becomes(&shell, "in flight", 0).await;
    let rest = shell.ok(&["tail", "--consumer", "mailer", "--until-head"]).await;
    two.extend(offsets(rest.lines()));
    two.sort_unstable();
    assert_eq!(two, [1, 2, 3, 4, 5], "twice or not at all");
    becomes(&shell, "position", 5).await;

    let mut tail = shell.follow(&["tail", "--consumer", "mailer"]);
    publish(&shell, 6..=8).await;
    let lines = tail.printed(3).await;
    assert_eq!(offsets(lines.iter().map(String::as_str)), [6, 7, 8]);
    becomes(&shell, "position", 8).await;
    tail.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(tail.ended().await, 0);
    let refused = shell.fails(6, &["tail", "--consumer", "mailer", "--take-over"]).await;
    assert!(refused.contains("WRONG_MODE"), "{refused}");
}
