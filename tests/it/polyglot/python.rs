//! A Python client, made from the protos alone.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use super::{PATIENCE, Shop, finished, printed, tools::Tools};
use crate::harness::backend::{Backend, on_both_stores};

/// The client with a credential, to be called with arguments.
async fn client(shop: &Shop, credential: &str, arguments: &[&str]) -> Command {
    let tools = Tools::shared().await;
    let mut command = Command::new(tools.program("python"));
    command
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/polyglot/client.py"))
        .arg(shop.server.listen().to_string())
        .args(arguments)
        .env("CREDENTIAL", credential)
        .env("PYTHONPATH", tools.stubs())
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Publishes events and returns the lines that say what became of them.
async fn publish(shop: &Shop, credential: &str, topic: &str, events: Value) -> Vec<Value> {
    let mut command = client(shop, credential, &["publish", topic]).await;
    let text = printed(finished(&mut command, &events.to_string()).await);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A stream that runs while the test goes on.
struct Subscription {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Subscription {
    async fn open(shop: &Shop, topic: &str, count: usize) -> Self {
        let mut command = client(shop, &shop.token, &["subscribe", topic, &count.to_string()]).await;
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { _child: child, lines }
    }

    /// The next line; `None` when the client has ended.
    async fn next(&mut self) -> Option<Value> {
        let line = timeout(PATIENCE, self.lines.next_line()).await.expect("a line comes in time").unwrap()?;
        Some(serde_json::from_str(&line).unwrap())
    }
}

fn refusal(code: &str, reason: &str) -> Value {
    json!({ "code": code, "reason": reason, "trailer": reason, "domain": "eventflow" })
}

/// Asserts that the only line is this refusal, with the id of the request; returns the fields that it complains of.
#[track_caller]
fn assert_refused(lines: &[Value], code: &str, reason: &str) -> Value {
    assert_eq!(lines.len(), 1, "{lines:?}");
    let mut line = lines[0].clone();
    let fields = line.as_object_mut().unwrap();
    assert!(fields.remove("request_id").is_some_and(|id| id != ""), "no request id: {lines:?}");
    let violations = fields.remove("violations").unwrap_or_default();
    assert_eq!(line, refusal(code, reason));
    violations
}

on_both_stores! {
    async fn python_publishes_with_ids_once_and_receives_live(backend: Backend) {
        let shop = Shop::open(backend).await;
        let mut stream = Subscription::open(&shop, "orders", 3).await;
        assert_eq!(stream.next().await, Some(json!({ "frame": "started", "offset": 0 })));
        let events = json!([
            { "id": "one", "type": "order.placed", "key": "order-1", "text": "{\"order\": 1}", "attributes": { "region": "eu" } },
            { "id": "two", "type": "order.packed", "key": "order-1", "text": "Grüße 🎉" },
        ]);
        let wanted = |duplicate| vec![
            json!({ "id": "one", "offset": 1, "duplicate": duplicate }),
            json!({ "id": "two", "offset": 2, "duplicate": duplicate }),
        ];
        assert_eq!(publish(&shop, &shop.key, "orders", events.clone()).await, wanted(false));
        assert_eq!(publish(&shop, &shop.key, "orders", events).await, wanted(true));
        let third = publish(&shop, &shop.key, "orders", json!([{ "type": "order.sent" }])).await;
        assert_eq!((&third[0]["offset"], third.len()), (&json!(3), 1));

        let received = stream.next().await.unwrap();
        assert_eq!(received, json!({
            "offset": 1, "id": "one", "type": "order.placed", "key": "order-1", "source": "/producers/shop",
            "producer": "producers/shop", "attributes": { "region": "eu" }, "payload": "text", "content": "{\"order\": 1}",
        }));
        let received = stream.next().await.unwrap();
        assert_eq!((&received["offset"], &received["content"]), (&json!(2), &json!("Grüße 🎉")));
        let received = stream.next().await.unwrap();
        assert_eq!((&received["offset"], &received["id"]), (&json!(3), &third[0]["id"]), "a duplicate was delivered");
        assert_eq!(stream.next().await, None);
    }

    async fn python_reads_reason_and_violations_of_a_refusal(backend: Backend) {
        let shop = Shop::open(backend).await;
        let events = json!([{ "type": "fine" }, { "type": "" }, { "type": "x", "key": "k".repeat(1025) }]);
        let refused = publish(&shop, &shop.key, "orders", events).await;
        let violations = assert_refused(&refused, "INVALID_ARGUMENT", "EVENT_INVALID");
        assert_eq!(violations, json!(["events[1].type", "events[2].key"]));

        let refused = publish(&shop, &shop.token, "missing", json!([{ "type": "fine" }])).await;
        assert_refused(&refused, "NOT_FOUND", "TOPIC_NOT_FOUND");
        let refused = publish(&shop, &shop.key, "payments", json!([{ "type": "fine" }])).await;
        assert_refused(&refused, "PERMISSION_DENIED", "PERMISSION_DENIED");
        let unknown = format!("efk_{}_{}", "a".repeat(16), "b".repeat(43));
        let refused = publish(&shop, &unknown, "orders", json!([{ "type": "fine" }])).await;
        assert_refused(&refused, "UNAUTHENTICATED", "CREDENTIAL_INVALID");
    }
}
