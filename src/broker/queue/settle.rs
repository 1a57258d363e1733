//! Settling deliveries: one batch under way for each consumer, the next taking everything that waits.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use bytestring::ByteString;
use metrics::counter;
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::{sleep, timeout},
};
use tracing::warn;

use super::{
    dispatcher::{Dispatcher, SETTLEMENTS},
    looking::Looking,
};
use crate::{
    broker::Broker,
    domain::{ConsumerName, LeaseId, Mode, Offset, Permission, Principal, Settled, Settlement, Unsettled, Verdict},
    store::{SettleError, StoreError},
    telemetry::metric,
};

/// Deliveries that are settled by one statement, at most, unless one request has more.
const BATCH: usize = 10_000;
/// How long settlements are repeated while it is certain that nothing happened.
const RETRY_FOR: Duration = Duration::from_secs(5);
/// And while their outcome is unknown: only the server can find out safely.
const RETRY_UNKNOWN_FOR: Duration = Duration::from_secs(30);
/// Pause between two tries.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How long a request waits until there is room for it.
const ROOM_PATIENCE: Duration = Duration::from_secs(5);

/// A request to settle deliveries, each at most once.
#[derive(Debug, Clone)]
pub struct Settle {
    /// The consumer.
    pub consumer: ConsumerName,
    /// What is to become of what.
    pub settlements: Vec<Settlement>,
}

/// What became of a request to settle deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettleOutcome {
    /// Those that could not be settled, in the order of the request.
    pub failures: Vec<(Offset, Unsettled)>,
    /// How long the lease lasts now, if something was extended.
    pub extended: Option<Duration>,
}

