//! Errors as gRPC statuses, with details in every one.

mod identities;
mod publishing;
mod queue;

use std::{collections::HashMap, error::Error, time::Duration};

use tonic::{Status, metadata::MetadataMap};
use tonic_types::{ErrorDetails, StatusExt};
use tracing::error;

use super::reason::Reason;
use crate::{
    auth::AuthError,
    broker::{CommitOffsetError, ConsumersError, CredentialEnd, HistoryError, NoRoom, SubscribeError, TopicsError},
    domain::Invalid,
    store::StoreError,
};

/// The domain of every reason.
pub(crate) const DOMAIN: &str = "eventflow";
/// The trailer that repeats the reason, for languages that cannot see details.
pub(crate) const REASON_TRAILER: &str = "eventflow-reason";
/// The trailer that keeps gRPC's own retries away.
const PUSHBACK_TRAILER: &str = "grpc-retry-pushback-ms";
/// What a user is told who may do less than when a stream began.
const ROLE_LOWERED: &str = "the user's role was lowered since; ask again for what it still allows";
/// When to try again after as many streams were open as may be.
const STREAM_RETRY: Duration = Duration::from_secs(5);
/// When to try again after the store could not be reached.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// A refusal that becomes a [`Status`].
#[derive(Debug)]
pub(crate) struct Problem {
    reason: Reason,
    message: String,
    metadata: HashMap<String, String>,
    details: ErrorDetails,
    no_retry: bool,
    /// What was asked for may have happened nevertheless.
    uncertain: bool,
}

impl Problem {
    /// A refusal; the message says what is wrong and what to do.
    pub(crate) fn new(reason: Reason, message: impl ToString) -> Self {
        let message = message.to_string();
        let (metadata, details) = (HashMap::new(), ErrorDetails::new());
        Self { reason, message, metadata, details, no_retry: false, uncertain: false }
    }

    /// Fields that are not acceptable.
    pub(crate) fn invalid(reason: Reason, invalid: &Invalid) -> Self {
        let mut problem = Self::new(reason, invalid);
        for violation in invalid.violations() {
            problem.details.add_bad_request_violation(&violation.field, &violation.description);
        }
        problem
    }

    /// The same refusal of a call that changes something: if the store was lost on the way, the change
    /// may or may not have happened.
    pub(crate) fn of_change(self) -> Self {
        match self.uncertain {
            true => Self::new(
                Reason::OutcomeUnknown,
                "the store was lost during the call, which may or may not have happened; look before repeating it",
            )
            .retry(STORE_RETRY),
            false => self,
        }
    }

    fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    fn retry(mut self, after: Duration) -> Self {
        self.details.set_retry_info(Some(after));
        self
    }

    fn resource(mut self, kind: &str, name: impl ToString) -> Self {
        let message = self.message.clone();
        self.details.set_resource_info(kind, name.to_string(), "", message);
        self
    }

    fn precondition(mut self, subject: impl ToString) -> Self {
        let message = self.message.clone();
        self.details.add_precondition_failure_violation(self.reason.as_str(), subject.to_string(), message);
        self
    }

    fn quota(mut self, subject: impl ToString) -> Self {
        let message = self.message.clone();
        self.details.add_quota_failure_violation(subject.to_string(), message);
        self
    }
}

impl From<Problem> for Status {
    fn from(problem: Problem) -> Self {
        let Problem { reason, message, metadata, mut details, no_retry, uncertain: _ } = problem;
        let name = reason.as_str();
        details.set_error_info(name, DOMAIN, metadata);
        let mut trailers = MetadataMap::new();
        trailers.insert(REASON_TRAILER, tonic::metadata::MetadataValue::from_static(name));
        if no_retry {
            trailers.insert(PUSHBACK_TRAILER, tonic::metadata::MetadataValue::from_static("-1"));
        }
        Status::with_error_details_and_metadata(reason.code(), format!("{name}: {message}"), details, trailers)
    }
}

