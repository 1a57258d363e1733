//! How much memory the server has, as its metrics say.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::cli::failure::Failure;

/// How long the metrics may take.
const PATIENCE: Duration = Duration::from_secs(10);
const METRIC: &str = "process_resident_memory_bytes ";

/// The resident memory of the process whose metrics are at this address: `host:port`, as a URL or not.
pub(super) async fn resident_bytes(address: &str) -> Result<u64, Failure> {
    let failed = |why: String| Failure::NotServing(format!("the metrics at {address} cannot be read: {why}"));
    let page = timeout(PATIENCE, page(address)).await.map_err(|_| failed("no answer".to_owned()))?;
    let page = page.map_err(|error| failed(error.to_string()))?;
    let line = page.lines().find_map(|line| line.strip_prefix(METRIC));
    let value: Option<f64> = line.and_then(|value| value.trim().parse().ok());
    value.map(|bytes| bytes as u64).ok_or_else(|| failed(format!("they have no {}", METRIC.trim())))
}

/// The page, with its headers. It is asked for as in HTTP/1.0, so that it comes whole and not in chunks.
async fn page(address: &str) -> std::io::Result<String> {
    let address = address.strip_prefix("http://").unwrap_or(address);
    let (host, path) = address.split_once('/').unwrap_or((address, "metrics"));
    let path = if path.is_empty() { "metrics" } else { path };
    let mut connection = TcpStream::connect(host).await?;
    connection.write_all(format!("GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes()).await?;
    let mut page = Vec::new();
    connection.read_to_end(&mut page).await?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}
