//! The table of metrics, its page, and what a server shows.

use std::{collections::HashMap, process::Command, time::Duration};

use eventflow::{
    proto::v1,
    telemetry::metric::{ALL, Kind, Metric},
};
use sqlx::Executor;
use tonic::Code;

use crate::{
    api,
    client::{Client, as_consumer, assert_refused, event, from_earliest},
    harness::{
        backend::{Backend, on_both_stores},
        databases::Database,
        patience::{eventually, eventually_within},
        redis::Redis,
        server::Server,
    },
    observe::Metrics,
    raw,
};

/// Until the lag of consumers is looked up anew: every 15 s, and what a busy machine may add.
const LOOK: Duration = Duration::from_secs(15 + 45);

#[test]
fn the_page_is_what_the_program_writes() {
    let written = Command::new(env!("CARGO_BIN_EXE_eventflow")).arg("metrics").output().unwrap();
    assert!(written.status.success(), "{written:?}");
    let kept = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md")).unwrap_or_default();
    assert!(written.stdout == kept, "docs/metrics.md is not up to date: cargo run -- metrics > docs/metrics.md");
    let page = String::from_utf8(kept).unwrap();
    for Metric { name, help, .. } in ALL {
        assert!(page.contains(&format!("| `{name}` |")) && page.contains(help), "{name} is not on the page");
    }
}

#[test]
fn the_page_of_settings_is_what_the_program_writes() {
    let written = Command::new(env!("CARGO_BIN_EXE_eventflow")).arg("settings").output().unwrap();
    assert!(written.status.success(), "{written:?}");
    let kept = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md")).unwrap_or_default();
    assert!(
        written.stdout == kept,
        "docs/configuration.md is not up to date: cargo run -- settings > docs/configuration.md"
    );
}

/// What is refused, what is published, read and committed, and what does not exist.
async fn traffic(server: &Server) {
    let admin = Client::admin(server).await;
    admin.create_topic("orders").await;
    admin.publish("orders", vec![event("a"), event("b")]).await.unwrap();
    admin.publish("orders", vec![event("c")]).await.unwrap();
    for _ in 0..2 {
        admin.publish("orders", vec![v1::NewEvent { id: "once".into(), ..event("d") }]).await.unwrap();
    }
    admin.register("billing", "orders").await;
    let mut stream = admin.subscribe(as_consumer("billing")).await.unwrap();
    let epoch = stream.started().await.epoch;
    stream.events(4).await;
    let commit = v1::CommitOffsetRequest { consumer: "billing".into(), offset: 3, epoch };
    admin.consumers().commit_offset(commit).await.unwrap();
    admin.subscribe(from_earliest("orders")).await.unwrap().events(4).await;
    work(&admin).await;

    let get = api::path_of("TopicService", "GetTopic");
    let nobody = Client::anonymous(server).await;
    let shop = admin.producer("shop", &["orders"]).await;
    let guess = v1::LoginRequest { username: "admin".into(), password: "not the password".into() };
    nobody.auth().login(guess).await.unwrap_err();
    for (client, path) in [
        (&nobody, &get),
        (&nobody.with("efk_garbage"), &get),
        (&shop, &api::path_of("TopicService", "ListTopics")),
        (&admin, &api::path_of("TopicService", "Surprise")),
        (&admin, &"/surprise.v1.Service/Surprise".to_owned()),
        (&admin, &"/grpc.health.v1.Health/Surprise".to_owned()),
    ] {
        assert!(!api::is_ok(&raw::send(client, path, raw::frame(b""), &[]).await.status), "{path}");
    }
}

/// Two deliveries of a queue, of which one is settled.
async fn work(admin: &Client) {
    let (name, topic) = ("mailer".to_owned(), "orders".to_owned());
    let queue = v1::Consumer { name: name.clone(), topic, mode: v1::Mode::Queue.into(), ..Default::default() };
    let register = v1::RegisterConsumerRequest { consumer: Some(queue), if_not_exists: false };
    admin.consumers().register_consumer(register).await.unwrap();
    let poll = v1::PollRequest { consumer: name.clone(), max_events: 2, ..Default::default() };
    let batch = admin.consumers().poll(poll).await.unwrap().into_inner().deliveries.expect("there are events");
    let settle = v1::SettleRequest { consumer: name, lease_id: batch.lease_id, ack: vec![1], ..Default::default() };
    assert_eq!(admin.consumers().settle(settle).await.unwrap().into_inner().failures, []);
}

/// The name that `# TYPE` has for a sample, and the labels that the sample has of its own.
fn family<'a>(types: &HashMap<&'a str, &'a str>, sample: &'a str) -> (&'a str, Vec<&'a str>) {
    let (name, labels) = match sample.split_once('{') {
        Some((name, rest)) => (name, rest.rsplit_once('}').expect("labels end").0),
        None => (sample.split_once(' ').expect("a sample has a value").0, ""),
    };
    let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
    let name = histogram.filter(|name| types.get(name) == Some(&"histogram")).unwrap_or(name);
    let labels = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0));
    (name, labels.filter(|label| *label != "le").collect())
}

