//! `work` while its server, or itself, comes to harm.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;

use super::{
    queues::{becomes, number, prepare},
    shell::Shell,
    work::written,
};
use crate::harness::{
    backend::{Backend, on_both_stores},
    patience::eventually,
};

/// How often each event was begun, with the attempts that were named.
fn begun(shell: &Shell) -> BTreeMap<u64, Vec<u64>> {
    let mut events: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for line in written(shell, "begun") {
        let (offset, attempt) = line.split_once(' ').unwrap();
        events.entry(offset.parse().unwrap()).or_default().push(attempt.parse().unwrap());
    }
    events
}

on_both_stores! {
    async fn what_a_killed_worker_had_comes_again_as_the_second_attempt(backend: Backend) {
        let (_server, shell) = Shell::on(backend).await;
        prepare(&shell, 4, &["--lease", "2s"]).await;
        let exec = "echo $EVENT_OFFSET $EVENT_ATTEMPT >> begun; sleep 60";
        let mut work = shell.follow(&["work", "mailer", "--exec", exec, "--concurrency", "2"]);
        eventually("two commands", async || (begun(&shell).len() == 2).then_some(())).await;
        work.signal(Signal::SIGKILL);
        work.ended().await;
        let exec = "echo $EVENT_OFFSET $EVENT_ATTEMPT >> begun";
        let out = shell.ok(&["work", "mailer", "--exec", exec, "--until-head"]).await;
        assert_eq!(out.lines().last(), Some("4 done, 0 failed"), "{out}");
        let begun = begun(&shell);
        assert!(begun.values().filter(|attempts| attempts[..] == [1, 2]).count() == 2, "{begun:?}");
        assert!(begun.values().all(|attempts| attempts.last() == Some(&2)), "all four were sent before: {begun:?}");
    }

    async fn a_server_that_is_stopped_and_started_again_costs_no_event_and_no_attempt(backend: Backend) {
        const EVENTS: u64 = 40;
        let (mut server, shell) = Shell::on(backend).await;
        prepare(&shell, EVENTS as usize, &[]).await;
        let exec = "echo $EVENT_OFFSET $EVENT_ATTEMPT >> begun; sleep 0.2";
        let mut work = shell.follow(&["work", "mailer", "--exec", exec, "--concurrency", "2"]);
        for part in 1..=3 {
            let enough = part * EVENTS as usize / 4;
            eventually("a part of the work", async || (begun(&shell).len() >= enough).then_some(())).await;
            server.terminate().await;
            server.restart().await;
        }
        becomes(&shell, "position", EVENTS).await;
        work.signal(Signal::SIGTERM);
        assert_eq!(work.ended().await, 0, "{:?}", work.lines());
        let begun = begun(&shell);
        assert!(begun.values().all(|attempts| attempts[..] == [1]), "twice, or counted: {begun:?}");
        assert_eq!(begun.len() as u64, EVENTS, "lost: {begun:?}");
        assert_eq!(number(&shell, "dead letters").await, 0);
    }

    async fn a_server_that_is_killed_costs_no_event(backend: Backend) {
        const EVENTS: u64 = 20;
        let (mut server, shell) = Shell::on(backend).await;
        prepare(&shell, EVENTS as usize, &["--lease", "2s"]).await;
        let exec = "echo $EVENT_OFFSET $EVENT_ATTEMPT >> begun; sleep 0.2";
        let mut work = shell.follow(&["work", "mailer", "--exec", exec, "--concurrency", "2"]);
        eventually("a part of the work", async || (begun(&shell).len() >= 5).then_some(())).await;
        server.kill().await;
        server.restart().await;
        becomes(&shell, "position", EVENTS).await;
        work.signal(Signal::SIGTERM);
        assert_eq!(work.ended().await, 0, "{:?}", work.lines());
        assert_eq!(begun(&shell).len() as u64, EVENTS);
        assert_eq!(number(&shell, "dead letters").await, 0);
    }
}