/// The reason that a status gives, if it is one of ours.
pub(super) fn reason_of(status: &Status) -> Option<Reason> {
    let said = status.metadata().get(REASON_TRAILER)?;
    Reason::ALL.iter().find(|reason| said == reason.as_str()).copied()
}

/// A fault of the server: the chain is logged, and the client gets the request's id alone.
fn internal(cause: &(dyn Error + 'static)) -> Problem {
    error!(error = %chain(cause), "a call failed inside the server");
    Problem::new(Reason::Internal, "the server failed; report it with the request id")
}

/// An error and its causes on one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl From<&StoreError> for Problem {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::NotNow(_) => {
                tracing::warn!(error = %chain(error), "a call failed for want of the store");
                let problem = Self::new(Reason::StorageUnavailable, "the store cannot be reached; try again");
                Self { uncertain: error.is_uncertain(), ..problem.retry(STORE_RETRY) }
            }
            StoreError::Full(_) => {
                tracing::error!(error = %chain(error), "the store is full");
                Self::new(Reason::StorageFull, "the store has no space left").quota("store")
            }
            StoreError::Refused(_) | StoreError::Corrupt(_) => internal(error),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::from(&error)
    }
}

/// The refusal of a caller whose credential is good but not enough.
pub(crate) fn denied(message: impl ToString) -> Problem {
    Problem::new(Reason::PermissionDenied, message)
}

pub(crate) fn draining(message: impl ToString) -> Problem {
    Problem::new(Reason::Draining, message).retry(Duration::ZERO)
}

/// As many streams are open as somebody may have.
pub(crate) fn too_many_streams(message: impl ToString, whose: &str) -> Problem {
    Problem::new(Reason::TooManyStreams, message).quota(whose).retry(STREAM_RETRY)
}

fn topic_not_found(message: impl ToString, topic: impl ToString) -> Problem {
    Problem::new(Reason::TopicNotFound, message).with("topic", topic.to_string()).resource("topic", topic)
}

fn log_replaced(message: impl ToString, topic: impl ToString, log_id: impl ToString) -> Problem {
    Problem::new(Reason::LogReplaced, message).precondition(topic).with("log_id", log_id)
}

fn consumer_not_found(message: impl ToString, consumer: impl ToString) -> Problem {
    Problem::new(Reason::ConsumerNotFound, message)
        .with("consumer", consumer.to_string())
        .resource("consumer", consumer)
}

impl From<NoRoom> for Problem {
    fn from(none: NoRoom) -> Self {
        let message = none.to_string();
        match none {
            NoRoom::Server { .. } => too_many_streams(message, "server"),
            NoRoom::Principal { principal, .. } => too_many_streams(message, &principal),
        }
    }
}

impl From<SubscribeError> for Problem {
    fn from(error: SubscribeError) -> Self {
        let message = error.to_string();
        match error {
            SubscribeError::Denied { .. } => denied(message),
            SubscribeError::TopicNotFound { topic } => topic_not_found(message, topic),
            SubscribeError::ConsumerNotFound { consumer } => consumer_not_found(message, consumer),
            SubscribeError::WrongMode { consumer } => Self::new(Reason::WrongMode, message).precondition(consumer),
            SubscribeError::ConsumerBusy { consumer, remaining } => {
                Self::new(Reason::ConsumerBusy, message).precondition(consumer).retry(remaining)
            }
            SubscribeError::ConsumerFenced { consumer } => {
                Self::new(Reason::ConsumerFenced, message).with("consumer", consumer)
            }
            SubscribeError::LogReplaced { topic, log_id } => log_replaced(message, topic, log_id),
            SubscribeError::OffsetTrimmed { topic, earliest, .. } => {
                Self::new(Reason::OffsetTrimmed, message).with("topic", topic).with("earliest_offset", earliest)
            }
            SubscribeError::OffsetBeyondHead { topic, head, .. } => {
                Self::new(Reason::OffsetBeyondHead, message).with("topic", topic).with("head_offset", head)
            }
            SubscribeError::LogShortened { topic, head, .. } => {
                tracing::error!(%topic, %head, "{message}");
                Self::new(Reason::LogShortened, message).with("topic", topic).with("head_offset", head)
            }
            SubscribeError::NoRoom(none) => none.into(),
            SubscribeError::Draining => draining(message),
            SubscribeError::Rotated(_) => Self::new(Reason::StreamRotated, message).retry(Duration::ZERO),
            SubscribeError::CredentialEnded(CredentialEnd::Expired) => AuthError::Expired.into(),
            SubscribeError::CredentialEnded(CredentialEnd::Revoked) => AuthError::Revoked.into(),
            SubscribeError::CredentialEnded(CredentialEnd::RoleLowered) => denied(ROLE_LOWERED),
            SubscribeError::Store(error) => Self::from(&*error),
        }
    }
}

