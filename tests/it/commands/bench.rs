//! `eventflow bench`: what it measures was done, once, and leaves nothing behind.

use serde_json::Value;

use super::shell::Shell;
use crate::{
    harness::{
        backend::{Backend, on_both_stores},
        databases::Database,
        redis::Redis,
        server::Server,
    },
    observe::Metrics,
};

/// Small enough for a test.
const SMALL: [&str; 18] = [
    "--runs",
    "1",
    "--events",
    "2000",
    "--callers",
    "4",
    "--connections",
    "3",
    "--readers",
    "5",
    "--topics",
    "7",
    "--idle",
    "20",
    "--idle-connections",
    "2",
    "--workers",
    "3",
];

/// What a line of a workload adds to its name, and the unit.
type Line = (&'static str, &'static str);

/// Each workload, the lines that it prints, and the events that it verifies with `SMALL`.
const WORKLOADS: [(&str, &[Line], &str); 15] = [
    ("publish_pipelined", &[("", "events/s")], "2000"),
    ("publish_batched", &[("", "events/s")], "2000"),
    ("publish_unary", &[("", "events/s")], "500"),
    ("publish_single", &[(".p50", "us"), (".p99", "us")], "20"),
    ("publish_dedup", &[("", "events/s")], "2000"),
    ("publish_dedup_random", &[("", "events/s")], "2000"),
    ("publish_spread", &[("", "events/s")], "2000"),
    ("rpc_empty", &[("", "calls/s"), (".p50", "us")], "500"),
    ("replay", &[("", "events/s")], "2000"),
    ("fanout", &[("", "deliveries/s")], "1000"),
    ("latency", &[(".p50", "us"), (".p99", "us")], "50"),
    ("idle", &[(".publish", "events/s"), (".publish_alone", "events/s")], "4000"),
    ("growth", GROWTH, "24800"),
    ("queue", &[("", "events/s")], "2000"),
    ("queue_keyed", &[("", "events/s")], "2000"),
];

/// Stored are ten times 2,000 events, and a tenth of that; in seven pairs, 200 go to the large topic twice.
const GROWTH: &[Line] = &[
    (".publish", "events/s"),
    (".publish_small", "events/s"),
    (".publish_ratio", "%"),
    (".latency", "us"),
    (".latency_small", "us"),
    (".latency_ratio", "%"),
    (".first_page", "us"),
    (".first_page_small", "us"),
    (".first_page_ratio", "%"),
    (".middle", "us"),
    (".middle_small", "us"),
    (".middle_ratio", "%"),
    (".idle_topics", "events/s"),
    (".idle_topics_none", "events/s"),
    (".idle_topics_ratio", "%"),
];

on_both_stores! {
    async fn every_workload_is_measured_and_checked_and_nothing_is_left(backend: Backend) {
        let (_server, shell) = Shell::on(backend).await;
        let objects = shell.json(&[&["bench"], &SMALL[..]].concat()).await;
        let named: Vec<_> = objects.iter().map(|object| object["name"].as_str().unwrap()).collect();
        assert_eq!(named, WORKLOADS.map(|(name, _, _)| name));
        for (object, (name, lines, events)) in objects.iter().zip(WORKLOADS) {
            assert_eq!(object["verified_events"], events, "{object}");
            assert_eq!(object["unit"], lines[0].1, "{object}");
            assert!(object["median"].as_f64().unwrap() > 0.0, "{object}");
            assert_eq!(object["runs"].as_array().unwrap().len(), 1, "{object}");
            assert_eq!(object["figures"].is_object(), lines.len() > 1, "{object}");
            for (part, unit) in lines.iter().filter(|_| lines.len() > 1) {
                let figure = &object["figures"][format!("{name}{part}")];
                assert_eq!(figure["unit"], *unit, "{object}");
                assert!(figure["median"].is_number() && figure["runs"].is_array(), "{object}");
            }
        }
        for what in ["topic", "consumer"] {
            assert_eq!(shell.ok(&[what, "list", "--output", "json"]).await, "");
        }
    }

    async fn events_are_the_same_in_every_workload(backend: Backend) {
        let (_server, shell) = Shell::on(backend).await;
        let args = ["bench", "publish_pipelined", "publish_batched", "publish_dedup", "replay", "queue", "queue_keyed"];
        let objects = shell.json(&[&args, &SMALL[..]].concat()).await;
        let checksums: Vec<_> = objects.iter().map(|object| object["checksum"].as_str().unwrap()).collect();
        assert_eq!(checksums, [CHECKSUM; 6]);
    }
}

