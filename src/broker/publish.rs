//! Publishing: authorize, enrich, and hand over to the topic's appender.

use std::{sync::Arc, time::Duration};

use bytestring::ByteString;

use super::{Broker, enrich::Enrichment, group::Refused, topic_cache::TopicHandle};
use crate::{
    auth::AuthError,
    domain::{Invalid, KnownId, NewEvent, Offset, PendingEvent, Permission, Principal, Timestamp, TopicName},
    store::StoreError,
};

/// A request to record events: all of them or none, at consecutive offsets.
#[derive(Debug)]
pub struct Publish {
    /// Where to.
    pub topic: TopicName,
    /// What; at least one.
    pub events: Vec<NewEvent>,
    /// Refuse unless this is the newest offset.
    pub expected_head: Option<Offset>,
    /// Check everything, record nothing.
    pub validate_only: bool,
    /// Correlation id of events without one, from the call.
    pub correlation_id: ByteString,
    /// W3C trace context of the call, kept as an attribute.
    pub traceparent: Option<ByteString>,
}

/// Where an event was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its id, the producer's or one that was made.
    pub id: ByteString,
    /// Its offset; 0 if it was only checked.
    pub offset: Offset,
    /// When it was recorded; `None` if it was only checked.
    pub recorded_time: Option<Timestamp>,
    /// It had been recorded before.
    pub duplicate: bool,
}

/// Why events were not recorded.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Fields that the caller may not set so.
    #[error("{0}")]
    Invalid(Invalid),
    /// The caller may not publish here.
    #[error("{principal} may not publish to topic {topic}")]
    Denied {
        /// The caller.
        principal: ByteString,
        /// The topic.
        topic: TopicName,
    },
    /// There is no such topic, or not any more.
    #[error("topic {topic} does not exist; publishing never creates one")]
    TopicNotFound {
        /// The topic.
        topic: TopicName,
    },
    /// The server stops.
    #[error("the server is draining")]
    Draining,
    /// The credential does not allow it any more.
    #[error("the credential does not allow it any more")]
    Credential(#[source] AuthError),
    /// The topic's appender refused.
    #[error("{refusal}")]
    Refused {
        /// The topic.
        topic: TopicName,
        /// Whether every event has an id, so that a repeat stores nothing twice.
        repeatable: bool,
        /// Why.
        #[source]
        refusal: Refusal,
    },
}

