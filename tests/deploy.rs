//! The dashboard and the alerts ask for metrics and labels that the program has.
#![expect(clippy::expect_used, reason = "a test that cannot go on says so by panicking")]

use std::collections::BTreeSet;

use eventflow::telemetry::metric::{ALL, Kind};
use serde_json::Value;

const DASHBOARD: &str = include_str!("../deploy/grafana/eventflow.json");
const ALERTS: &str = include_str!("../deploy/prometheus/alerts.yaml");
const SCRAPE: &str = include_str!("../deploy/prometheus/prometheus.yaml");

/// Of a process, from a library that the page of metrics names; and of Prometheus itself.
const FOREIGN: [&str; 6] = [
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_max_fds",
    "process_threads",
    "up",
];
/// Labels that Prometheus adds.
const TARGET: [&str; 2] = ["job", "instance"];
/// What stands before labels that a query keeps.
const GROUPINGS: [&str; 4] = ["by", "without", "on", "ignoring"];

#[test]
fn the_dashboard_asks_for_what_there_is() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let (mut asked, mut places) = (BTreeSet::new(), BTreeSet::new());
    for panel in list(&dashboard["panels"]) {
        let title = text(&panel["title"]);
        let place = &panel["gridPos"];
        assert!(places.insert((place["x"].as_u64(), place["y"].as_u64())), "{title} covers another panel");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = text(&target["expr"]);
            let labels = check(expression).unwrap_or_else(|error| panic!("{title}: {error}\n{expression}"));
            assert!(expression.contains("$job") && expression.contains("$instance"), "{title} ignores the variables");
            for label in braced(text(&target["legendFormat"])) {
                assert!(labels.contains(&*label), "{title}: its legend names {label}, which {expression} has not");
            }
            asked.extend(names(expression));
        }
    }
    let missing: Vec<_> = ALL.iter().filter(|metric| !asked.iter().any(|name| family(name) == metric.name)).collect();
    assert!(missing.is_empty(), "no panel shows {missing:?}");
    for variable in list(&dashboard["templating"]["list"]) {
        if variable["type"] == "query" {
            let query = text(&variable["query"]);
            let metric = query.strip_prefix("label_values(").unwrap().split(['{', ',']).next().unwrap();
            assert!(ALL.iter().any(|known| known.name == metric), "{query}");
        }
    }
}

#[test]
fn the_alerts_ask_for_what_there_is_and_say_what_to_do() {
    let alerts: Value = serde_yaml_ng::from_str(ALERTS).unwrap();
    let mut seen = BTreeSet::new();
    for rule in list(&alerts["groups"]).iter().flat_map(|group| list(&group["rules"])) {
        let alert = text(&rule["alert"]);
        assert!(seen.insert(alert), "{alert} occurs twice");
        let expression = text(&rule["expr"]);
        let labels = check(expression).unwrap_or_else(|error| panic!("{alert}: {error}\n{expression}"));
        assert!(["page", "ticket"].contains(&text(&rule["labels"]["severity"])), "{alert}");
        assert!(!text(&rule["annotations"]["runbook"]).is_empty(), "{alert}");
        for label in braced(text(&rule["annotations"]["summary"])) {
            let Some(label) = label.strip_prefix("$labels.") else { continue };
            assert!(labels.contains(label), "{alert} speaks of {label}, which {expression} has not");
        }
    }
    assert!(!seen.is_empty());
}

#[test]
fn the_example_scrapes_the_job_that_the_alerts_ask_for() {
    let scrape: Value = serde_yaml_ng::from_str(SCRAPE).unwrap();
    let job = text(&scrape["scrape_configs"][0]["job_name"]);
    assert!(ALERTS.contains(&format!("absent(up{{job=\"{job}\"}} == 1)")), "no alert asks for the job {job}");
    assert_eq!(scrape["rule_files"], serde_json::json!(["alerts.yaml"]));
}

