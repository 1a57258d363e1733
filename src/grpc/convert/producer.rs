//! Producers.

use tonic::Status;

use super::{Checks, checks::text, timestamp};
use crate::{
    domain::{Invalid, TopicPattern, limits},
    grpc::{reason::Reason, status::Problem},
    proto::v1,
    store::{ApiKeyRecord, KeyOwner, NewProducer, Producer},
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
    if topics.len() > limits::PRODUCER_TOPICS {
        let text = format!("has {} entries; at most {} are taken", topics.len(), limits::PRODUCER_TOPICS);
        checks.add(Reason::RequestInvalid, "producer.topics", text);
    }
    let patterns = topics.iter().take(limits::PRODUCER_TOPICS).enumerate().filter_map(|(index, pattern)| {
        checks.check(Reason::NameInvalid, format!("producer.topics[{index}]"), TopicPattern::parse(pattern))
    });
    let topics = patterns.collect();
    checks.finish(name.map(|name| NewProducer { name, description, topics, disabled }))
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

/// A key for the wire, without its secret.
pub(crate) fn api_key(key: ApiKeyRecord) -> v1::ApiKey {
    let ApiKeyRecord { id, secret_hash: _, owner, create_time, expire_time, revoked } = key;
    let owner = match owner {
        KeyOwner::User(name) => format!("users/{name}"),
        KeyOwner::Producer(name) => format!("producers/{name}"),
        KeyOwner::Consumer(name) => format!("consumers/{name}"),
    };
    v1::ApiKey {
        id,
        owner,
        create_time: Some(timestamp(create_time)),
        expire_time: expire_time.map(timestamp),
        last_used_time: None,
        revoked,
    }
}
