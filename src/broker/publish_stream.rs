//! A stream of publish requests: those that came together are handed to their topics' appenders in the order of
//! the stream, and each is answered when it is recorded or refused.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use super::{
    Broker, ClosingReason, Publish, PublishLife,
    appender::Answer,
    chain::{Chain, Link},
    enrich::Enrichment,
    group::Job,
    publish::{PublishError, Published, Refusal},
    publish_life::credential_ended,
    streams::{NoRoom, StreamRoom},
    topic_cache::TopicHandle,
};
use crate::{
    auth::AuthError,
    domain::{Permission, Principal, TopicName},
    store::StoreError,
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

/// A request that was submitted. It completes with what became of it, and must not be polled after that.
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
    Answered,
}

/// What is known while a run is submitted, so that it need not be found out for each request.
#[derive(Debug, Default)]
struct Run {
    standing: Option<Standing>,
    /// The topic of the last request, and the requests for it that are not handed over yet.
    topic: Option<(TopicHandle, Vec<Job>)>,
}

/// What a caller is and gives to its events; or that nobody could be asked.
#[derive(Debug)]
enum Standing {
    Known(Box<(Principal, Enrichment)>),
    Unknown(Arc<StoreError>),
}

impl Broker {
    /// Opens a stream of publish requests. The room is to be kept until the last answer was handed out.
    pub fn publish_stream(
        &self,
        principal: Arc<Principal>,
    ) -> Result<(PublishStream, PublishLife, StreamRoom), PublishStreamError> {
        if self.shutdown().is_draining() {
            return Err(PublishStreamError::Draining);
        }
        let room = self.room_for_stream(&principal)?;
        let life = PublishLife::new(self.clone(), principal.clone());
        let stream = PublishStream {
            broker: self.clone(),
            principal,
            chains: HashMap::new(),
            chains_max: CHAINS.max(self.inner.options.publish_stream_requests.saturating_mul(2)),
            all_broken: false,
        };
        Ok((stream, life, room))
    }
}

impl PublishStream {
    /// Requests that may be unanswered, and bytes of such requests and their answers: the caller keeps to them.
    pub fn capacity(&self) -> (usize, usize) {
        let options = &self.broker.inner.options;
        (options.publish_stream_requests, options.publish_stream_bytes)
    }

    /// Hands requests to their topics' appenders, after waiting for room there for as long as that takes; there is
    /// one answer for each, in their order. The error says that the stream must end; none of the requests was taken
    /// then. Cancelling it may or may not record them, and refuses the later ones of their topics.
    pub async fn submit(&mut self, run: Vec<Publish>) -> Result<Vec<Submitted>, (ClosingReason, PublishStreamError)> {
        let mut submitted = Vec::with_capacity(run.len());
        let mut known = Run::default();
        for publish in run {
            submitted.push(self.submit_one(publish, &mut known).await?);
        }
        known.hand_over().await;
        Ok(submitted)
    }

    /// Submits a request, or prepares it for the appender.
    async fn submit_one(
        &mut self,
        publish: Publish,
        run: &mut Run,
    ) -> Result<Submitted, (ClosingReason, PublishStreamError)> {
        let Publish { topic, events, expected_head, validate_only, correlation_id, traceparent } = publish;
        if run.standing.is_none() {
            match self.broker.inner.auth.current(&self.principal).await {
                Ok(current) => {
                    // The call gives the same to all requests of a stream.
                    let enrichment = Enrichment::new(&current, correlation_id, traceparent);
                    run.standing = Some(Standing::Known(Box::new((current, enrichment))));
                }
                Err(AuthError::Expired) => return Err(credential_ended(true)),
                Err(AuthError::Missing | AuthError::Invalid | AuthError::Revoked) => {
                    return Err(credential_ended(false));
                }
                Err(error @ (AuthError::ProducerDisabled { .. } | AuthError::RoleLowered { .. })) => {
                    return Ok(self.refused(topic, PublishError::Credential(error)));
                }
                Err(AuthError::Store(error)) => run.standing = Some(Standing::Unknown(Arc::new(error))),
            }
        }
        let (current, enrichment) = match &mut run.standing {
            Some(Standing::Known(known)) => (&known.0, &mut known.1),
            Some(Standing::Unknown(error)) => {
                let failed = Refusal::Failed(error.clone());
                let refusal = match self.link(&topic) {
                    Ok(link) => settled(link, failed),
                    Err(refusal) => refusal,
                };
                return Ok(self.refused(topic.clone(), refusal.of(&topic, true)));
            }
            None => return Err(credential_ended(false)),
        };
        if !current.may_on_topic(Permission::Publish, &topic) {
            let denied = PublishError::Denied { principal: current.name.clone(), topic: topic.clone() };
            return Ok(self.refused(topic, denied));
        }
        let pending = match enrichment.enrich(events) {
            Ok(pending) => pending,
            Err(invalid) => return Ok(self.refused(topic, PublishError::Invalid(invalid))),
        };
        let repeatable = pending.iter().all(|event| event.identity.is_some());
        let link = match self.link(&topic) {
            Ok(link) => link,
            Err(refusal) => return Ok(self.refused(topic.clone(), refusal.of(&topic, repeatable))),
        };
        let (handle, jobs) = match run.at(&self.broker, &topic).await {
            Ok(found) => found,
            Err(refusal) => return Ok(self.refused(topic.clone(), settled(link, refusal).of(&topic, repeatable))),
        };
        let outcome = if validate_only {
            let (broker, handle) = (self.broker.clone(), handle.clone());
            // It records nothing, so the later requests need not wait for it.
            let check = async move { link.settle(broker.validate(&handle, &pending, expected_head).await) };
            Outcome::Checking(self.broker.shutdown().spawn(check))
        } else {
            let (job, answer) = Job::new(pending, expected_head, Some(link));
            jobs.push(job);
            Outcome::Waiting(answer)
        };
        Ok(Submitted { broker: self.broker.clone(), topic, repeatable, outcome })
    }

