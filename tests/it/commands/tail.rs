//! `tail` of a topic.

use serde_json::json;

use super::shell::{Shell, offsets};
use crate::{
    client::Client,
    harness::{
        backend::{Backend, on_both_stores},
        server::Server,
    },
};

/// A topic `orders` with five events.
async fn five() -> (Server, Shell) {
    let (server, shell) = Shell::embedded().await;
    shell.ok(&["topic", "create", "orders"]).await;
    shell.fed(&["publish", "orders", "--type", "x"], "1\n2\n3\n4\n5\n").await.ok();
    (server, shell)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_begins_and_ends_where_it_was_told() {
    let (_server, shell) = five().await;
    for (arguments, wanted) in [
        (&["--earliest", "--until-head"][..], &[1, 2, 3, 4, 5][..]),
        (&["--from", "3", "--until-head"], &[3, 4, 5]),
        (&["--after", "3", "--until-head"], &[4, 5]),
        (&["--after", "0", "--until", "2"], &[1, 2]),
        (&["--from-time", "-1h", "--until-head"], &[1, 2, 3, 4, 5]),
        (&["--earliest", "--count", "2"], &[1, 2]),
        (&["--earliest", "--until-head", "--count", "9"], &[1, 2, 3, 4, 5]),
        (&["--until-head"], &[]),
        (&["--from", "6", "--until-head"], &[]),
    ] {
        let text = shell.ok(&[&["tail", "orders"], arguments].concat()).await;
        assert_eq!(offsets(text.lines()), wanted, "{arguments:?}");
    }
    let beyond = shell.fails(1, &["tail", "orders", "--after", "6"]).await;
    assert!(beyond.contains("OFFSET_BEYOND_HEAD"), "{beyond}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_goes_on_with_what_is_recorded_later() {
    let (_server, shell) = five().await;
    let mut all = shell.follow(&["tail", "orders", "--earliest"]);
    all.printed(5).await;
    let mut two = shell.follow(&["tail", "orders", "--from", "4", "--until", "7"]);
    two.printed(2).await;
    shell.fed(&["publish", "orders", "--type", "later"], "6\n7\n8\n").await.ok();
    let lines = all.printed(8).await;
    assert_eq!(offsets(lines.iter().map(String::as_str)), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(lines[7].ends_with("Z  later  -  8"), "{}", lines[7]);
    assert_eq!(two.ended().await, 0);
    assert_eq!(offsets(two.lines().iter().map(String::as_str)), [4, 5, 6, 7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_leave_out_what_was_not_asked_for() {
    let (_server, shell) = Shell::embedded().await;
    shell.ok(&["topic", "create", "orders"]).await;
    let envelopes = [
        json!({ "type": "order.placed", "key": "a", "attributes": { "region": "eu" } }),
        json!({ "type": "order.sent", "key": "b", "attributes": { "region": "us" } }),
        json!({ "type": "payment.made", "key": "a", "correlationId": "c" }),
    ];
    let input = envelopes.map(|envelope| envelope.to_string()).join("\n");
    shell.fed(&["publish", "orders", "--envelope"], &input).await.ok();
    for (filters, wanted) in [
        (&["type=order.*"][..], &[1, 2][..]),
        (&["type=order.sent", "type=payment.made"], &[2, 3]),
        (&["key=a"], &[1, 3]),
        (&["key=a", "type=order.*"], &[1]),
        (&["attr.region=us"], &[2]),
        (&["correlation=c"], &[3]),
        (&["producer=users/admin"], &[1, 2, 3]),
        (&["producer=producers/shop"], &[]),
    ] {
        let filters: Vec<_> = filters.iter().flat_map(|filter| ["--filter", filter]).collect();
        let text = shell.ok(&[&["tail", "orders", "--earliest", "--until-head"], &filters[..]].concat()).await;
        assert_eq!(offsets(text.lines()), wanted, "{filters:?}");
    }
    shell.fails(2, &["tail", "orders", "--filter", "colour=red"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_cannot_command_the_terminal() {
    let (_server, shell) = Shell::embedded().await;
    shell.ok(&["topic", "create", "orders"]).await;
    shell.ok(&["publish", "orders", "--type", "x", "--data", "\u{1b}]0;owned\u{7}\nnext"]).await;
    let text = shell.ok(&["tail", "orders", "--earliest", "--until-head"]).await;
    assert!(text.lines().count() == 1 && !text.contains(['\u{1b}', '\u{7}']), "{text:?}");
    let event = shell.json(&["tail", "orders", "--earliest", "--until-head"]).await.remove(0);
    assert_eq!(event["text"], "\u{1b}]0;owned\u{7}\nnext");
}

on_both_stores! {
    async fn a_tail_survives_drains_and_kills_of_its_server(backend: Backend) {
        let (mut server, shell) = Shell::on(backend).await;
        shell.ok(&["topic", "create", "orders"]).await;
        let client = Client::admin(&server).await;
        let mut tail = shell.follow(&["tail", "orders", "--earliest"]);
        for round in 0..4 {
            let client = client.on(&server).await;
            client.publish_numbered("orders", round * 50, 50).await;
            tail.printed(round * 50 + 20).await;
            if round % 2 == 0 {
                assert_eq!(server.terminate().await, 0, "{}", server.log());
            }
            server.restart().await;
        }
        let lines = tail.printed(200).await;
        assert!(offsets(lines.iter().map(String::as_str)).into_iter().eq(1..=200), "{lines:#?}");
        assert!(lines.iter().enumerate().all(|(n, line)| line.ends_with(&format!("  {n}"))), "{lines:#?}");
    }
}