/// Why nothing was settled.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SettlementError {
    /// There is no such consumer.
    #[error("consumer {consumer} does not exist")]
    NotFound {
        /// The consumer.
        consumer: ConsumerName,
    },
    /// The caller may not settle for it.
    #[error("{principal} has no access to consumer {consumer}")]
    Denied {
        /// The caller.
        principal: ByteString,
        /// The consumer.
        consumer: ConsumerName,
    },
    /// It commits offsets instead.
    #[error("consumer {consumer} is in MODE_ORDERED; use CommitOffset")]
    WrongMode {
        /// The consumer.
        consumer: ConsumerName,
    },
    /// Too many deliveries wait to be settled.
    #[error("too many deliveries of the consumer wait to be settled; try again")]
    Overloaded {
        /// When to try again.
        retry_in: Duration,
    },
    /// The store failed.
    #[error("the store failed")]
    Store(#[source] Arc<StoreError>),
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Job {
    settlements: Vec<Settlement>,
    reply: oneshot::Sender<Result<Settled, Failure>>,
    _room: OwnedSemaphorePermit,
}

/// Why the store settled nothing.
#[derive(Debug, Clone)]
enum Failure {
    NotFound,
    Store(Arc<StoreError>),
}

impl Broker {
    /// Settles deliveries of a consumer in MODE_QUEUE. Cancelling it may or may not settle them.
    pub async fn settle(&self, principal: &Principal, request: Settle) -> Result<SettleOutcome, SettlementError> {
        let Settle { consumer, settlements } = request;
        if !principal.may_on_consumer(Permission::Consume, &consumer) {
            return Err(SettlementError::Denied { principal: principal.name.clone(), consumer });
        }
        // The name may have been given to another consumer since it was looked up.
        for _ in 0..2 {
            let known =
                self.known_consumer(&consumer).await.map_err(|error| SettlementError::Store(Arc::new(error)))?;
            let Some(known) = known else { break };
            if known.mode == Mode::Ordered {
                return Err(SettlementError::WrongMode { consumer });
            }
            if settlements.is_empty() {
                return Ok(SettleOutcome { failures: Vec::new(), extended: None });
            }
            let dispatcher = self.queues().dispatcher(self, &known, &consumer);
            match dispatcher.settle(settlements.clone()).await? {
                Ok(settled) => return Ok(SettleOutcome::of(&settlements, settled)),
                Err(Failure::NotFound) => self.queues().forget(&consumer),
                Err(Failure::Store(error)) => return Err(SettlementError::Store(error)),
            }
        }
        Err(SettlementError::NotFound { consumer })
    }
}

impl SettleOutcome {
    fn of(settlements: &[Settlement], settled: Settled) -> Self {
        let failed: HashSet<_> = settled.failures.iter().map(|(place, _)| *place).collect();
        let extends = |(place, one): (usize, &Settlement)| one.verdict == Verdict::Extend && !failed.contains(&place);
        let extended = settlements.iter().enumerate().any(extends).then_some(settled.lease);
        let failure = |(place, cause): (usize, Unsettled)| Some((settlements.get(place)?.offset, cause));
        Self { failures: settled.failures.into_iter().filter_map(failure).collect(), extended }
    }
}

impl Dispatcher {
    /// Hands in settlements and waits for their outcome.
    async fn settle(
        self: &Arc<Self>,
        settlements: Vec<Settlement>,
    ) -> Result<Result<Settled, Failure>, SettlementError> {
        let share = u32::try_from(settlements.len().min(SETTLEMENTS)).unwrap_or(u32::MAX);
        let overloaded = || SettlementError::Overloaded { retry_in: ROOM_PATIENCE };
        let room = timeout(ROOM_PATIENCE, self.room.clone().acquire_many_owned(share)).await;
        let room = room.map_err(|_| overloaded())?.map_err(|_| overloaded())?;
        let (reply, answer) = oneshot::channel();
        self.push(Job { settlements, reply, _room: room });
        // A task that ends without an answer was stopped in the middle.
        let stopped = || Failure::Store(Arc::new(StoreError::Unavailable("the settlement was stopped".into())));
        Ok(answer.await.unwrap_or_else(|_| Err(stopped())))
    }

    /// Hands in settlements of the server's own; their outcome is in the log only.
    pub(super) async fn settle_own(self: &Arc<Self>, settlements: Vec<Settlement>) {
        if let Ok(Err(Failure::Store(error))) = self.settle(settlements).await {
            warn!(consumer = %self.name, %error, "deliveries were not settled; their lease runs out");
        }
    }

    /// Carries out the settlements that wait, as many as go together.
    pub(super) async fn settle_waiting(self: &Arc<Self>, looking: &mut Looking) {
        let mut seen = HashSet::new();
        let mut count = 0;
        let jobs = self.take_jobs(|job| {
            let fits = count == 0 || count + job.settlements.len() <= BATCH;
            let new = job.settlements.iter().all(|one| !seen.contains(&(one.lease, one.offset)));
            if fits && new {
                seen.extend(job.settlements.iter().map(|one| (one.lease, one.offset)));
                count += job.settlements.len();
            }
            fits && new
        });
        if jobs.is_empty() {
            return;
        }
        let all: Vec<_> = jobs.iter().flat_map(|job| job.settlements.iter().cloned()).collect();
        let outcome = self.settle_surely(&all).await;
        if let Ok(settled) = &outcome {
            let foreign = self.note(&all, settled);
            let failed: HashSet<_> = settled.failures.iter().map(|(place, _)| *place).collect();
            let ended = |(place, one): (usize, &Settlement)| {
                (one.verdict != Verdict::Extend && !failed.contains(&place)).then_some(one.offset)
            };
            looking.settled(all.iter().enumerate().filter_map(ended), settled.news, foreign);
        }
        let mut first = 0;
        for job in jobs {
            let last = first + job.settlements.len();
            let answer = outcome.clone().map(|settled| {
                let own = settled.failures.into_iter().filter(|(place, _)| (first..last).contains(place));
                Settled { failures: own.map(|(place, cause)| (place - first, cause)).collect(), ..settled }
            });
            first = last;
            // An error means that the caller left.
            let _ = job.reply.send(answer);
        }
    }

    /// Settles through lost connections.
    async fn settle_surely(&self, settlements: &[Settlement]) -> Result<Settled, Failure> {
        let started = Instant::now();
        let mut unknown = false;
        loop {
            let error = match self.broker.store().settle(self.consumer, settlements).await {
                Ok(mut settled) => {
                    if unknown {
                        // By the try before.
                        settled.failures.retain(|(_, cause)| *cause != Unsettled::AlreadySettled);
                    }
                    return Ok(settled);
                }
                Err(SettleError::NotFound) => return Err(Failure::NotFound),
                Err(SettleError::Store(error)) => error,
            };
            unknown |= error.is_uncertain();
            let patience = if unknown { RETRY_UNKNOWN_FOR } else { RETRY_FOR };
            if !error.is_retryable() || started.elapsed() + RETRY_PAUSE > patience {
                return Err(Failure::Store(Arc::new(error)));
            }
            warn!(consumer = %self.name, %error, "deliveries could not be settled; trying again");
            sleep(RETRY_PAUSE).await;
        }
    }

    /// Tells members what was settled of theirs, and counts it; whether some of it is no member's here.
    fn note(&self, settlements: &[Settlement], settled: &Settled) -> bool {
        let failed: HashMap<_, _> = settled.failures.iter().copied().collect();
        let mut leases: HashMap<LeaseId, usize> = HashMap::new();
        let mut verdicts = Verdicts::default();
        for (place, Settlement { lease, verdict, .. }) in settlements.iter().enumerate() {
            verdicts.count(verdict, failed.get(&place).copied());
            if *verdict != Verdict::Extend && !failed.contains_key(&place) {
                *leases.entry(*lease).or_default() += 1;
            }
        }
        verdicts.publish();
        let members = self.members();
        let extends =
            |(place, one): &(usize, &Settlement)| one.verdict == Verdict::Extend && !failed.contains_key(place);
        let extended: HashSet<_> = settlements.iter().enumerate().filter(extends).map(|(_, one)| one.lease).collect();
        for lease in extended {
            let until = tokio::time::Instant::now() + settled.lease;
            members.iter().for_each(|member| member.extended(lease, until));
        }
        let own = |lease, count| members.iter().any(|member| member.settled(lease, count));
        leases.into_iter().fold(false, |foreign, (lease, count)| foreign | !own(lease, count))
    }
}

/// How many deliveries were settled how.
#[derive(Debug, Default)]
struct Verdicts {
    ack: u64,
    nack: u64,
    reject: u64,
    extend: u64,
    failed: u64,
}

impl Verdicts {
    fn count(&mut self, verdict: &Verdict, failure: Option<Unsettled>) {
        let place = match (failure, verdict) {
            (Some(_), _) => &mut self.failed,
            (None, Verdict::Ack) => &mut self.ack,
            (None, Verdict::Nack { .. }) => &mut self.nack,
            (None, Verdict::Reject { .. } | Verdict::Trimmed) => &mut self.reject,
            (None, Verdict::Extend) => &mut self.extend,
        };
        *place += 1;
    }

    fn publish(&self) {
        let Self { ack, nack, reject, extend, failed } = *self;
        let outcomes = [("ack", ack), ("nack", nack), ("dead_letter", reject), ("extend", extend), ("failed", failed)];
        for (outcome, count) in outcomes.into_iter().filter(|(_, count)| *count > 0) {
            counter!(metric::SETTLEMENTS, "outcome" => outcome).increment(count);
        }
    }
}
