//! Errors of publishing, one request at a time or on a stream.

use std::time::Duration;

use tracing::error;

use super::{Problem, STORE_RETRY, chain, denied, draining, topic_not_found};
use crate::{
    auth::AuthError,
    broker::{PublishError, PublishStreamError, Refusal},
    domain::TopicName,
    grpc::reason::Reason,
};

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        let message = error.to_string();
        match error {
            PublishError::Invalid(invalid) => Self::invalid(Reason::EventInvalid, &invalid),
            PublishError::Denied { topic, .. } => denied(message).with("topic", topic),
            PublishError::TopicNotFound { topic } => topic_not_found(message, topic),
            PublishError::Draining => draining(message),
            PublishError::Credential(error) => error.into(),
            PublishError::Refused { topic, repeatable, refusal } => {
                refused(refusal, repeatable, &topic).with("topic", topic)
            }
        }
    }
}

fn refused(refusal: Refusal, repeatable: bool, topic: &TopicName) -> Problem {
    let message = refusal.to_string();
    match refusal {
        Refusal::TopicNotFound => topic_not_found(message, topic),
        Refusal::TopicSealed => {
            Problem::new(Reason::TopicSealed, format!("topic {topic} is sealed")).precondition(topic)
        }
        Refusal::HeadMoved { head } => {
            let message = format!("the newest offset of topic {topic} is {head}, not the expected one");
            Problem::new(Reason::HeadMoved, message).with("head_offset", head)
        }
        Refusal::IdReused { index } => Problem::new(Reason::EventIdReused, message).with("index", index),
        Refusal::Overloaded { retry_in } => Problem::new(Reason::Overloaded, message).retry(retry_in).quota(topic),
        Refusal::PredecessorFailed => Problem::new(Reason::PredecessorFailed, message),
        Refusal::OutcomeUnknown(cause) => {
            error!(error = %chain(&*cause), %topic, "the outcome of an append is unknown");
            let problem = Problem::new(Reason::OutcomeUnknown, message);
            if repeatable { problem.retry(STORE_RETRY) } else { Problem { no_retry: true, ..problem } }
        }
        Refusal::Failed(cause) => Problem::from(&*cause),
    }
}

impl From<PublishStreamError> for Problem {
    fn from(error: PublishStreamError) -> Self {
        let message = error.to_string();
        match error {
            PublishStreamError::NoRoom(none) => none.into(),
            PublishStreamError::Draining => draining(message),
            PublishStreamError::Rotated => Self::new(Reason::StreamRotated, message).retry(Duration::ZERO),
            PublishStreamError::CredentialEnded { expired: true } => AuthError::Expired.into(),
            PublishStreamError::CredentialEnded { expired: false } => AuthError::Revoked.into(),
        }
    }
}
