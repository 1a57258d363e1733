//! A stream of publish requests: each is handed to its topic's appender in the order of the stream, and
//! answered when it is recorded or refused.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::{
    Broker, ClosingReason, Publish,
    appender::Answer,
    chain::{Chain, Link},
    ending::CREDENTIAL_CHECK,
    enrich::Enrichment,
    publish::{PublishError, Published, Refusal},
    streams::{NoRoom, StreamRoom},
};
use crate::{
    auth::AuthError,
    domain::{Offset, PendingEvent, Permission, Principal, Timestamp, TopicName},
};

/// Topics of a stream that are kept in mind, at least.
const CHAINS: usize = 2048;

/// An open stream. Dropping it leaves what was submitted to be carried out.
#[derive(Debug)]
pub struct PublishStream {
    broker: Broker,
    principal: Arc<Principal>,
    chains: HashMap<TopicName, Arc<Chain>>,
    /// As many as are kept in mind: as no more requests than half of it are under way at once, it can only
    /// be full of topics that had failures.
    chains_max: usize,
    /// More topics failed than are kept in mind: all count as failed.
    all_broken: bool,
    ends_at: Instant,
    credential_at: Instant,
}

/// Why a stream was refused, or ended.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PublishStreamError {
    /// As many streams are open as may be.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// The server stops.
    #[error("the server is draining; connect again")]
    Draining,
    /// The stream is as old as streams may get.
    #[error("the stream ends here; open it again")]
    Rotated,
    /// The caller's credential ended.
    #[error("the credential ended")]
    CredentialEnded {
        /// By its time, not by a revocation.
        expired: bool,
    },
}

/// A request that was submitted, to be answered.
#[derive(Debug)]
pub struct Submitted {
    broker: Broker,
    topic: TopicName,
    repeatable: bool,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    Refused(PublishError),
    Waiting(Answer),
    Checking(tokio::task::JoinHandle<Result<Vec<Published>, Refusal>>),
}

impl Broker {
    /// Opens a stream of publish requests. The room is to be kept until the last answer was handed out.
    pub fn publish_stream(&self, principal: Arc<Principal>) -> Result<(PublishStream, StreamRoom), PublishStreamError> {
        if self.shutdown().is_draining() {
            return Err(PublishStreamError::Draining);
        }
        let room = self.room_for_stream(&principal)?;
        let now = Instant::now();
        let stream = PublishStream {
            ends_at: now + self.stream_age(),
            credential_at: now + CREDENTIAL_CHECK,
            broker: self.clone(),
            principal,
            chains: HashMap::new(),
            chains_max: CHAINS.max(self.inner.options.publish_stream_requests.saturating_mul(2)),
            all_broken: false,
        };
        Ok((stream, room))
    }
}

impl PublishStream {
    /// Requests that may be unanswered, and bytes of such requests and their answers: the caller keeps to them.
    pub fn capacity(&self) -> (usize, usize) {
        let options = &self.broker.inner.options;
        (options.publish_stream_requests, options.publish_stream_bytes)
    }

    /// Hands a request to its topic's appender, after waiting for room there for as long as that takes. The
    /// error says that the stream must end; the request was not taken then. Cancelling it may or may not
    /// record the request, and refuses the later ones of its topic.
    pub async fn submit(&mut self, publish: Publish) -> Result<Submitted, (ClosingReason, PublishStreamError)> {
        let topic = publish.topic.clone();
        let current = match self.broker.inner.auth.current(&self.principal).await {
            Ok(current) => current,
            Err(AuthError::Expired) => return Err(credential_ended(true)),
            Err(AuthError::Missing | AuthError::Invalid | AuthError::Revoked) => return Err(credential_ended(false)),
            Err(error @ (AuthError::ProducerDisabled { .. } | AuthError::RoleLowered { .. })) => {
                return Ok(self.refused(topic, PublishError::Credential(error)));
            }
            Err(AuthError::Store(error)) => {
                let refusal = match self.link(&topic) {
                    Ok(link) => settled(link, Refusal::Failed(Arc::new(error))),
                    Err(refusal) => refusal,
                };
                return Ok(self.refused(topic.clone(), refusal.of(&topic, true)));
            }
        };
        let Publish { topic: _, events, expected_head, validate_only, correlation_id, traceparent } = publish;
        if !current.may_on_topic(Permission::Publish, &topic) {
            let denied = PublishError::Denied { principal: current.name.clone(), topic: topic.clone() };
            return Ok(self.refused(topic, denied));
        }
        let enrichment = Enrichment::new(&current, correlation_id, traceparent);
        let pending = match enrichment.enrich(events) {
            Ok(pending) => pending,
            Err(invalid) => return Ok(self.refused(topic, PublishError::Invalid(invalid))),
        };
        let repeatable = pending.iter().all(|event| event.identity.is_some());
        let outcome = match self.hand_over(&topic, pending, expected_head, validate_only).await {
            Ok(outcome) => outcome,
            Err(refusal) => Outcome::Refused(refusal.of(&topic, repeatable)),
        };
        Ok(Submitted { broker: self.broker.clone(), topic, repeatable, outcome })
    }

