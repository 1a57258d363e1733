//! What a server shows of itself from outside: its metrics, its memory, its descriptors.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::harness::{patience::eventually, server::Server};

/// What `/metrics` said at one moment.
#[derive(Debug)]
pub struct Metrics(String);

impl Metrics {
    /// Asks a server.
    pub async fn of(server: &Server) -> Self {
        let (status, text) = get(server, "/metrics").await;
        assert_eq!(status, 200, "{text}");
        Self(text)
    }

    /// The value of a metric, over all its labels; 0 if nothing was counted yet.
    pub fn get(&self, name: &str) -> u64 {
        self.sum(name, |_| true)
    }

    /// The value of a metric where these labels have these values, over all others.
    pub fn with(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.sum(name, |line| labels.iter().all(|(label, value)| line.contains(&format!("{label}=\"{value}\""))))
    }

    /// All that was said.
    pub fn text(&self) -> &str {
        &self.0
    }

    fn sum(&self, name: &str, wanted: impl Fn(&str) -> bool) -> u64 {
        let values = self.0.lines().filter(|line| wanted(line)).filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let value = rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next())??;
            Some(value.parse::<f64>().expect("a metric is a number"))
        });
        values.sum::<f64>() as u64
    }
}

/// What `/readyz` says: its status, and why.
pub async fn readiness(server: &Server) -> (u16, serde_json::Value) {
    let (status, text) = get(server, "/readyz").await;
    (status, serde_json::from_str(&text).expect("/readyz answers with JSON"))
}

/// Waits until a server can rely on being woken by others.
pub async fn hears_others(server: &Server) {
    let relied_on = async || (readiness(server).await.1["notifier"] == "serving").then_some(());
    eventually("a notifier that can be relied on", relied_on).await;
}

/// The status and the body of a path.
async fn get(server: &Server, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server.http_listen()).await.expect("HTTP is served");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("a request can be sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the answer is text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer of HTTP");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status of HTTP");
    (status, body.to_owned())
}

/// Whether `/readyz` says that the server takes calls.
pub async fn is_ready(server: &Server) -> bool {
    let (status, text) = get(server, "/readyz").await;
    assert!([200, 503].contains(&status), "{text}");
    status == 200
}

/// Whether health says SERVING of a name.
pub async fn serves(server: &Server, name: &str) -> bool {
    let mut health = HealthClient::new(server.channel().await);
    let answer = health.check(HealthCheckRequest { service: name.into() }).await.expect("health is served");
    answer.into_inner().status() == ServingStatus::Serving
}

/// Bytes of memory of a server that lie in RAM now.
pub fn resident(server: &Server) -> u64 {
    memory(server, "VmRSS:")
}

/// The most that [`resident`] ever was.
pub fn resident_peak(server: &Server) -> u64 {
    memory(server, "VmHWM:")
}

fn memory(server: &Server, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("the server runs");
    let value = status.lines().find_map(|line| line.strip_prefix(field)).expect("Linux tells it");
    let kibibytes: u64 = value.trim().trim_end_matches(" kB").parse().expect("a number of kB");
    kibibytes * 1024
}

/// Files and sockets that a server has open.
pub fn descriptors(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("the server runs").count()
}
