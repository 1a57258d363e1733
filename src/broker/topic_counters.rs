//! The metrics of one topic, looked up once.

use metrics::{Counter, counter};

use crate::{
    domain::{Segment, TopicName},
    telemetry::{label, metric},
};

/// Counters with the label of a topic.
#[derive(Debug)]
pub(super) struct TopicCounters {
    published_events: Counter,
    published_bytes: Counter,
    delivered_events: Counter,
}

impl TopicCounters {
    pub(super) fn new(topic: &TopicName) -> Self {
        let topic = label::topic(topic.as_str());
        Self {
            published_events: counter!(metric::PUBLISHED_EVENTS, "topic" => topic.clone()),
            published_bytes: counter!(metric::PUBLISHED_BYTES, "topic" => topic.clone()),
            delivered_events: counter!(metric::DELIVERED_EVENTS, "topic" => topic),
        }
    }

    pub(super) fn published(&self, segment: &Segment) {
        self.published_events.increment(segment.events().len() as u64);
        self.published_bytes.increment(segment.bytes() as u64);
    }

    pub(super) fn delivered(&self, events: usize) {
        self.delivered_events.increment(events as u64);
    }
}
