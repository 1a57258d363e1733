//! Collecting what is wrong with a request.

use tonic::Status;

use crate::{
    domain::{ConsumerName, Invalid, Offset, ProducerName, TopicName, Username},
    grpc::{reason::Reason, status::Problem},
};

/// What is wrong with a request so far. The first violation decides the reason.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    invalid: Invalid,
    reason: Option<Reason>,
}

impl Checks {
    /// Notes a violation.
    pub(crate) fn add(&mut self, reason: Reason, field: impl Into<String>, description: impl Into<String>) {
        self.reason.get_or_insert(reason);
        self.invalid.add(field, description);
    }

    /// The value of `result`, or `None` after noting its error.
    pub(crate) fn check<T>(
        &mut self,
        reason: Reason,
        field: impl Into<String>,
        result: Result<T, String>,
    ) -> Option<T> {
        result.map_err(|description| self.add(reason, field, description)).ok()
    }

    /// Takes over what was found about a part of the request.
    pub(crate) fn absorb(&mut self, reason: Reason, prefix: &str, part: Invalid) {
        if !part.is_empty() {
            self.reason.get_or_insert(reason);
            self.invalid.absorb(prefix, part);
        }
    }

    /// A topic's name.
    pub(crate) fn topic(&mut self, field: &str, name: &str) -> Option<TopicName> {
        self.check(Reason::NameInvalid, field, TopicName::parse(name))
    }

    /// A consumer's name.
    pub(crate) fn consumer(&mut self, field: &str, name: &str) -> Option<ConsumerName> {
        self.check(Reason::NameInvalid, field, ConsumerName::parse(name))
    }

    /// A producer's name.
    pub(crate) fn producer(&mut self, field: &str, name: &str) -> Option<ProducerName> {
        self.check(Reason::NameInvalid, field, ProducerName::parse(name))
    }

    /// A user's name.
    pub(crate) fn user(&mut self, field: &str, name: &str) -> Option<Username> {
        self.check(Reason::NameInvalid, field, Username::parse(name))
    }

    /// An offset.
    pub(crate) fn offset(&mut self, reason: Reason, field: &str, offset: i64) -> Option<Offset> {
        self.check(reason, field, Offset::parse(offset))
    }

    /// `value` if it is there and nothing was noted. What is missing was noted.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Status> {
        match (value, self.reason) {
            (Some(value), None) => Ok(value),
            (_, reason) => Err(Problem::invalid(reason.unwrap_or(Reason::RequestInvalid), &self.invalid).into()),
        }
    }
}

/// Checks a text: at most `max` bytes, and no U+0000, which Postgres cannot keep.
pub(super) fn text(value: &str, max: usize) -> Result<(), String> {
    if value.len() > max {
        return Err(format!("has {} bytes; at most {max} are taken", value.len()));
    }
    if value.contains('\0') {
        return Err("holds U+0000, which is not taken".to_owned());
    }
    Ok(())
}