/// That of the first 2,000 events, whatever the version.
const CHECKSUM: &str = "7e2f204882f9a067";

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_a_name_a_figure_and_a_unit() {
    let (_server, shell) = Shell::embedded().await;
    let printed = shell.ok(&[&["bench"], &SMALL[..]].concat()).await;
    let lines: Vec<Vec<&str>> = printed.lines().map(|line| line.split('\t').collect()).collect();
    let wanted = WORKLOADS.iter().flat_map(|(name, lines, _)| lines.iter().map(move |line| (name, line)));
    let wanted: Vec<_> = wanted.map(|(name, (part, unit))| (format!("{name}{part}"), *unit)).collect();
    let printed: Vec<_> = lines.iter().map(|line| (line[0].to_owned(), line[2])).collect();
    assert_eq!(printed, wanted);
    assert!(lines.iter().all(|line| line.len() == 3 && line[1].parse::<u64>().is_ok()), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_median_of_all_runs_counts_and_each_is_told() {
    let (_server, shell) = Shell::embedded().await;
    let args = ["bench", "publish_single", "latency", "--runs", "3", "--events", "2000", "--warm-up", "7"];
    for object in shell.json(&args).await {
        let mut runs: Vec<f64> = object["runs"].as_array().unwrap().iter().map(|run| run.as_f64().unwrap()).collect();
        runs.sort_by(f64::total_cmp);
        assert_eq!((runs.len(), object["median"].as_f64()), (3, Some(runs[1])), "{object}");
        assert_eq!(object["warm_up_events"], "7", "{object}");
        let at = |name| object["percentiles_us"][name].as_f64().unwrap();
        assert!(at("p50") > 0.0 && at("p50") <= at("p90") && at("p90") <= at("p99"), "{object}");
        assert!(at("p99") <= at("p99.9") && at("p99.9") <= at("max"), "{object}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_backlog_can_be_settled() {
    let (_server, shell) = Shell::embedded().await;
    let args = ["bench", "queue", "--runs", "1", "--events", "2000", "--measured", "100", "--in-flight", "50"];
    let objects: Vec<Value> = shell.json(&args).await;
    let verified: u64 = objects[0]["verified_events"].as_str().unwrap().parse().unwrap();
    assert!((100..2000).contains(&verified), "{verified}");
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_can_be_on_another_server() {
    let (database, redis) = (Database::fresh().await, Redis::shared().await);
    let (first, second) =
        (Server::cluster(&database, redis).start().await, Server::cluster(&database, redis).start().await);
    let shell = Shell::of(&first);
    shell.ok(&["login", "admin", "--password-file", &shell.password_file()]).await;
    let args = ["bench", "fanout", "latency", "--runs", "1", "--events", "2000", "--warm-up", "0", "--readers", "5"];
    let objects = shell.json(&[&args[..], &["--second-server", &second.listen().to_string()]].concat()).await;
    let verified: Vec<_> = objects.iter().map(|object| object["verified_events"].as_str().unwrap()).collect();
    assert_eq!(verified, ["1000", "50"]);
    // Live on the second server, and read back from the first one.
    assert_eq!(Metrics::of(&second).await.get("eventflow_delivered_events_total"), 1000 + 50);
    assert_eq!(Metrics::of(&first).await.get("eventflow_delivered_events_total"), 200 + 50);
}
