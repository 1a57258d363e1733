//! One append, carried through lost connections, refused connections, and servers that changed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use metrics::{counter, histogram};
use tokio::time::sleep;
use tracing::warn;

use super::{
    appender::{Appender, Seen},
    publish::Refusal,
    shortened::KnownEnd,
};
use crate::{
    domain::{AppendBatch, Offset, SeenHead},
    store::{AppendError, Appended, StoreError},
    telemetry::metric,
};

/// A head known for longer is read anew before it bounds the search for a batch.
const SEEN_AGE: Duration = Duration::from_secs(10);
/// How long an append whose outcome is unknown is repeated: only the server can find out safely.
const RETRY_FOR: Duration = Duration::from_secs(30);
/// Pause before the first repetition; it doubles up to [`RETRY_PAUSE_MAX`].
const RETRY_PAUSE: Duration = Duration::from_millis(20);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Where a batch is aimed at.
#[derive(Default)]
struct Aim {
    /// The head of the server that it is sent to; `None`: to be read.
    seen: Option<SeenHead>,
    /// The lowest head at which it was sent so far: it is nowhere before it.
    floor: Option<Offset>,
}

/// Why one attempt failed.
enum Failure {
    /// For good.
    Refused(Refusal),
    /// Another attempt may succeed; whether this one did is known or not.
    Store { error: StoreError, uncertain: bool },
}

impl Appender {
    /// Appends a batch, from a head that was seen if it is still good.
    ///
    /// While the outcome is unknown, the same batch is sent again for up to 30 s, and then it is
    /// [`Refusal::OutcomeUnknown`]. While it is certain that nothing was stored, the caller can repeat as
    /// well as we can, and is told after the time that requests may wait for room.
    pub(super) async fn append_surely(&self, batch: &mut AppendBatch, seen: Option<Seen>) -> Result<Appended, Refusal> {
        let started = Instant::now();
        let mut pause = RETRY_PAUSE;
        let mut unknown = false;
        let seen = seen.filter(|seen| seen.at.elapsed() < SEEN_AGE).map(|seen| seen.head);
        let mut aim = Aim { seen, floor: None };
        loop {
            let (error, uncertain) = match self.attempt(batch, &mut aim, unknown).await {
                Ok(appended) => {
                    counter!(metric::APPENDS).increment(1);
                    histogram!(metric::APPEND_SECONDS).record(started.elapsed());
                    histogram!(metric::APPEND_EVENTS).record(batch.events.len() as f64);
                    return Ok(appended);
                }
                Err(Failure::Refused(refusal)) => return Err(refusal),
                Err(Failure::Store { error, uncertain }) => (error, uncertain),
            };
            unknown |= uncertain;
            let patience = if unknown { RETRY_FOR } else { self.context.queue_timeout };
            if !error.is_retryable() || started.elapsed() + pause > patience {
                // The last error says nothing about an earlier attempt, which may have been recorded.
                let refusal = if unknown { Refusal::OutcomeUnknown } else { Refusal::Failed };
                return Err(refusal(Arc::new(error)));
            }
            let retry_ms = pause.as_millis();
            match unknown {
                true => {
                    counter!(metric::APPEND_RETRIES).increment(1);
                    warn!(topic = %self.topic, %error, retry_ms, "an append's outcome is unknown; sending the batch again");
                }
                false => warn!(topic = %self.topic, %error, retry_ms, "an append was not possible; trying again"),
            }
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }

    /// Sends the batch once to the server that the head was read from, reading it anew as needed. `unknown`:
    /// an attempt before may have stored it.
    async fn attempt(&self, batch: &mut AppendBatch, aim: &mut Aim, unknown: bool) -> Result<Appended, Failure> {
        loop {
            let now = match aim.seen {
                Some(seen) => seen,
                None => self.look().await?,
            };
            let floor = aim.floor.map_or(now.head, |floor| floor.min(now.head));
            *aim = Aim { seen: Some(now), floor: Some(floor) };
            batch.seen = SeenHead { head: floor, ..now };
            let known = self.log.known_end();
            let error = match self.context.store.append(self.topic, batch).await {
                Ok(appended) => {
                    self.notice(known, batch.seen, &appended);
                    return Ok(appended);
                }
                Err(AppendError::ServerChanged) => {
                    aim.seen = None;
                    continue;
                }
                // This process stood still for long. What was never sent can be aimed anew.
                Err(AppendError::Forgotten) if !unknown => {
                    *aim = Aim::default();
                    continue;
                }
                Err(AppendError::Forgotten) => {
                    Refusal::OutcomeUnknown(Arc::new(StoreError::Unavailable("it was packed meanwhile".into())))
                }
                Err(AppendError::TopicNotFound) => Refusal::TopicNotFound,
                Err(AppendError::TopicSealed) => Refusal::TopicSealed,
                Err(AppendError::HeadMoved { head }) => Refusal::HeadMoved { head },
                Err(AppendError::Store(error)) => {
                    let uncertain = error.is_uncertain();
                    return Err(Failure::Store { error, uncertain });
                }
            };
            return Err(Failure::Refused(error));
        }
    }

    /// The head now, on the server that answers now. If that one has less than was seen before, the log
    /// lost its tail.
    async fn look(&self) -> Result<SeenHead, Failure> {
        let store = &self.context.store;
        let failed = |error| Failure::Store { error, uncertain: false };
        loop {
            let (incarnation, at, known) = (*store.incarnation().borrow(), Instant::now(), self.log.known_end());
            let heads = store.heads(&[self.topic]).await.map_err(failed)?;
            let gone = Failure::Refused(Refusal::TopicNotFound);
            let head = heads.first().ok_or(gone)?.bounds.head;
            if *store.incarnation().borrow() != incarnation {
                continue;
            }
            self.log.lost_tail(known, head);
            let head = SeenHead { head, incarnation };
            self.see(Seen { head, at });
            return Ok(head);
        }
    }

    /// A batch never lies at or below a head that its own server showed before: there, others' events were.
    fn notice(&self, known: KnownEnd, seen: SeenHead, appended: &Appended) {
        if let Appended::Stored { first, .. } = appended
            && *first <= seen.head
        {
            self.log.lost_tail(known, first.previous());
        }
    }
}
