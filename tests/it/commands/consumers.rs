//! Changing, moving, pausing and polling consumers by commands.

use super::shell::{Shell, offsets};

/// A server with five events of `orders` and the consumer `billing` of it, and a shell for it.
async fn billing() -> (crate::harness::server::Server, Shell) {
    let (server, shell) = Shell::embedded().await;
    shell.ok(&["topic", "create", "orders"]).await;
    for n in 1..=5 {
        shell.ok(&["publish", "orders", "--type", "order.placed", "--data", &n.to_string()]).await;
    }
    shell.ok(&["consumer", "register", "billing", "orders"]).await;
    (server, shell)
}

async fn status(shell: &Shell) -> serde_json::Value {
    shell.json(&["consumer", "get", "billing"]).await.remove(0)["status"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_is_polled_and_commits_when_asked() {
    let (_server, shell) = billing().await;
    let polled = shell.ok(&["consumer", "poll", "billing", "--max", "3"]).await;
    assert_eq!(offsets(polled.lines()), [1, 2, 3]);
    assert_eq!(status(&shell).await["position"]["offset"], "0");
    let polled = shell.ok(&["consumer", "poll", "billing", "--max", "3", "--commit"]).await;
    assert_eq!(offsets(polled.lines()), [1, 2, 3]);
    assert_eq!(status(&shell).await["position"]["offset"], "3");
    let rest = shell.json(&["consumer", "poll", "billing"]).await;
    assert_eq!(rest.iter().map(|event| event["offset"].as_str().unwrap()).collect::<Vec<_>>(), ["4", "5"]);
    let last = shell.ok(&["consumer", "poll", "billing", "--after", "4", "--wait", "1s"]).await;
    assert_eq!(offsets(last.lines()), [5]);
    shell.fails(2, &["consumer", "poll", "billing", "--max", "1001"]).await;
    let wrong = shell.fails(1, &["consumer", "poll", "billing", "--wait", "61s"]).await;
    assert!(wrong.contains("wait"), "{wrong}");
    shell.fails(3, &["consumer", "poll", "nobody"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_is_moved_paused_and_changed() {
    let (_server, shell) = billing().await;
    for (place, offset) in
        [(&["--from", "3"][..], "2"), (&["--head"], "5"), (&["--after", "1"], "1"), (&["--earliest"], "0")]
    {
        let moved = shell.json(&[&["consumer", "seek", "billing"], place].concat()).await;
        assert_eq!(moved[0]["status"]["position"]["offset"], offset, "{place:?}");
    }
    let nowhere = shell.fails(2, &["consumer", "seek", "billing"]).await;
    assert!(nowhere.contains("--earliest"), "{nowhere}");
    let beyond = shell.fails(1, &["consumer", "seek", "billing", "--after", "6"]).await;
    assert!(beyond.contains("OFFSET_BEYOND_HEAD"), "{beyond}");

    let paused = shell.ok(&["consumer", "pause", "billing"]).await;
    assert!(paused.lines().any(|line| line.starts_with("state:") && line.ends_with("paused")), "{paused}");
    assert_eq!(shell.ok(&["consumer", "poll", "billing"]).await, "");
    shell.ok(&["consumer", "resume", "billing"]).await;
    assert_eq!(offsets(shell.ok(&["consumer", "poll", "billing"]).await.lines()), [1, 2, 3, 4, 5]);

    let changed = shell.json(&["consumer", "update", "billing", "--filter", "type=order.paid"]).await;
    assert_eq!(changed[0]["filter"]["types"][0], "order.paid");
    assert_eq!(shell.ok(&["consumer", "poll", "billing"]).await, "");
    shell.ok(&["consumer", "update", "billing", "--all"]).await;
    assert_eq!(offsets(shell.ok(&["consumer", "poll", "billing"]).await.lines()), [1, 2, 3, 4, 5]);
    shell.fails(2, &["consumer", "update", "billing"]).await;
}
