//! How consumers look.

use crate::{
    cli::{
        filter,
        moment::{show_duration, show_time},
        output::{Listing, cell},
    },
    proto::v1::{self, Consumer},
};

/// How consumers are listed.
pub(super) const LISTING: Listing<Consumer> = Listing {
    message: "Consumer",
    columns: &["NAME", "TOPIC", "POSITION", "HEAD", "LAG", "CONNECTIONS", "STATE"],
    cells: |consumer| {
        let status = consumer.status.clone().unwrap_or_default();
        let position = status.position.unwrap_or_default();
        vec![
            consumer.name.clone(),
            consumer.topic.clone(),
            position.offset.to_string(),
            position.head_offset.to_string(),
            number(status.lag_events),
            status.connection_count.to_string(),
            state(&status),
        ]
    },
};

/// What `consumer get` shows.
pub(super) fn fields(consumer: &Consumer) -> Vec<(&'static str, String)> {
    let status = consumer.status.clone().unwrap_or_default();
    let position = status.position.unwrap_or_default();
    let mode = match consumer.mode() {
        v1::Mode::Unspecified | v1::Mode::Ordered => "ordered",
        v1::Mode::Queue => "queue",
    };
    let mut fields = vec![
        ("name", consumer.name.clone()),
        ("topic", consumer.topic.clone()),
        ("mode", mode.to_owned()),
        ("filter", filter::show(consumer.filter.as_ref())),
        ("position", position.offset.to_string()),
        ("head", position.head_offset.to_string()),
        ("lag", number(status.lag_events)),
        ("lag time", status.lag_time.as_ref().map_or_else(|| "-".to_owned(), show_duration)),
        ("state", state(&status)),
        ("trimmed", status.trimmed_events.to_string()),
        ("created", show_time(consumer.create_time.as_ref())),
        ("connections", status.connection_count.to_string()),
    ];
    if consumer.mode() == v1::Mode::Queue {
        fields.extend(queue_fields(consumer, &status));
    }
    fields.extend(status.connections.iter().map(|connection| {
        let v1::Connection { subscription_id, peer, server, connect_time } = connection;
        let since = show_time(connect_time.as_ref());
        ("connection", format!("{subscription_id} from {peer} at {server} since {since}"))
    }));
    fields
}

/// What only a shared queue has.
fn queue_fields(consumer: &Consumer, status: &v1::ConsumerStatus) -> [(&'static str, String); 7] {
    let pauses: Vec<_> = consumer.backoff.iter().map(show_duration).collect();
    [
        ("in flight", number(status.in_flight)),
        ("retrying", number(status.retrying)),
        ("dead letters", number(status.dead_letters)),
        ("lease", consumer.lease.as_ref().map_or_else(|| "-".to_owned(), show_duration)),
        ("backoff", cell(&pauses.join(","))),
        ("max attempts", consumer.max_attempts.to_string()),
        ("max in flight", consumer.max_in_flight.to_string()),
    ]
}

fn state(status: &v1::ConsumerStatus) -> String {
    match (status.paused, status.connection_count) {
        (true, _) => "paused",
        (false, 0) => "idle",
        (false, _) => "connected",
    }
    .to_owned()
}

fn number(value: Option<i64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