    async fn hand_over(
        &mut self,
        topic: &TopicName,
        pending: Vec<PendingEvent>,
        expected_head: Option<Offset>,
        validate_only: bool,
    ) -> Result<Outcome, Refusal> {
        let link = self.link(topic)?;
        let handle = match self.broker.topic_to_publish(topic).await {
            Ok(handle) => handle,
            Err(refusal) => return Err(settled(link, refusal)),
        };
        if validate_only {
            let broker = self.broker.clone();
            // It records nothing, so the later requests need not wait for it.
            let check = async move { link.settle(broker.validate(&handle, &pending, expected_head).await) };
            return Ok(Outcome::Checking(self.broker.shutdown().spawn(check)));
        }
        Ok(Outcome::Waiting(handle.appender.submit(pending, expected_head, link).await))
    }

    /// The place of a request of this topic, unless an earlier one failed.
    fn link(&mut self, topic: &TopicName) -> Result<Link, Refusal> {
        if self.chains.len() >= self.chains_max && !self.chains.contains_key(topic) {
            // A request under way holds its chain.
            self.chains.retain(|_, chain| chain.is_broken() || Arc::strong_count(chain) > 1);
            self.all_broken |= self.chains.len() >= self.chains_max;
        }
        if self.all_broken {
            return Err(Refusal::PredecessorFailed);
        }
        let chain = self.chains.entry(topic.clone()).or_insert_with(Chain::new);
        if chain.is_broken() { Err(Refusal::PredecessorFailed) } else { Ok(chain.link()) }
    }

    fn refused(&self, topic: TopicName, error: PublishError) -> Submitted {
        Submitted { broker: self.broker.clone(), topic, repeatable: true, outcome: Outcome::Refused(error) }
    }

    /// Completes when the stream must end, and says why. Cancelling it loses nothing.
    pub async fn ending(&mut self) -> (ClosingReason, PublishStreamError) {
        loop {
            if self.broker.shutdown().is_draining() {
                return (ClosingReason::Draining, PublishStreamError::Draining);
            }
            let now = Instant::now();
            if now >= self.ends_at {
                return (ClosingReason::MaxAge, PublishStreamError::Rotated);
            }
            let left = self.principal.expires.map(time_until);
            if left.is_some_and(|left| left.is_zero()) {
                return credential_ended(true);
            }
            if now >= self.credential_at {
                match self.broker.inner.auth.recheck(&self.principal).await {
                    // A store that does not answer says nothing about the credential; a producer that is
                    // disabled, or a user who may do less, is told so with each request.
                    Ok(()) => {}
                    Err(AuthError::Store(_) | AuthError::ProducerDisabled { .. } | AuthError::RoleLowered { .. }) => {}
                    Err(AuthError::Expired) => return credential_ended(true),
                    Err(AuthError::Missing | AuthError::Invalid | AuthError::Revoked) => {
                        return credential_ended(false);
                    }
                }
                self.credential_at = now + CREDENTIAL_CHECK;
            }
            let expires_at = left.and_then(|left| now.checked_add(left));
            let deadline = self.credential_at.min(self.ends_at).min(expires_at.unwrap_or(self.ends_at));
            tokio::select! {
                () = self.broker.shutdown().draining() => {}
                () = sleep_until(deadline) => {}
            }
        }
    }
}

impl Submitted {
    /// Waits for what became of the request.
    pub async fn answer(self) -> Result<Vec<Published>, PublishError> {
        let Self { broker, topic, repeatable, outcome } = self;
        let result = match outcome {
            Outcome::Refused(error) => return Err(error),
            Outcome::Waiting(answer) => answer.wait().await.map_err(|refused| refused.refusal),
            Outcome::Checking(task) => {
                task.await.unwrap_or_else(|stopped| Err(Refusal::Failed(Arc::new(super::Stopped(stopped).store()))))
            }
        };
        if let Err(Refusal::TopicNotFound) = result {
            broker.forget_topic(&topic);
        }
        result.map_err(|refusal| refusal.of(&topic, repeatable))
    }
}

/// A refusal, after the chain has taken note of it.
fn settled(link: Link, refusal: Refusal) -> Refusal {
    match link.settle(Err(refusal)) {
        Err(refusal) => refusal,
        // An error stays one.
        Ok(_) => Refusal::PredecessorFailed,
    }
}

fn credential_ended(expired: bool) -> (ClosingReason, PublishStreamError) {
    (ClosingReason::CredentialEnded, PublishStreamError::CredentialEnded { expired })
}

fn time_until(end: Timestamp) -> Duration {
    let left = end.micros().saturating_sub(Timestamp::now().micros());
    Duration::from_micros(u64::try_from(left).unwrap_or(0))
}
