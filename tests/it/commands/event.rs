//! `event get` and `event list`.

use super::shell::{Shell, offsets};
use crate::{
    client::{Client, event},
    harness::backend::{Backend, on_both_stores},
};

on_both_stores! {
    async fn an_event_is_shown_by_its_offset_or_its_id(backend: Backend) {
        let (_server, shell) = Shell::on(backend).await;
        shell.ok(&["topic", "create", "orders"]).await;
        let publish = ["publish", "orders", "--type", "order.placed", "--key", "order-1", "--attr", "region=eu"];
        shell.ok(&[&publish[..], &["--id", "one", "--data", "first\nline"]].concat()).await;
        shell.ok(&[&publish[..], &["--source", "/shop", "--id", "one", "--data", "second"]].concat()).await;
        let text = shell.ok(&["event", "get", "orders", "1"]).await;
        for line in ["offset:       1", "type:         order.placed", "attributes:   region=eu", r"payload:      first\nline"] {
            assert!(text.contains(line), "{line:?} is not in {text}");
        }
        let by_id = shell.json(&["event", "get", "orders", "--id", "one"]).await;
        let tailed = shell.json(&["tail", "orders", "--earliest", "--count", "1"]).await;
        assert_eq!(by_id, tailed, "an event looks differently here");
        let other = shell.json(&["event", "get", "orders", "--id", "one", "--source", "/shop"]).await;
        assert_eq!((&other[0]["text"], &other[0]["offset"]), (&"second".into(), &"2".into()));
        for missing in [&["event", "get", "orders", "3"][..], &["event", "get", "orders", "--id", "two"]] {
            let error = shell.fails(3, missing).await;
            assert!(error.contains("EVENT_NOT_FOUND"), "{error}");
        }
        shell.fails(3, &["event", "get", "letters", "1"]).await;
        shell.fails(2, &["event", "get", "orders"]).await;
    }

    async fn events_are_listed_by_what_was_asked_for(backend: Backend) {
        let (server, shell) = Shell::on(backend).await;
        shell.ok(&["topic", "create", "orders"]).await;
        let empty = shell.ok(&["event", "list", "orders"]).await;
        assert_eq!(empty, "OFFSET  RECORDED  TYPE  KEY  PAYLOAD\n");
        assert!(shell.json(&["event", "list", "orders"]).await.is_empty());
        let client = Client::admin(&server).await;
        for first in (1..=2500).step_by(500) {
            client.publish_numbered("orders", first, 500).await;
        }
        client.publish("orders", vec![eventflow::proto::v1::NewEvent { key: "k".into(), ..event("last") }]).await.unwrap();

        let listed = async |arguments: &[&str]| {
            let arguments = [&["event", "list", "orders"], arguments].concat();
            let events = shell.json(&arguments).await;
            let json: Vec<u64> = events.iter().map(|event| event["offset"].as_str().unwrap().parse().unwrap()).collect();
            let table = shell.ok(&arguments).await;
            assert!(table.starts_with("OFFSET"), "{table}");
            assert_eq!(offsets(table.lines().skip(1).map(str::trim_start)), json, "{arguments:?}");
            json
        };
        assert_eq!(listed(&[]).await, (1..=50).collect::<Vec<_>>());
        assert_eq!(listed(&["--limit", "3"]).await, [1, 2, 3]);
        assert_eq!(listed(&["--newest-first", "--limit", "3"]).await, [2501, 2500, 2499]);
        assert_eq!(listed(&["--all"]).await, (1..=2501).collect::<Vec<_>>());
        assert_eq!(listed(&["--limit", "1200"]).await, (1..=1200).collect::<Vec<_>>());
        assert_eq!(listed(&["--from", "100", "--to", "102"]).await, [100, 101, 102]);
        assert_eq!(listed(&["--filter", "key=k"]).await, [2501]);
        assert_eq!(listed(&["--filter", "type=other"]).await, [0; 0]);
        assert_eq!(listed(&["--from-time", "-1h", "--limit", "2"]).await, [1, 2]);
        assert_eq!(listed(&["--to-time", "-1h"]).await, [0; 0]);
        let table = shell.ok(&["event", "list", "orders", "--newest-first", "--limit", "1"]).await;
        assert!(table.lines().nth(1).is_some_and(|line| line.ends_with("  test  k    last")), "{table}");
        shell.fails(3, &["event", "list", "letters"]).await;
    }
}