/// Why an appender did not append a request.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// There is no such topic (any more).
    #[error("the topic does not exist")]
    TopicNotFound,
    /// The topic takes no more events.
    #[error("the topic is sealed")]
    TopicSealed,
    /// The head is not the expected one.
    #[error("the newest offset is {head}")]
    HeadMoved {
        /// What it is.
        head: Offset,
    },
    /// An event of the same source and id, with other content, is recorded or stands before it.
    #[error("events[{index}] has the id of another event; ids are used once")]
    IdReused {
        /// The event in the request.
        index: usize,
    },
    /// Too much waits to be appended already.
    #[error("too many events wait to be stored")]
    Overloaded {
        /// When room may be expected.
        retry_in: Duration,
    },
    /// An earlier request of the topic on the same stream failed so that it may be repeated.
    #[error("an earlier request of the topic failed; repeat that one and this one, in their order, on a new stream")]
    PredecessorFailed,
    /// The store was lost, and the events may or may not be recorded.
    #[error("the store was lost while the events were being stored; they may or may not be recorded")]
    OutcomeUnknown(#[source] Arc<StoreError>),
    /// The store failed before anything was recorded.
    #[error("the events were not stored")]
    Failed(#[source] Arc<StoreError>),
}

impl Refusal {
    /// Whether the same request may be taken at another time, or be recorded already: its client will repeat
    /// it. What the store refused or could not read counts, as nobody knows why.
    pub(super) fn may_be_repeated(&self) -> bool {
        match self {
            Self::Overloaded { .. } | Self::OutcomeUnknown(_) | Self::Failed(_) | Self::PredecessorFailed => true,
            Self::TopicNotFound | Self::TopicSealed | Self::HeadMoved { .. } | Self::IdReused { .. } => false,
        }
    }

    /// As the error of a request for a topic; `repeatable` if all its events have ids.
    pub(super) fn of(self, topic: &TopicName, repeatable: bool) -> PublishError {
        match self {
            Self::TopicNotFound => PublishError::TopicNotFound { topic: topic.clone() },
            refusal => PublishError::Refused { topic: topic.clone(), repeatable, refusal },
        }
    }
}

impl Broker {
    /// Records events. When it returns, they are on disk, and every later read on every server sees
    /// them. Cancelling it may or may not record them.
    pub async fn publish(&self, principal: &Principal, publish: Publish) -> Result<Vec<Published>, PublishError> {
        let Publish { topic, events, expected_head, validate_only, correlation_id, traceparent } = publish;
        if self.shutdown().is_draining() {
            return Err(PublishError::Draining);
        }
        if !principal.may_on_topic(Permission::Publish, &topic) {
            return Err(PublishError::Denied { principal: principal.name.clone(), topic });
        }
        let mut enrichment = Enrichment::new(principal, correlation_id, traceparent);
        let pending = enrichment.enrich(events).map_err(PublishError::Invalid)?;
        let repeatable = pending.iter().all(|event| event.identity.is_some());
        let refused = |refusal: Refusal| refusal.of(&topic, repeatable);
        let failed = |error| refused(Refusal::Failed(Arc::new(error)));
        // What is only checked is not looked at by an append, which would notice another topic of this name.
        let found = if validate_only { self.topic_now(&topic).await } else { self.topic(&topic).await };
        let Some(handle) = found.map_err(failed)? else {
            return Err(PublishError::TopicNotFound { topic });
        };
        if validate_only {
            return self.validate(&handle, &pending, expected_head).await.map_err(refused);
        }
        self.append(&handle, pending, expected_head).await.map_err(refused)
    }

    /// Appends to the topic of a handle, or, if that was deleted, to the one that has its name now.
    async fn append(
        &self,
        handle: &TopicHandle,
        pending: Vec<PendingEvent>,
        expected_head: Option<Offset>,
    ) -> Result<Vec<Published>, Refusal> {
        let events = match handle.appender.append(pending, expected_head).await {
            Ok(published) => return Ok(published),
            Err(Refused { refusal: Refusal::TopicNotFound, events }) => events,
            Err(Refused { refusal, .. }) => return Err(refusal),
        };
        let failed = |error| Refusal::Failed(Arc::new(error));
        let now = self.topic_now(&handle.topic.settings.name).await.map_err(failed)?;
        match now.filter(|now| now.topic.id != handle.topic.id) {
            Some(now) => now.appender.append(events, expected_head).await.map_err(|refused| refused.refusal),
            None => Err(Refusal::TopicNotFound),
        }
    }

    /// The topic to publish to.
    pub(super) async fn topic_to_publish(&self, topic: &TopicName) -> Result<TopicHandle, Refusal> {
        let found = self.topic(topic).await.map_err(|error| Refusal::Failed(Arc::new(error)))?;
        found.ok_or(Refusal::TopicNotFound)
    }

    /// Answers as an append would, without one.
    pub(super) async fn validate(
        &self,
        handle: &TopicHandle,
        pending: &[PendingEvent],
        expected_head: Option<Offset>,
    ) -> Result<Vec<Published>, Refusal> {
        let failed = |error| Refusal::Failed(Arc::new(error));
        let keys: Vec<_> = pending.iter().filter_map(|event| event.identity).map(|identity| identity.key).collect();
        let known = match keys.is_empty() {
            true => Vec::new(),
            false => self.store().find_ids(handle.topic.id, &keys).await.map_err(failed)?,
        };
        let published = check_ids(pending, &known)?;
        if published.iter().any(|published| !published.duplicate) {
            let name = &handle.topic.settings.name;
            let topic = self.store().find_topic(name).await.map_err(failed)?.ok_or(Refusal::TopicNotFound)?;
            if topic.settings.sealed {
                return Err(Refusal::TopicSealed);
            }
            let head = topic.bounds.head;
            if expected_head.is_some_and(|expected| expected != head) {
                return Err(Refusal::HeadMoved { head });
            }
        }
        Ok(published)
    }
}

/// What an append would answer about ids.
fn check_ids(pending: &[PendingEvent], known: &[KnownId]) -> Result<Vec<Published>, Refusal> {
    let mut published: Vec<Published> = Vec::with_capacity(pending.len());
    for (index, event) in pending.iter().enumerate() {
        let id = event.body.id.clone();
        let before = event.identity.and_then(|identity| {
            let recorded = known.iter().find(|known| known.key == identity.key);
            let recorded = recorded.map(|known| (known.content, known.offset, Some(known.recorded_time)));
            let same_request = || {
                let earlier = pending[..index].iter().filter_map(|event| event.identity);
                let found = earlier.into_iter().find(|earlier| earlier.key == identity.key);
                found.map(|earlier| (earlier.content, Offset::ZERO, None))
            };
            recorded.or_else(same_request).map(|before| (identity, before))
        });
        published.push(match before {
            None => Published { id, offset: Offset::ZERO, recorded_time: None, duplicate: false },
            Some((identity, (content, ..))) if content != identity.content => {
                return Err(Refusal::IdReused { index });
            }
            Some((_, (_, offset, recorded_time))) => Published { id, offset, recorded_time, duplicate: true },
        });
    }
    Ok(published)
}
