//! `eventflow bench`: what it measures was done, once, and leaves nothing behind.

use serde_json::Value;

use super::shell::Shell;
use crate::harness::backend::{Backend, on_both_stores};

on_both_stores! {
    async fn queues_are_measured_by_what_was_settled_and_nothing_is_left(backend: Backend) {
        let (_server, shell) = Shell::on(backend).await;
        let args = ["bench", "queue", "queue_keyed", "--events", "2000", "--runs", "1", "--workers", "3"];
        let lines = shell.ok(&[&args[..], &["--output", "json"]].concat()).await;
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let names: Vec<_> = lines.iter().map(|line| line["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["queue", "queue_keyed"]);
        for line in &lines {
            assert_eq!(line["verified_events"], "2000");
            assert!(line["median"].as_f64().unwrap() > 0.0);
            assert_eq!(line["runs"].as_array().unwrap().len(), 1);
        }
        assert_eq!(lines[0]["checksum"], lines[1]["checksum"], "both get the same events");
        let plain = shell.ok(&args).await;
        assert!(plain.lines().all(|line| line.split('\t').count() == 3), "{plain}");
        for what in ["topic", "consumer"] {
            assert_eq!(shell.ok(&[what, "list", "--output", "json"]).await, "");
        }
    }
}
