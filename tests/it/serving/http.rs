//! Plain HTTP for probes, and what the server says of itself.

use std::net::SocketAddr;

use eventflow::proto::v1;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tower::ServiceExt;

use crate::{
    api,
    client::{Client, event},
    harness::{
        backend::{Backend, on_both_stores},
        patience::{DEADLINE, eventually},
        postgres::Postgres,
        redis::Redis,
        server::Server,
    },
    observe::Metrics,
    raw,
};

/// What a path answers to a verb: the status, the headers, the body.
async fn ask(address: SocketAddr, verb: &str, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{verb} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.expect("HTTP is answered in time").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer of HTTP");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status of HTTP");
    (status, head.to_lowercase(), body.to_owned())
}

/// The status and the body of a path.
async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let (status, _, body) = ask(address, "GET", path).await;
    (status, body)
}

/// Waits until `/readyz` answers with this status and says this.
async fn becomes(address: SocketAddr, status: u16, said: Value) {
    eventually(&format!("{status} {said}"), async || {
        let (now, body) = get(address, "/readyz").await;
        let body: Value = serde_json::from_str(&body).expect("/readyz is JSON");
        (now == status && body == said).then_some(())
    })
    .await;
}

on_both_stores! {
    async fn probes_and_metrics_are_served_on_a_port_of_their_own(backend: Backend) {
        let server = backend.server().await.start().await;
        let http = server.http_listen();
        assert!(http.port() != 0 && server.listen().port() != 0 && http != server.listen());
        assert_eq!(get(http, "/healthz").await.0, 200);
        let (status, body) = get(http, "/readyz").await;
        let ready: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(status, 200, "{body}");
        assert_eq!((ready["ready"].as_bool(), ready["draining"].as_bool()), (Some(true), Some(false)));
        assert_eq!(ready["store"], "serving");
        becomes(http, 200, json!({"ready": true, "draining": false, "store": "serving", "notifier": "serving"})).await;

        let admin = Client::admin(&server).await;
        admin.create_topic("orders").await;
        admin.publish("orders", vec![event("a"), event("b")]).await.unwrap();
        let (status, head, metrics) = ask(http, "GET", "/metrics").await;
        assert_eq!(status, 200);
        assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
        let counts = |line: &str| line.starts_with("eventflow_published_events_total") && line.ends_with(" 2");
        assert!(metrics.lines().any(counts), "{metrics}");
        for path in ["/", "/metrics/", "/healthz/../metrics", "/eventflow.v1.TopicService/GetTopic"] {
            assert_eq!(get(http, path).await.0, 404, "{path}");
        }
        for path in ["/healthz", "/readyz", "/metrics"] {
            for verb in ["POST", "PUT", "DELETE", "OPTIONS"] {
                assert_eq!(ask(http, verb, path).await.0, 405, "{verb} {path}");
            }
            assert_eq!(ask(http, "HEAD", path).await.0, 200, "{path}");
        }
    }

    async fn the_server_says_its_version_its_store_and_its_limits(backend: Backend) {
        let server = backend.server().await.start().await;
        let admin = Client::admin(&server).await;
        let info = admin.auth().get_server_info(v1::GetServerInfoRequest {}).await.unwrap().into_inner();
        let store = match backend {
            Backend::Sqlite => "sqlite",
            Backend::Postgres => "postgres",
        };
        assert_eq!((info.version.as_str(), info.store.as_str()), (env!("CARGO_PKG_VERSION"), store));
        let limits = [
            ("event_payload_bytes", 1 << 20), ("event_type_bytes", 255), ("event_key_bytes", 1024),
            ("event_id_bytes", 128), ("event_attributes", 32), ("attribute_name_bytes", 64),
            ("attribute_value_bytes", 4096), ("request_bytes", 4 << 20), ("request_events", 1000),
            ("name_bytes", 255), ("description_bytes", 1024), ("filter_entries", 100), ("filter_bytes", 4096),
            ("frame_events", 1000), ("frame_bytes", 3 << 20), ("page_items", 1000), ("metadata_bytes", 16 << 10),
            ("connection_streams", 128),
        ];
        for (name, value) in limits {
            assert_eq!(info.limits.get(name), Some(&value), "{name}");
        }
        let caller = admin.auth().get_caller(v1::GetCallerRequest {}).await.unwrap().into_inner();
        assert_eq!((caller.name.as_str(), caller.role()), ("users/admin", v1::Role::Admin));
        assert!(caller.expire_time.is_some() && caller.permissions.len() > 10);
    }
}

/// A server on a Postgres and a Redis of its own.
async fn on(postgres: &Postgres, redis: &Redis) -> Server {
    let server = Server::embedded().environment("EVENTFLOW_DATABASE_URL", &postgres.url("postgres"));
    server.environment("EVENTFLOW_REDIS_URL", &redis.url()).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_redis_is_degraded_and_without_its_store_not_ready() {
    let (mut postgres, mut redis) = (Postgres::private().await, Redis::private().await);
    let server = on(&postgres, &redis).await;
    let http = server.http_listen();
    let says = |ready: bool, store: &str, notifier: &str| json!({"ready": ready, "draining": false, "store": store, "notifier": notifier});
    let metric = async |name: &str| Metrics::of(&server).await.get(name);
    becomes(http, 200, says(true, "serving", "serving")).await;
    assert_eq!((metric("eventflow_store_healthy").await, metric("eventflow_notifier_healthy").await), (1, 1));

    redis.kill();
    becomes(http, 200, says(true, "serving", "degraded")).await;
    assert_eq!((metric("eventflow_store_healthy").await, metric("eventflow_notifier_healthy").await), (1, 0));

    postgres.crash().await;
    becomes(http, 503, says(false, "not_serving", "degraded")).await;
    assert_eq!(metric("eventflow_store_healthy").await, 0);
    let metrics = Metrics::of(&server).await;
    assert!(metrics.with("eventflow_store_errors_total", &[("kind", "unavailable")]) > 0, "{}", metrics.text());
    assert_eq!(get(http, "/healthz").await.0, 200, "the process lives");

    postgres.start_again().await;
    redis.start_again().await;
    becomes(http, 200, says(true, "serving", "serving")).await;
    assert_eq!((metric("eventflow_store_healthy").await, metric("eventflow_notifier_healthy").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_drains_is_not_ready() {
    let mut server = Backend::Sqlite.server().await.flag("--drain-timeout", "5s").start().await;
    let http = server.http_listen();
    let admin = Client::admin(&server).await;
    // It holds up the drain for as long as a call may.
    let path = api::path_of("TopicService", "GetTopic");
    let call = tokio::spawn(admin.transport().oneshot(raw::half_call(&path, "half")));
    eventually("a call under way", async || {
        (Metrics::of(&server).await.get("eventflow_calls_in_flight") == 1).then_some(())
    })
    .await;
    let draining = json!({"ready": false, "draining": true, "store": "serving", "notifier": "serving"});
    let (code, ()) = tokio::join!(server.terminate(), becomes(http, 503, draining));
    assert_eq!(code, 0);
    call.abort();
}
