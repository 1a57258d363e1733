//! Logs, as text or as JSON, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Begins to write logs to standard error. The error says which part of `filter` is wrong.
pub fn start_logs(filter: &str, json: Option<bool>) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("--log {filter}: {error}"))?;
    let json = json.unwrap_or_else(|| !std::io::stderr().is_terminal());
    let registry = tracing_subscriber::registry().with(filter);
    let result = if json {
        registry.with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)).try_init()
    } else {
        registry.with(fmt::layer().with_target(false).with_writer(std::io::stderr)).try_init()
    };
    result.map_err(|error| error.to_string())
}
