//! `publish`.

use super::shell::{Shell, offsets};

async fn shop() -> (crate::harness::server::Server, Shell) {
    let (server, shell) = Shell::embedded().await;
    shell.ok(&["topic", "create", "orders"]).await;
    (server, shell)
}

/// The payloads of all events of the topic, as text.
async fn texts(shell: &Shell) -> Vec<String> {
    let events = shell.json(&["tail", "orders", "--earliest", "--until-head"]).await;
    events.iter().map(|event| event["text"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn data_files_and_lines_become_events_in_their_order() {
    let (_server, shell) = shop().await;
    std::fs::write(shell.home().join("payload"), "from a\nfile").unwrap();
    let first = shell.ok(&["publish", "orders", "--type", "x", "--data", "from data"]).await;
    assert_eq!(offsets(first.lines()), [1]);
    shell.ok(&["publish", "orders", "--type", "x", "--file", "payload"]).await;
    shell.fed(&["publish", "orders", "--type", "x", "--file", "-"], "all of\nthe input\n").await.ok();
    let lines = shell.fed(&["publish", "orders", "--type", "x"], "one\n\nthree").await.ok();
    assert_eq!(offsets(lines.lines()), [4, 5, 6]);
    let wanted = ["from data", "from a\nfile", "all of\nthe input\n", "one", "", "three"];
    assert_eq!(texts(&shell).await, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_of_an_event_can_be_given() {
    let (_server, shell) = shop().await;
    shell
        .ok(&[
            "publish",
            "orders",
            "--type",
            "order.placed",
            "--key",
            "order-1",
            "--id",
            "one",
            "--source",
            "/tests",
            "--time",
            "2026-01-02T03:04:05.678Z",
            "--content-type",
            "text/x-order",
            "--attr",
            "region=eu",
            "--attr",
            "tier=a=b",
            "--correlation-id",
            "together",
            "--causation-id",
            "before",
            "--data",
            "x",
        ])
        .await;
    let mut event = shell.json(&["tail", "orders", "--earliest", "--until-head"]).await.remove(0);
    assert!(event["recorded_time"].is_string());
    event.as_object_mut().unwrap().remove("recorded_time");
    let wanted = serde_json::json!({
        "type": "order.placed", "key": "order-1", "id": "one", "source": "/tests", "time": "2026-01-02T03:04:05.678Z",
        "content_type": "text/x-order", "attributes": { "region": "eu", "tier": "a=b" }, "correlation_id": "together",
        "causation_id": "before", "text": "x", "topic": "orders", "offset": "1", "producer": "users/admin",
    });
    assert_eq!(event, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn envelopes_say_everything_themselves_and_a_wrong_one_is_named() {
    let (_server, shell) = shop().await;
    let input = r#"{"type":"a","key":"k","json":{"n":1}}

        {"type":"b","id":"b-1","text":"two"}
        {"type":"c","kind":"unknown"}
        {"type":"d","text":"never sent"}
    "#;
    let done = shell.fed(&["publish", "orders", "--envelope"], input).await;
    assert_eq!((done.code, offsets(done.out.lines())), (1, vec![1, 2]), "{done:?}");
    assert!(done.err.starts_with("error: line 4 is no event: "), "{}", done.err);
    let events = shell.json(&["tail", "orders", "--earliest", "--until-head"]).await;
    assert_eq!((&events[0]["type"], &events[0]["text"]), (&"a".into(), &r#"{"n":1}"#.into()));
    assert_eq!((&events[1]["id"], events.len()), (&"b-1".into(), 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_is_recorded_once_and_other_content_under_it_is_refused() {
    let (_server, shell) = shop().await;
    let publish = ["publish", "orders", "--type", "x", "--id", "one", "--data", "same"];
    assert_eq!(shell.ok(&publish).await, "1 one\n");
    let again = shell.ok(&publish).await;
    assert!(again.starts_with("1 one duplicate, recorded 20"), "{again}");
    assert_eq!(shell.json(&publish).await[0]["duplicate"], true);
    let other = shell.fails(6, &["publish", "orders", "--type", "x", "--id", "one", "--data", "other"]).await;
    assert!(other.contains("EVENT_ID_REUSED"), "{other}");
    assert_eq!(texts(&shell).await, ["same"]);
    let many = shell.fed(&["publish", "orders", "--type", "x", "--id", "two"], "a\nb\n").await;
    assert_eq!(many.code, 2, "{many:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expected_head_guards_all_lines_of_one_input() {
    let (_server, shell) = shop().await;
    let publish = ["publish", "orders", "--type", "x", "--expected-head", "0"];
    shell.fed(&publish, &"line\n".repeat(2500)).await.ok();
    let moved = shell.fed(&publish, "late\n").await;
    assert_eq!((moved.code, moved.out.as_str()), (6, ""), "{moved:?}");
    assert!(moved.err.contains("HEAD_MOVED"), "{}", moved.err);
    shell.ok(&["publish", "orders", "--type", "x", "--data", "x", "--expected-head", "2500"]).await;
    assert_eq!(shell.json(&["topic", "get", "orders"]).await[0]["head_offset"], "2501");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_checks_and_records_nothing() {
    let (_server, shell) = shop().await;
    let tried = shell.ok(&["publish", "orders", "--type", "x", "--id", "one", "--data", "x", "--validate-only"]).await;
    assert_eq!(tried, "- one\n");
    shell.fails(1, &["publish", "orders", "--type", "a*", "--data", "x", "--validate-only"]).await;
    assert_eq!(shell.json(&["topic", "get", "orders"]).await[0]["head_offset"], "0");
}
