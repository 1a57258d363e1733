//! Every metric, in one table: the names that the code uses, what `/metrics` says of them, and their page.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// The heading that it stands under.
    pub part: &'static str,
    /// Its name, in base units.
    pub name: &'static str,
    /// What its values mean.
    pub kind: Kind,
    /// What its values count or measure.
    pub unit: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What is counted, and when.
    pub help: &'static str,
}

/// What the values of a metric mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// As it is now.
    Gauge,
    /// How often a value was at most each of these bounds.
    Histogram(&'static [f64]),
}

/// Seconds of an append: from a commit on a fast disk to a hanging one.
const APPEND_BOUNDS: Kind = Kind::Histogram(&[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0]);
/// Seconds of a call: from an answer out of memory to a stream that lives its whole hour.
const CALL_BOUNDS: Kind = Kind::Histogram(&[
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0, 60.0, 600.0, 3600.0,
]);
/// Events of an append: from one to the most that one takes.
const BATCH_BOUNDS: Kind =
    Kind::Histogram(&[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 4096.0]);

/// Makes of each row a constant with the name, and a [`Metric`] in [`ALL`]. The comment is the help.
macro_rules! table {
    ($($part:literal {
        $($(#[doc = $help:literal])+ $constant:ident = $name:literal, $kind:expr, $unit:literal, [$($label:literal),*];)+
    })+) => {
        $($($(#[doc = $help])+ pub const $constant: &str = $name;)+)+

        /// Every metric, in the order of the page.
        pub const ALL: &[Metric] = &[$($(Metric {
            part: $part,
            name: $name,
            kind: $kind,
            unit: $unit,
            labels: &[$($label),*],
            help: concat!($($help),+).trim_ascii(),
        }),+),+];
    };
}

table! {
    "Publishing" {
        /// Events recorded by this server; an event that was recorded before does not count again.
        PUBLISHED_EVENTS = "eventflow_published_events_total", Kind::Counter, "events", ["topic"];
        /// Bytes of these events, payload and all else: about what they take in memory and on the wire.
        PUBLISHED_BYTES = "eventflow_published_bytes_total", Kind::Counter, "bytes", ["topic"];
        /// Publish requests that came to the queue of a topic, whatever became of them; not those that only
        /// validate, and not those refused before.
        PUBLISH_REQUESTS = "eventflow_publish_requests_total", Kind::Counter, "requests", [];
        /// Publish requests refused as OVERLOADED, since the queues were full for too long.
        PUBLISH_OVERLOADED = "eventflow_publish_overloaded_total", Kind::Counter, "requests", [];
        /// Publish requests in the queues of all topics: they have room, and are not answered yet.
        PUBLISH_QUEUE_REQUESTS = "eventflow_publish_queue_requests", Kind::Gauge, "requests", [];
        /// Bytes of events of the publish requests in the queues of all topics.
        PUBLISH_QUEUE_BYTES = "eventflow_publish_queue_bytes", Kind::Gauge, "bytes", [];
        /// Groups of publish requests that the store took by one append, or answered as recorded before.
        APPENDS = "eventflow_appends_total", Kind::Counter, "appends", [];
        /// Time of each such append, its repetitions included.
        APPEND_SECONDS = "eventflow_append_duration_seconds", APPEND_BOUNDS, "seconds", [];
        /// Events sent to the store by each such append.
        APPEND_EVENTS = "eventflow_append_batch_events", BATCH_BOUNDS, "events", [];
        /// Appends sent again, since the store was lost and their outcome was unknown.
        APPEND_RETRIES = "eventflow_append_retries_total", Kind::Counter, "appends", [];
    }
    "Reading" {
        /// Streams that are open now.
        SUBSCRIPTIONS = "eventflow_subscriptions", Kind::Gauge, "streams", [];
        /// Events handed to streams; an event counts once for each stream that gets it.
        DELIVERED_EVENTS = "eventflow_delivered_events_total", Kind::Counter, "events", ["topic"];
        /// Commits of a consumer's offset that the store took, also those that changed nothing.
        COMMITS = "eventflow_commits_total", Kind::Counter, "commits", [];
        /// Deliveries of consumers in MODE_QUEUE that were settled: `ack`, `nack`, `dead_letter`, `extend`, or
        /// `failed` if their lease was over or they had been settled before.
        SETTLEMENTS = "eventflow_settlements_total", Kind::Counter, "deliveries", ["outcome"];
        /// Deliveries of a consumer in MODE_QUEUE that are leased now, as of `eventflow_consumer_lag_events`.
        CONSUMER_IN_FLIGHT = "eventflow_consumer_in_flight", Kind::Gauge, "deliveries", ["consumer"];
        /// Events of a consumer that failed and wait for their next attempt, likewise.
        CONSUMER_RETRYING = "eventflow_consumer_retrying", Kind::Gauge, "events", ["consumer"];
        /// Events that a consumer gave up and that were neither put back nor forgotten, likewise.
        CONSUMER_DEAD_LETTERS = "eventflow_consumer_dead_letters", Kind::Gauge, "events", ["consumer"];
        /// Events of its topic that a consumer has not committed, by its name; with a filter an upper bound.
        /// Looked up every 15 s by every server, so take the maximum and not the sum over servers; the first
        /// 1,000 consumers in the order of names. 0 for one that is gone.
        CONSUMER_LAG = "eventflow_consumer_lag_events", Kind::Gauge, "events", ["consumer"];
        /// Reads of a topic's log that were sent to the store for streams.
        LOG_READS = "eventflow_log_reads_total", Kind::Counter, "reads", [];
        /// Reads of a topic's log that memory answered with events, from the ring of recent segments.
        RING_HITS = "eventflow_ring_hits_total", Kind::Counter, "reads", [];
        /// Reads of a topic's log that joined one under way for another stream.
        SHARED_READS = "eventflow_shared_reads_total", Kind::Counter, "reads", [];
        /// Segments dropped from a ring to make room for newer ones.
        RING_EVICTIONS = "eventflow_ring_evicted_segments_total", Kind::Counter, "segments", [];
        /// Bytes of events in the rings of all topics.
        RING_BYTES = "eventflow_ring_bytes", Kind::Gauge, "bytes", [];
        /// Streams refused as TOO_MANY_STREAMS, health checks that are watched and reflection included.
        STREAMS_REFUSED = "eventflow_streams_refused_total", Kind::Counter, "streams", [];
        /// Logs that were found to have lost their newest events, as after a failover; their streams end with
        /// LOG_SHORTENED.
        LOGS_SHORTENED = "eventflow_logs_shortened_total", Kind::Counter, "logs", [];
    }
    "Removing" {
        /// Events that this server removed in the background, by cause: the topic's `retention` does not
        /// keep them, or it was `deleted`.
        REMOVED_EVENTS = "eventflow_removed_events_total", Kind::Counter, "events", ["cause"];
        /// Segments, which are appends as they were stored or were packed together, that this server removed in
        /// the background.
        REMOVED_SEGMENTS = "eventflow_removed_segments_total", Kind::Counter, "segments", ["cause"];
    }
    "Packing" {
        /// Small segments that this server packed with their neighbours into larger ones.
        PACKED_SEGMENTS = "eventflow_packed_segments_total", Kind::Counter, "segments", [];
        /// Segments that this server added to the chains of their topics: those that packing made, and those
        /// that were full before.
        LINKED_SEGMENTS = "eventflow_linked_segments_total", Kind::Counter, "segments", [];
        /// Events of these segments.
        LINKED_EVENTS = "eventflow_linked_events_total", Kind::Counter, "events", [];
        /// Time of each transaction that packed or linked a segment.
        PACK_SECONDS = "eventflow_pack_duration_seconds", APPEND_BOUNDS, "seconds", [];
        /// Times that nothing was packed, since somebody else packed or trimmed the topic.
        PACK_CONFLICTS = "eventflow_pack_conflicts_total", Kind::Counter, "times", [];
        /// Events that were compared with the chain of their topic by VerifyTopic.
        VERIFIED_EVENTS = "eventflow_verified_events_total", Kind::Counter, "events", [];
        /// Times that VerifyTopic found events that are not those that were linked. Each is worth an alert.
        ALTERED_RANGES = "eventflow_altered_ranges_total", Kind::Counter, "times", [];
    }
    "Wake-ups" {
        /// Times that the streams of a topic were told to look, by cause: `append` on this server, `redis` said
        /// that another one appended, a `poll` found it, or `everything` may have changed while Redis was away.
        WAKE_UPS = "eventflow_wake_ups_total", Kind::Counter, "wake-ups", ["cause"];
        /// Looks at the heads of all topics that have streams here, by one statement each.
        POLLS = "eventflow_polls_total", Kind::Counter, "polls", [];
        /// 1 while wake-ups from other servers can be relied on, 0 while streams depend on polling.
        NOTIFIER_HEALTHY = "eventflow_notifier_healthy", Kind::Gauge, "0 or 1", [];
        /// Times that a connection to listen and one to publish were made.
        REDIS_CONNECTED = "eventflow_redis_connected_total", Kind::Counter, "times", [];
        /// Messages that Redis took from this server, without beats.
        REDIS_PUBLISHED = "eventflow_redis_published_total", Kind::Counter, "messages", [];
        /// Messages heard from Redis and understood, this server's own ones and its beats included.
        REDIS_RECEIVED = "eventflow_redis_received_total", Kind::Counter, "messages", [];
        /// Messages heard from Redis and not understood.
        REDIS_IGNORED = "eventflow_redis_ignored_total", Kind::Counter, "messages", [];
        /// Messages from Redis that were lost, since they came faster than they were handled.
        REDIS_LAGGED = "eventflow_redis_lagged_total", Kind::Counter, "messages", [];
    }
    "Connections" {
        /// Connections for gRPC that are open now.
        CONNECTIONS = "eventflow_connections", Kind::Gauge, "connections", [];
        /// Connections refused, for gRPC or for probes, since there was no room for more.
        CONNECTIONS_REFUSED = "eventflow_connections_refused_total", Kind::Counter, "connections", [];
        /// Connections closed, since they did not say within 10 s what they want.
        GREETING_TIMEOUTS = "eventflow_greeting_timeouts_total", Kind::Counter, "connections", [];
    }
    "Calls and credentials" {
        /// Calls that ended, by method and gRPC code; a stream when it ends. A call that its client left is
        /// `Cancelled`, and a method that does not exist is `unknown`.
        CALLS = "eventflow_calls_total", Kind::Counter, "calls", ["method", "code"];
        /// Time from a call's metadata to its end, by method; of a stream, how long it was open.
        CALL_SECONDS = "eventflow_call_duration_seconds", CALL_BOUNDS, "seconds", ["method"];
        /// Calls that have begun and not ended, open streams included.
        CALLS_IN_FLIGHT = "eventflow_calls_in_flight", Kind::Gauge, "calls", [];
        /// Calls, and logins, refused for their credential or for what it allows, and streams ended for it, by the
        /// reason that the client was given.
        AUTH_FAILURES = "eventflow_auth_failures_total", Kind::Counter, "calls", ["reason"];
        /// Password hashes begun, to check a password or to store one.
        PASSWORD_HASHES = "eventflow_password_hashes_total", Kind::Counter, "hashes", [];
    }
    "Store" {
        /// 1 while the store gives a sign of life when asked, each second; 0 while it does not.
        STORE_HEALTHY = "eventflow_store_healthy", Kind::Gauge, "0 or 1", [];
        /// Operations that the store failed, by kind: `lost` on the way, so that the outcome is unknown;
        /// `unavailable`, `full`, `refused`, `corrupt`. What the callers did about it stands elsewhere: an append
        /// is repeated, for one.
        STORE_ERRORS = "eventflow_store_errors_total", Kind::Counter, "errors", ["kind"];
        /// Times that the store's server was found to have been started again, replaced or demoted.
        STORE_CHANGES = "eventflow_store_server_changes_total", Kind::Counter, "times", [];
        /// Statements sent to the store, by name.
        STORE_STATEMENTS = "eventflow_store_statements_total", Kind::Counter, "statements", ["statement"];
        /// Connections to the store, by pool and state: `busy` or `idle`.
        STORE_CONNECTIONS = "eventflow_store_connections", Kind::Gauge, "connections", ["pool", "state"];
    }
    "Process" {
        /// 1, with the version of this program.
        BUILD_INFO = "eventflow_build_info", Kind::Gauge, "1", ["version"];
        /// Tasks that live in the asynchronous runtime.
        TASKS = "eventflow_tasks", Kind::Gauge, "tasks", [];
    }
}

impl Kind {
    /// The word for it in Prometheus.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// Tells the recorder of this process what each metric is, and begins those without labels, at 0.
pub fn describe_all() {
    for Metric { name, kind, labels, help, .. } in ALL.iter().copied() {
        match kind {
            Kind::Counter => describe_counter!(name, help),
            Kind::Gauge => describe_gauge!(name, help),
            Kind::Histogram(_) => describe_histogram!(name, help),
        }
        if labels.is_empty() {
            match kind {
                Kind::Counter => counter!(name).increment(0),
                Kind::Gauge => gauge!(name).increment(0.0),
                // Asking for it is enough to have it shown.
                Kind::Histogram(_) => drop(histogram!(name)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{ALL, Kind};

    #[test]
    fn names_follow_the_conventions_and_occur_once() {
        let mut seen = HashSet::new();
        for metric in ALL {
            let name = metric.name;
            assert!(seen.insert(name), "{name} occurs twice");
            assert!(name.starts_with("eventflow_"), "{name}");
            assert!(name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase()), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            for unit in ["seconds", "bytes"] {
                let bare = name.strip_suffix("_total").unwrap_or(name);
                assert_eq!(bare.ends_with(unit), metric.unit == unit, "{name}");
            }
            assert!(metric.help.ends_with('.') && !metric.help.contains("  "), "{name}: {}", metric.help);
        }
    }

    #[test]
    fn bounds_of_histograms_grow() {
        for metric in ALL {
            if let Kind::Histogram(bounds) = metric.kind {
                assert!(bounds.is_sorted_by(|a, b| a < b) && !bounds.is_empty(), "{}", metric.name);
            }
        }
    }
}
