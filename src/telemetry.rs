//! Logs, and the names of the metrics.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Metrics, by what they count.
pub mod metric {
    /// Events recorded.
    pub const PUBLISHED_EVENTS: &str = "eventflow_published_events_total";
    /// Bytes of events recorded.
    pub const PUBLISHED_BYTES: &str = "eventflow_published_bytes_total";
    /// Publish requests that reached an appender.
    pub const PUBLISH_REQUESTS: &str = "eventflow_publish_requests_total";
    /// Groups that were appended to the store.
    pub const APPENDS: &str = "eventflow_appends_total";
    /// Seconds that an append took.
    pub const APPEND_SECONDS: &str = "eventflow_append_duration_seconds";
    /// Reads of a log from the store.
    pub const LOG_READS: &str = "eventflow_log_reads_total";
    /// Reads that the ring of recent segments answered.
    pub const RING_HITS: &str = "eventflow_ring_hits_total";
    /// Reads that waited for another reader's.
    pub const SHARED_READS: &str = "eventflow_shared_reads_total";
    /// Segments dropped from a ring to make room.
    pub const RING_EVICTIONS: &str = "eventflow_ring_evicted_segments_total";
    /// Logs that were found to have lost their tail.
    pub const LOGS_SHORTENED: &str = "eventflow_logs_shortened_total";
    /// Looks at the heads of all topics with readers.
    pub const POLLS: &str = "eventflow_polls_total";
    /// Streams open now.
    pub const SUBSCRIPTIONS: &str = "eventflow_subscriptions";
    /// Connections for gRPC that are open now.
    pub const CONNECTIONS: &str = "eventflow_connections";
    /// Connections that were refused for want of room.
    pub const CONNECTIONS_REFUSED: &str = "eventflow_connections_refused_total";
    /// Connections that were closed since they did not say in time what they want.
    pub const GREETING_TIMEOUTS: &str = "eventflow_greeting_timeouts_total";
    /// Streams that were refused for want of room.
    pub const STREAMS_REFUSED: &str = "eventflow_streams_refused_total";
    /// Events sent on streams.
    pub const DELIVERED_EVENTS: &str = "eventflow_delivered_events_total";
    /// Offsets committed.
    pub const COMMITS: &str = "eventflow_commits_total";
    /// Calls refused for their credential.
    pub const AUTH_FAILURES: &str = "eventflow_auth_failures_total";
}

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
