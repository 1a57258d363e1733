//! Metrics, by what they count.

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
/// Looks at the heads of all topics with readers.
pub const POLLS: &str = "eventflow_polls_total";
/// Streams open now.
pub const SUBSCRIPTIONS: &str = "eventflow_subscriptions";
/// Events sent on streams.
pub const DELIVERED_EVENTS: &str = "eventflow_delivered_events_total";
/// Offsets committed.
pub const COMMITS: &str = "eventflow_commits_total";
/// Calls refused for their credential.
pub const AUTH_FAILURES: &str = "eventflow_auth_failures_total";