impl From<HistoryError> for Problem {
    fn from(error: HistoryError) -> Self {
        let message = error.to_string();
        match error {
            HistoryError::Denied { topic, .. } => denied(message).with("topic", topic),
            HistoryError::TopicNotFound { topic } => topic_not_found(message, topic),
            HistoryError::EventNotFound { topic, name } => {
                Self::new(Reason::EventNotFound, message).with("topic", topic).resource("event", name)
            }
            HistoryError::LogReplaced { topic, log_id } => log_replaced(message, topic, log_id),
            HistoryError::Store(error) => error.into(),
        }
    }
}

impl From<TopicsError> for Problem {
    fn from(error: TopicsError) -> Self {
        let message = error.to_string();
        match error {
            TopicsError::Exists { topic } => Self::new(Reason::TopicExists, message).resource("topic", topic),
            TopicsError::NotFound { topic } => topic_not_found(message, topic),
            TopicsError::Denied { .. } => denied(message),
            TopicsError::InUse { topic, consumer } => {
                Self::new(Reason::TopicInUse, message).precondition(topic).with("consumer", consumer)
            }
            TopicsError::BeyondHead { next, .. } => {
                Self::new(Reason::OffsetBeyondHead, message).with("head_offset", next.previous())
            }
            TopicsError::Store(error) => error.into(),
        }
    }
}

impl From<ConsumersError> for Problem {
    fn from(error: ConsumersError) -> Self {
        let message = error.to_string();
        match error {
            ConsumersError::Exists { consumer } => {
                Self::new(Reason::ConsumerExists, message).resource("consumer", consumer)
            }
            ConsumersError::NotFound { consumer } => consumer_not_found(message, consumer),
            ConsumersError::TopicNotFound { topic } => topic_not_found(message, topic),
            ConsumersError::WrongMode { consumer } => Self::new(Reason::WrongMode, message).precondition(consumer),
            ConsumersError::Denied { .. } => denied(message),
            ConsumersError::Start(error) => error.into(),
            ConsumersError::Store(error) => error.into(),
        }
    }
}

impl From<CommitOffsetError> for Problem {
    fn from(error: CommitOffsetError) -> Self {
        let message = error.to_string();
        match error {
            CommitOffsetError::NotFound { consumer } => consumer_not_found(message, consumer),
            CommitOffsetError::Denied { .. } => denied(message),
            CommitOffsetError::WrongMode { consumer } => Self::new(Reason::WrongMode, message).precondition(consumer),
            CommitOffsetError::Fenced { consumer } => {
                Self::new(Reason::ConsumerFenced, message).with("consumer", consumer)
            }
            CommitOffsetError::BeyondHead { head, .. } => {
                Self::new(Reason::OffsetBeyondHead, message).with("head_offset", head)
            }
            CommitOffsetError::Store(error) => Self::from(&*error),
        }
    }
}
