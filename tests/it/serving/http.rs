//! Plain HTTP for probes, and what the server says of itself.

use std::net::SocketAddr;

use eventflow::proto::v1;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    client::{Client, event},
    harness::{
        backend::{Backend, on_both_stores},
        patience::DEADLINE,
    },
};

/// The status and the body of a path.
async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.expect("HTTP is answered in time").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer of HTTP");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status of HTTP");
    (status, body.to_owned())
}

on_both_stores! {
    async fn probes_and_metrics_are_served_on_a_port_of_their_own(backend: Backend) {
        let server = backend.server().await.start().await;
        let http = server.http_listen();
        assert!(http.port() != 0 && server.listen().port() != 0 && http != server.listen());
        assert_eq!(get(http, "/healthz").await.0, 200);
        let (status, body) = get(http, "/readyz").await;
        let ready: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(status, 200, "{body}");
        assert_eq!((ready["ready"].as_bool(), ready["draining"].as_bool()), (Some(true), Some(false)));
        assert_eq!(ready["store"], "serving");
        assert!(ready["notifier"].is_string());

        let admin = Client::admin(&server).await;
        admin.create_topic("orders").await;
        admin.publish("orders", vec![event("a"), event("b")]).await.unwrap();
        let (status, metrics) = get(http, "/metrics").await;
        assert_eq!(status, 200);
        let counts = |line: &str| line.starts_with("eventflow_published_events_total") && line.ends_with(" 2");
        assert!(metrics.lines().any(counts), "{metrics}");
        for path in ["/", "/metrics/", "/healthz/../metrics", "/eventflow.v1.TopicService/GetTopic"] {
            assert_eq!(get(http, path).await.0, 404, "{path}");
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
            ("event_payload_bytes", 1 << 20), ("request_bytes", 4 << 20), ("request_events", 1000), ("name_bytes", 255),
        ];
        for (name, value) in limits {
            assert_eq!(info.limits.get(name), Some(&value), "{name}");
        }
        let caller = admin.auth().get_caller(v1::GetCallerRequest {}).await.unwrap().into_inner();
        assert_eq!((caller.name.as_str(), caller.role()), ("users/admin", v1::Role::Admin));
        assert!(caller.expire_time.is_some() && caller.permissions.len() > 10);
    }
}
