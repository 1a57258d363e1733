//! Producers.

use tonic::Status;

use super::{Checks, checks::text, timestamp};
use crate::{
    domain::{Invalid, ProducerName, TopicPattern, limits},
    grpc::{reason::Reason, status::Problem},
    proto::v1,
    store::{NewProducer, Producer, ProducerChange},
};

/// A producer to be registered. What only the server sets is ignored.
pub(crate) fn new_producer(producer: Option<v1::Producer>) -> Result<NewProducer, Status> {
    let Some(producer) = producer else {
        return Err(Problem::invalid(Reason::RequestInvalid, &Invalid::one("producer", "must be set")).into());
    };
    let v1::Producer { name, description, topics, disabled, create_time: _ } = producer;
    let mut checks = Checks::default();
    let name = checks.producer("producer.name", &name);
    checks.check(Reason::RequestInvalid, "producer.description", text(&description, limits::DESCRIPTION_BYTES));
    let topics = patterns(&mut checks, "producer.topics", &topics);
    checks.finish(name.map(|name| NewProducer { name, description, topics, disabled }))
}

/// What to change about a producer.
pub(crate) fn producer_change(request: v1::UpdateProducerRequest) -> Result<(ProducerName, ProducerChange), Status> {
    let v1::UpdateProducerRequest { name, description, topics, disabled } = request;
    let mut checks = Checks::default();
    let name = checks.producer("name", &name);
    if let Some(description) = &description {
        checks.check(Reason::RequestInvalid, "description", text(description, limits::DESCRIPTION_BYTES));
    }
    let topics = topics.map(|v1::TopicPatterns { patterns }| self::patterns(&mut checks, "topics.patterns", &patterns));
    checks.finish(name.map(|name| (name, ProducerChange { description, topics, disabled })))
}

fn patterns(checks: &mut Checks, field: &str, topics: &[String]) -> Vec<TopicPattern> {
    if topics.len() > limits::PRODUCER_TOPICS {
        let text = format!("has {} entries; at most {} are taken", topics.len(), limits::PRODUCER_TOPICS);
        checks.add(Reason::RequestInvalid, field, text);
    }
    let patterns = topics.iter().take(limits::PRODUCER_TOPICS).enumerate().filter_map(|(index, pattern)| {
        checks.check(Reason::NameInvalid, format!("{field}[{index}]"), TopicPattern::parse(pattern))
    });
    patterns.collect()
}

/// A producer for the wire.
pub(crate) fn producer(producer: Producer) -> v1::Producer {
    let Producer { settings: NewProducer { name, description, topics, disabled }, create_time } = producer;
    v1::Producer {
        name: name.to_string(),
        description,
        topics: topics.iter().map(ToString::to_string).collect(),
        disabled,
        create_time: Some(timestamp(create_time)),
    }
}
