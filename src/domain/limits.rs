//! Every limit on input, with its unit and its reason.

use std::time::Duration;

/// Bytes in a name of a topic, producer, consumer or user: one path segment, one index entry.
pub const NAME_BYTES: usize = 255;
/// Bytes in an event's type, source or content type.
pub const LABEL_BYTES: usize = 255;
/// Bytes in an event's key: it is hashed and indexed in memory for each event in flight.
pub const KEY_BYTES: usize = 1024;
/// Bytes in an event's id, correlation id or causation id.
pub const ID_BYTES: usize = 128;
/// Attributes of an event.
pub const ATTRIBUTES: usize = 32;
/// Bytes in the name of an attribute.
pub const ATTRIBUTE_NAME_BYTES: usize = 64;
/// Bytes in the value of an attribute.
pub const ATTRIBUTE_VALUE_BYTES: usize = 4096;
/// Bytes in the payload of one event: larger things belong in an object store, with a link here.
pub const PAYLOAD_BYTES: usize = 1 << 20;
/// Nesting of an inline JSON payload, as deep as serde_json and most parsers go.
pub const JSON_DEPTH: usize = 100;
/// Bytes in a request, measured as encoded protobuf.
pub const REQUEST_BYTES: usize = 4 << 20;
/// Bytes that the transport accepts: a `PublishStreamRequest` wraps a full request.
pub const MESSAGE_BYTES: usize = REQUEST_BYTES + (64 << 10);
/// Events in one publish request.
pub const REQUEST_EVENTS: usize = 1000;
/// Events in one group of the appender, and so in one segment, unless one request has more.
pub const SEGMENT_EVENTS: usize = 4096;
/// Bytes of events in one group of the appender, unless one request has more.
pub const SEGMENT_BYTES: usize = 1 << 20;
/// Bytes in the description of a topic or producer.
pub const DESCRIPTION_BYTES: usize = 1024;
/// Topic patterns of a producer.
pub const PRODUCER_TOPICS: usize = 100;
/// Entries in a filter, over all its fields.
pub const FILTER_ENTRIES: usize = 100;
/// Bytes in a filter, over all its entries.
pub const FILTER_BYTES: usize = 4096;
/// Items in a page of a listing.
pub const PAGE_ITEMS: usize = 1000;
/// Items in a page when the request does not say.
pub const PAGE_ITEMS_DEFAULT: usize = 50;
/// Events that are looked at for one page of a topic's history: a filter that nothing passes must end.
pub const PAGE_LOOKS: usize = 50_000;
/// Bytes of events that are looked at for one page of a topic's history: half a second's work, about.
pub const PAGE_LOOK_BYTES: usize = 64 << 20;
/// Events in one frame of a stream.
pub const FRAME_EVENTS: usize = 1000;
/// Events in the answer to one Poll when the request does not say.
pub const POLL_EVENTS_DEFAULT: usize = 100;
/// How long a Poll may wait for events.
pub const POLL_WAIT_MAX: Duration = Duration::from_secs(60);
/// Bytes in one frame of a stream, below the 4 MiB that clients accept by default.
pub const FRAME_BYTES: usize = 3 << 20;
/// Bytes of metadata (headers) in a call.
pub const METADATA_BYTES: u32 = 16 << 10;
/// Streams (calls under way) on one connection.
pub const CONNECTION_STREAMS: u32 = 128;
/// Characters in a password, at least.
pub const PASSWORD_MIN: usize = 12;
/// Characters in a password, at most: hashing takes time in its length.
pub const PASSWORD_MAX: usize = 128;

/// How long a rotated key goes on working when the request does not say: time to deploy the next one.
pub const KEY_GRACE_DEFAULT: Duration = Duration::from_secs(24 * 3600);

/// Heartbeat interval of a stream when the request does not say.
pub const HEARTBEAT_DEFAULT: Duration = Duration::from_secs(15);
/// Shortest heartbeat interval.
pub const HEARTBEAT_MIN: Duration = Duration::from_secs(1);
/// Longest heartbeat interval.
pub const HEARTBEAT_MAX: Duration = Duration::from_secs(300);
/// How long a stream holds a MODE_ORDERED consumer without renewing.
pub const HOLD_LEASE: Duration = Duration::from_secs(15);
/// How often a server renews the holds of its streams: two renewals may fail before one runs out.
pub const HOLD_RENEWAL: Duration = Duration::from_secs(5);
/// Shortest lease of a MODE_QUEUE delivery.
pub const LEASE_MIN: Duration = Duration::from_secs(1);
/// Longest lease of a MODE_QUEUE delivery.
pub const LEASE_MAX: Duration = Duration::from_secs(3600);
/// Pauses in a backoff.
pub const BACKOFF_STEPS: usize = 20;
/// Attempts at a delivery, at most.
pub const ATTEMPTS_MAX: u32 = 1000;
/// Deliveries of a consumer in flight, at most.
pub const IN_FLIGHT_MAX: u32 = 100_000;
/// Deliveries of a stream in flight when the request does not say.
pub const STREAM_IN_FLIGHT_DEFAULT: usize = 100;
/// Offsets in one request to settle deliveries.
pub const SETTLE_OFFSETS: usize = 10_000;
/// Bytes of the error that a worker gives.
pub const SETTLE_ERROR_BYTES: usize = 4096;
/// Longest pause before another attempt.
pub const DELAY_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// Dead letters that one call puts back or forgets, so that it stays short.
pub const DEAD_LETTERS_MOVED: usize = 10_000;
/// Connections listed for a consumer.
pub const LISTED_CONNECTIONS: usize = 100;