#[test]
fn what_there_is_not_is_found() {
    for good in [
        "sum by (topic) (rate(eventflow_published_events_total{job=\"x\"}[5m]))",
        "sum by (le) (rate(eventflow_append_duration_seconds_bucket[5m]))",
        "process_open_fds / process_max_fds > 0.8",
    ] {
        assert_eq!(check(good).err(), None, "{good}");
    }
    for bad in [
        "eventflow_published_total",
        "eventflow_append_duration_seconds",
        "eventflow_appends_total_bucket",
        "eventflow_calls_total{reason=\"x\"}",
        "sum by (le) (eventflow_calls_total)",
        "sum by (topic) (eventflow_calls_total)",
        "process_open_files",
        "1 > 0",
    ] {
        assert!(check(bad).is_err(), "{bad}");
    }
}

/// The labels that the metrics of an expression have. The error names a metric or a label that there is not, or says
/// that no metric is named.
fn check(expression: &str) -> Result<BTreeSet<&str>, String> {
    let mut labels = BTreeSet::from(TARGET);
    let mut found = false;
    for (name, rest) in words(expression) {
        if !is_metric(name) {
            continue;
        }
        found = true;
        let own = labels_of(name).ok_or_else(|| format!("there is no metric {name}"))?;
        if let Some(matchers) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map(|(inside, _)| inside) {
            for label in matchers.split("\",").filter_map(|matcher| matcher.split(['=', '!']).next()) {
                let label = label.trim();
                if !own.contains(&label) && !TARGET.contains(&label) {
                    return Err(format!("{name} has no label {label}"));
                }
            }
        }
        labels.extend(own);
    }
    let groupings = words(expression).filter(|(word, _)| GROUPINGS.contains(word));
    for (word, rest) in groupings {
        let listed = rest.trim_start().strip_prefix('(').and_then(|rest| rest.split_once(')'));
        for label in listed.map_or("", |(inside, _)| inside).split(',').map(str::trim) {
            if !labels.contains(label) {
                return Err(format!("{word} ({label}): no metric here has it"));
            }
        }
    }
    if found { Ok(labels) } else { Err("no metric is named".to_owned()) }
}

/// The names of metrics in an expression.
fn names(expression: &str) -> impl Iterator<Item = &str> {
    words(expression).map(|(word, _)| word).filter(|word| is_metric(word))
}

fn is_metric(word: &str) -> bool {
    word.starts_with("eventflow_") || word.starts_with("process_") || word == "up"
}

/// Each word outside of quotes, and what follows it.
fn words(expression: &str) -> impl Iterator<Item = (&str, &str)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = expression;
    std::iter::from_fn(move || {
        loop {
            let begin = rest.find(|c| is_part(c) || c == '"')?;
            rest = &rest[begin..];
            if let Some(quoted) = rest.strip_prefix('"') {
                rest = &quoted[quoted.find('"')? + 1..];
                continue;
            }
            let (word, after) = rest.split_at(rest.find(|c| !is_part(c)).unwrap_or(rest.len()));
            rest = after;
            return Some((word, after));
        }
    })
}

/// The labels of a series as Prometheus stores it: a histogram is three of them.
fn labels_of(name: &str) -> Option<Vec<&'static str>> {
    if FOREIGN.contains(&name) {
        return Some(Vec::new());
    }
    let metric = ALL.iter().find(|metric| metric.name == family(name))?;
    let mut labels = metric.labels.to_vec();
    match (metric.kind, name.strip_prefix(metric.name)?) {
        (Kind::Histogram(_), "_bucket") => labels.push("le"),
        (Kind::Histogram(_), "_sum" | "_count") | (Kind::Counter | Kind::Gauge, "") => {}
        _ => return None,
    }
    Some(labels)
}

/// The metric that a series belongs to.
fn family(name: &str) -> &str {
    ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

/// What stands in double braces, without what it is piped through.
fn braced(text: &str) -> Vec<String> {
    let inside = text.split("{{").skip(1).filter_map(|part| part.split_once("}}"));
    inside.map(|(inside, _)| inside.split('|').next().unwrap_or(inside).trim().to_owned()).collect()
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().expect("a list")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}