on_both_stores! {
    async fn all_that_is_served_stands_in_the_table_and_is_explained(backend: Backend) {
        let server = backend.server().await.start().await;
        traffic(&server).await;
        let metrics = eventually_within(LOOK, "a look at the lag of consumers", async || {
            let metrics = Metrics::of(&server).await;
            metrics.text().contains("consumer=\"mailer\"").then_some(metrics)
        }).await;
        let comments = |kind: &str| -> HashMap<&str, &str> {
            metrics.text().lines().filter_map(|line| line.strip_prefix(kind)?.split_once(' ')).collect()
        };
        let (helps, types) = (comments("# HELP "), comments("# TYPE "));
        let mut served = HashMap::new();
        for sample in metrics.text().lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (name, labels) = family(&types, sample);
            assert!(helps.contains_key(name) && types.contains_key(name), "{name} is not explained");
            served.insert(name, labels);
        }
        for (name, labels) in served.iter().filter(|(name, _)| name.starts_with("eventflow_")) {
            let row = ALL.iter().find(|row| row.name == *name);
            let row = row.unwrap_or_else(|| panic!("{name} does not stand in src/telemetry/metric.rs"));
            assert_eq!((types[name], helps[name]), (row.kind.as_str(), row.help), "{name}");
            assert_eq!(labels, row.labels, "{name}");
            if let Kind::Histogram(bounds) = row.kind {
                let shown = |bound: &f64| metrics.text().contains(&format!("le=\"{bound}\""));
                assert!(bounds.iter().all(shown), "{name}");
            }
        }
        // In this traffic the store did not fail.
        let missing: Vec<_> = ALL.iter().map(|row| row.name).filter(|name| !served.contains_key(name)).collect();
        assert_eq!(missing, ["eventflow_store_errors_total"]);
        assert!(served.contains_key("process_resident_memory_bytes"), "{:?}", served.keys());
    }

    async fn metrics_say_what_happened(backend: Backend) {
        let server = backend.server().await.start().await;
        let before = Metrics::of(&server).await;
        traffic(&server).await;
        eventually("the streams to end", async || {
            let metrics = Metrics::of(&server).await;
            let open = ["eventflow_subscriptions", "eventflow_calls_in_flight"].map(|name| metrics.get(name));
            (open == [0, 0]).then_some(())
        }).await;
        // Anew: what a page says was not all read at one moment.
        let metrics = Metrics::of(&server).await;
        let method = |method| [("method", method), ("code", "Ok")];
        for (name, labels, value) in [
            ("eventflow_published_events_total", &[("topic", "orders")][..], 4),
            ("eventflow_delivered_events_total", &[("topic", "orders")], 8),
            ("eventflow_publish_requests_total", &[], 4),
            // The repeat of an id is an append of one event too, which stores nothing.
            ("eventflow_appends_total", &[], 4),
            ("eventflow_append_batch_events_count", &[], 4),
            ("eventflow_append_batch_events_sum", &[], 5),
            ("eventflow_append_batch_events_bucket", &[("le", "1")], 3),
            ("eventflow_append_duration_seconds_count", &[], 4),
            ("eventflow_append_retries_total", &[], 0),
            ("eventflow_publish_queue_requests", &[], 0),
            ("eventflow_publish_queue_bytes", &[], 0),
            ("eventflow_commits_total", &[], 1),
            ("eventflow_settlements_total", &[("outcome", "ack")], 1),
            ("eventflow_calls_total", &method("eventflow.v1.EventService/Publish"), 4),
            ("eventflow_call_duration_seconds_count", &method("eventflow.v1.EventService/Publish")[..1], 4),
            ("eventflow_calls_total", &[("method", "eventflow.v1.ConsumerService/Subscribe"), ("code", "Cancelled")], 2),
            ("eventflow_calls_total", &[("method", "unknown"), ("code", "Unimplemented")], 3),
            ("eventflow_auth_failures_total", &[("reason", "CREDENTIAL_MISSING")], 1),
            ("eventflow_auth_failures_total", &[("reason", "CREDENTIAL_INVALID")], 2),
            ("eventflow_auth_failures_total", &[("reason", "PERMISSION_DENIED")], 1),
            ("eventflow_auth_failures_total", &[], 4),
            ("eventflow_store_statements_total", &[("statement", "commit_offset")], 1),
            ("eventflow_store_healthy", &[], 1),
            ("eventflow_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1),
        ] {
            assert_eq!(metrics.with(name, labels), value, "{name} {labels:?}\n{}", metrics.text());
        }
        // One login succeeded and one did not.
        let hashes = "eventflow_password_hashes_total";
        assert_eq!(metrics.get(hashes) - before.get(hashes), 2);
        let published = metrics.get("eventflow_published_bytes_total");
        assert!(published > 4 * 64 && published == metrics.get("eventflow_ring_bytes"), "{published}");
        for more in ["eventflow_tasks", "eventflow_store_connections", "process_resident_memory_bytes"] {
            assert!(metrics.get(more) > 0, "{more}");
        }
        assert!(!metrics.text().contains("urprise"), "a client made a label:\n{}", metrics.text());
    }

    async fn the_lag_of_consumers_is_shown_while_they_exist(backend: Backend) {
        const LAG: &str = "eventflow_consumer_lag_events";
        let mut server = backend.server().await.start().await;
        traffic(&server).await;
        let admin = Client::admin(&server).await;
        admin.register("audit", "orders").await;
        // It is looked up at the start, and then from time to time.
        server.restart().await;
        let lag = async |consumer| Metrics::of(&server).await.with(LAG, &[("consumer", consumer)]);
        let both = async || ((lag("audit").await, lag("billing").await) == (4, 1)).then_some(());
        eventually("the lag of both", both).await;
        let admin = admin.on(&server).await;
        let gone = v1::DeleteConsumerRequest { name: "audit".into() };
        admin.consumers().delete_consumer(gone).await.unwrap();
        admin.publish("orders", vec![event("e")]).await.unwrap();
        let news = async || ((lag("audit").await, lag("billing").await) == (0, 2)).then_some(());
        eventually_within(LOOK, "the next look at the lag", news).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_to_be_stored_is_shown_and_what_finds_no_room_is_counted() {
    let database = Database::fresh().await;
    let server = Server::embedded().environment("EVENTFLOW_DATABASE_URL", &database.url());
    let server = server.flag("--queue-bytes", "1000").flag("--queue-timeout", "300ms").start().await;
    let admin = Client::admin(&server).await;
    admin.create_topic("orders").await;
    admin.publish("orders", vec![event("before")]).await.unwrap();

    let mut lock = database.connect().await;
    lock.execute("begin; select from eventflow.topics where name = 'orders' for update").await.unwrap();
    let waiting = tokio::spawn({
        let admin = admin.clone();
        async move { admin.publish("orders", vec![event(&"x".repeat(900))]).await }
    });
    let queue = async || {
        let metrics = Metrics::of(&server).await;
        [metrics.get("eventflow_publish_queue_requests"), metrics.get("eventflow_publish_queue_bytes")]
    };
    eventually("a request in the queue", async || {
        let [requests, bytes] = queue().await;
        (requests == 1 && (900..1500).contains(&bytes)).then_some(())
    })
    .await;
    let refused = admin.publish("orders", vec![event(&"x".repeat(900))]).await.unwrap_err();
    assert_refused(&refused, Code::ResourceExhausted, "OVERLOADED");
    assert_eq!(Metrics::of(&server).await.get("eventflow_publish_overloaded_total"), 1);
    lock.execute("rollback").await.unwrap();
    waiting.await.unwrap().expect("what waited is stored");
    eventually("an empty queue", async || (queue().await == [0, 0]).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wake_ups_are_counted_by_cause() {
    let (database, mut redis) = (Database::fresh().await, Redis::private().await);
    let first = Server::cluster(&database, &redis).start().await;
    let second = Server::cluster(&database, &redis).start().await;
    let alone = Server::embedded().environment("EVENTFLOW_DATABASE_URL", &database.url()).start().await;
    let client = Client::admin(&first).await;
    client.create_topic("orders").await;
    let healthy = async |server: &Server| Metrics::of(server).await.get("eventflow_notifier_healthy") == 1;
    eventually("Redis", async || (healthy(&first).await && healthy(&second).await).then_some(())).await;
    assert!(!healthy(&alone).await, "without Redis it depends on polling");

    let mut streams = Vec::new();
    for server in [&first, &second, &alone] {
        let mut stream = client.on(server).await.subscribe(from_earliest("orders")).await.unwrap();
        stream.until_caught_up().await;
        streams.push(stream);
    }
    client.publish("orders", vec![event("x")]).await.unwrap();
    for stream in &mut streams {
        stream.events(1).await;
    }
    let counted = async |server: &Server, cause| {
        Metrics::of(server).await.with("eventflow_wake_ups_total", &[("cause", cause)]) > 0
    };
    assert!(counted(&first, "append").await && !counted(&second, "append").await);
    assert!(!counted(&first, "redis").await, "it told itself");
    // Its poll may have been quicker than Redis, which is heard all the same.
    eventually("a wake-up by Redis", async || counted(&second, "redis").await.then_some(())).await;
    assert!(counted(&alone, "poll").await && !counted(&alone, "redis").await);

    let before = Metrics::of(&second).await;
    redis.kill();
    eventually("a lost Redis", async || (!healthy(&second).await).then_some(())).await;
    redis.start_again().await;
    eventually("Redis again", async || healthy(&second).await.then_some(())).await;
    let after = Metrics::of(&second).await;
    let everything = [("cause", "everything")];
    let [woken_before, woken] = [&before, &after].map(|m| m.with("eventflow_wake_ups_total", &everything));
    assert!(woken > woken_before, "what was said meanwhile may have been missed");
    for name in ["eventflow_redis_received_total", "eventflow_redis_connected_total"] {
        assert!(after.get(name) > before.get(name), "{name}");
    }
    assert!(Metrics::of(&first).await.get("eventflow_redis_published_total") > 0);
}
