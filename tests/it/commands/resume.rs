//! `tail --consumer`: the server remembers what was printed.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::task::JoinHandle;

use super::shell::{Shell, offsets};
use crate::{
    chance::Chance,
    client::{Client, event},
    harness::{
        backend::{Backend, on_both_stores},
        server::Server,
    },
};

/// A topic `orders` and a consumer `billing` of it.
async fn billing(backend: Backend) -> (Server, Shell) {
    let (server, shell) = Shell::on(backend).await;
    shell.ok(&["topic", "create", "orders"]).await;
    shell.ok(&["consumer", "register", "billing", "orders"]).await;
    (server, shell)
}

async fn position(shell: &Shell) -> u64 {
    let consumer = shell.json(&["consumer", "get", "billing"]).await.remove(0);
    consumer["status"]["position"]["offset"].as_str().unwrap().parse().unwrap()
}

fn publish_steadily(client: Client, count: usize) -> JoinHandle<()> {
    tokio::spawn(async move {
        for n in 0..count {
            client.publish("orders", vec![event(&n.to_string()); 5]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
}

on_both_stores! {
    async fn a_consumer_resumes_exactly_after_what_was_printed(backend: Backend) {
        const EVENTS: usize = 2000;
        let mut chance = Chance::printed();
        let (server, shell) = billing(backend).await;
        let publisher = publish_steadily(Client::admin(&server).await, EVENTS / 5);
        let mut printed = Vec::new();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGINT, Signal::SIGTERM] {
            let mut tail = shell.follow(&["tail", "--consumer", "billing"]);
            tail.printed(20).await;
            chance.moment(Duration::from_millis(200)).await;
            tail.signal(signal);
            assert_eq!(tail.ended().await, 0, "{:?}", tail.lines().last());
            let lines = tail.lines();
            printed.extend(offsets(lines.iter().map(String::as_str)));
            assert_eq!(Some(&position(&shell).await), printed.last(), "not committed at {signal}");
        }
        publisher.await.unwrap();
        let rest = shell.ok(&["tail", "--consumer", "billing", "--until-head"]).await;
        printed.extend(offsets(rest.lines()));
        assert!(printed.iter().copied().eq(1..=EVENTS as u64), "twice or not at all: {printed:?}");
        assert_eq!(position(&shell).await, EVENTS as u64, "the end that was asked for is not committed");
    }

    async fn one_tail_prints_each_event_once_while_its_server_is_killed(backend: Backend) {
        let mut chance = Chance::printed();
        let (mut server, shell) = billing(backend).await;
        let client = Client::admin(&server).await;
        let mut tail = shell.follow(&["tail", "--consumer", "billing"]);
        let mut published = 0;
        for _ in 0..3 {
            let client = client.on(&server).await;
            for _ in 0..40 {
                client.publish_numbered("orders", published, 10).await;
                published += 10;
            }
            // Some of it is printed and committed, some printed, and some neither.
            chance.moment(Duration::from_millis(1500)).await;
            server.restart().await;
        }
        let lines = tail.printed(published).await;
        assert!(offsets(lines.iter().map(String::as_str)).into_iter().eq(1..=published as u64), "{lines:#?}");
        tail.signal(Signal::SIGTERM);
        assert_eq!(tail.ended().await, 0);
        assert_eq!(position(&shell).await, published as u64);
    }

    async fn a_second_tail_waits_and_goes_on_exactly_where_the_first_was_stopped(backend: Backend) {
        let (_server, shell) = billing(backend).await;
        let mut first = shell.follow(&["tail", "--consumer", "billing"]);
        for n in 1..=10 {
            let publish = ["publish", "orders", "--type", "x"];
            shell.fed(&publish, &format!("{n}\n")).await.ok();
            let lines = first.printed(1).await;
            assert_eq!(offsets(lines.iter().map(String::as_str)), [n]);
            let second = shell.follow(&["tail", "--consumer", "billing"]);
            tokio::time::sleep(crate::client::A_WHILE).await;
            assert!(second.lines().is_empty(), "{:?}", second.lines());
            // The second one gets the consumer as soon as the first lets go of it: what that printed is stored by then.
            first.signal(if n % 2 == 0 { Signal::SIGINT } else { Signal::SIGTERM });
            assert_eq!(first.ended().await, 0, "round {n}: {:?}", first.lines());
            first = second;
        }
        first.signal(Signal::SIGTERM);
        assert_eq!((first.ended().await, first.lines()), (0, vec![]), "the last event was printed twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_printed_is_committed_each_second() {
    let (_server, shell) = billing(Backend::Sqlite).await;
    shell.fed(&["publish", "orders", "--type", "x"], "1\n2\n3\n").await.ok();
    let mut tail = shell.follow(&["tail", "--consumer", "billing"]);
    tail.printed(3).await;
    let reached = async || (position(&shell).await == 3).then_some(());
    crate::harness::patience::eventually("a commit while the tail goes on", reached).await;
    tail.signal(Signal::SIGKILL);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_commits_the_same_is_printed_again() {
    let (_server, shell) = billing(Backend::Sqlite).await;
    shell.fed(&["publish", "orders", "--type", "x"], "1\n2\n3\n").await.ok();
    for _ in 0..2 {
        let text = shell.ok(&["tail", "--consumer", "billing", "--until-head", "--no-commit"]).await;
        assert_eq!(offsets(text.lines()), [1, 2, 3]);
    }
    let text = shell.ok(&["tail", "--consumer", "billing", "--count", "2"]).await;
    assert_eq!((offsets(text.lines()), position(&shell).await), (vec![1, 2], 2));
}