    /// The place of a request of this topic, unless an earlier one failed.
    fn link(&mut self, topic: &TopicName) -> Result<Link, Refusal> {
        if self.all_broken {
            return Err(Refusal::PredecessorFailed);
        }
        if let Some(chain) = self.chains.get(topic) {
            return if chain.is_broken() { Err(Refusal::PredecessorFailed) } else { Ok(chain.link()) };
        }
        if self.chains.len() >= self.chains_max {
            // A request under way holds its chain.
            self.chains.retain(|_, chain| chain.is_broken() || Arc::strong_count(chain) > 1);
            self.all_broken = self.chains.len() >= self.chains_max;
            if self.all_broken {
                return Err(Refusal::PredecessorFailed);
            }
        }
        Ok(self.chains.entry(topic.clone()).or_insert_with(Chain::new).link())
    }

    fn refused(&self, topic: TopicName, error: PublishError) -> Submitted {
        Submitted { broker: self.broker.clone(), topic, repeatable: true, outcome: Outcome::Refused(error) }
    }
}

impl Run {
    /// The topic to publish to, and the requests for it so far; those for another one are handed over first.
    async fn at(&mut self, broker: &Broker, topic: &TopicName) -> Result<(&TopicHandle, &mut Vec<Job>), Refusal> {
        let same = self.topic.as_ref().is_some_and(|(handle, _)| handle.topic.settings.name == *topic);
        if !same {
            self.hand_over().await;
            self.topic = Some((broker.topic_to_publish(topic).await?, Vec::new()));
        }
        match &mut self.topic {
            Some((handle, jobs)) => Ok((handle, jobs)),
            None => Err(Refusal::TopicNotFound),
        }
    }

    async fn hand_over(&mut self) {
        if let Some((handle, jobs)) = self.topic.take()
            && !jobs.is_empty()
        {
            handle.appender.submit(jobs).await;
        }
    }
}

impl Future for Submitted {
    type Output = Result<Vec<Published>, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match &mut self.outcome {
            Outcome::Waiting(answer) => ready!(answer.poll(cx)).map_err(|refused| refused.refusal),
            Outcome::Checking(task) => match ready!(Pin::new(task).poll(cx)) {
                Ok(result) => result,
                Err(stopped) => Err(Refusal::Failed(Arc::new(super::Stopped(stopped).store()))),
            },
            Outcome::Refused(_) | Outcome::Answered => match std::mem::replace(&mut self.outcome, Outcome::Answered) {
                Outcome::Refused(error) => return Poll::Ready(Err(error)),
                Outcome::Waiting(_) | Outcome::Checking(_) | Outcome::Answered => return Poll::Pending,
            },
        };
        self.outcome = Outcome::Answered;
        if let Err(Refusal::TopicNotFound) = result {
            self.broker.forget_topic(&self.topic);
        }
        Poll::Ready(result.map_err(|refusal| refusal.of(&self.topic, self.repeatable)))
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
