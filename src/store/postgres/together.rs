//! Small batches of several topics in one transaction, when more topics are appended to than there are connections.
//!
//! A commit costs the same whether it carries one batch or a hundred. As long as a connection is free, a batch has a
//! commit of its own; those that find none free wait together, and the next free connection takes all of them.

use std::collections::HashSet;

use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, SemaphorePermit, oneshot},
    time::timeout,
};

use super::{
    PostgresStore,
    append::{Columns, size},
    errors::{corrupt, unavailable},
    lane::ACQUIRE_TIMEOUT,
    rows,
};
use crate::{
    domain::{AppendBatch, BatchId, PendingEvent, SeenHead, TopicId},
    store::{AppendError, Appended, StoreError},
};

/// Events of a batch that goes with others, at most: for larger ones, a commit of their own is cheap enough.
const SMALL_EVENTS: usize = 64;
/// Bytes of such a batch.
const SMALL_BYTES: usize = 64 << 10;
/// Topics in one transaction. Parts of arrays are found by walking along them, so that cost grows with the square.
const TOPICS: usize = 256;
/// Events in one transaction.
const EVENTS: usize = 1024;
/// Bytes in one transaction.
const BYTES: usize = 1 << 20;

/// Turns to append, one for each connection, and what waits for one.
#[derive(Debug)]
pub(super) struct Together {
    turns: Semaphore,
    waiting: Mutex<Vec<Waiting>>,
}

/// A small batch that waits.
#[derive(Debug)]
struct Waiting {
    topic: TopicId,
    id: BatchId,
    seen: SeenHead,
    bytes: usize,
    events: Vec<PendingEvent>,
    answer: oneshot::Sender<Answer>,
}

/// What became of it; `None`: nothing, it has to be appended by itself to find out why.
type Answer = Result<Option<Appended>, AppendError>;

impl Together {
    /// As many turns as there are connections.
    pub(super) fn new(connections: u32) -> Self {
        Self { turns: Semaphore::new(connections as usize), waiting: Mutex::default() }
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        match timeout(ACQUIRE_TIMEOUT, self.turns.acquire()).await {
            Ok(turn) => turn.map_err(|_| unavailable("the store is closed")),
            Err(_) => Err(unavailable("all connections for appends are busy")),
        }
    }

    /// Whether a batch waits.
    fn holds(&self, batch: BatchId) -> bool {
        self.waiting.lock().iter().any(|one| one.id == batch)
    }

    /// Takes back a batch that waits; false if it does not any more.
    fn withdraw(&self, batch: BatchId) -> bool {
        let mut waiting = self.waiting.lock();
        let before = waiting.len();
        waiting.retain(|one| one.id != batch);
        waiting.len() < before
    }

    /// Has a batch wait, if it is a small and plain one.
    fn wait(&self, topic: TopicId, batch: &AppendBatch) -> Option<oneshot::Receiver<Answer>> {
        let AppendBatch { id, seen, expected_head, events } = batch;
        let plain = expected_head.is_none() && events.iter().all(|event| event.identity.is_none());
        let bytes = size(events);
        if !plain || events.len() > SMALL_EVENTS || bytes > SMALL_BYTES {
            return None;
        }
        let (answer, receiver) = oneshot::channel();
        let (id, seen, events) = (*id, *seen, events.clone());
        self.waiting.lock().push(Waiting { topic, id, seen, bytes, events, answer });
        Some(receiver)
    }

    /// Takes what waits and may go together, the oldest first: each topic once, and all aimed at the same server.
    fn take(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting.lock();
        let (mut topics, mut events, mut bytes) = (HashSet::new(), 0, 0);
        let incarnation = waiting.first().map(|first| first.seen.incarnation);
        let fits = |one: &mut Waiting| {
            // Whoever left is not asked for any more.
            let goes = !one.answer.is_closed()
                && Some(one.seen.incarnation) == incarnation
                && topics.len() < TOPICS
                && events + one.events.len() <= EVENTS
                && bytes + one.bytes <= BYTES
                && topics.insert(one.topic);
            if goes {
                (events, bytes) = (events + one.events.len(), bytes + one.bytes);
            }
            goes || one.answer.is_closed()
        };
        let mut taken: Vec<_> = waiting.extract_if(.., fits).collect();
        taken.retain(|one| !one.answer.is_closed());
        taken
    }
}

impl PostgresStore {
    /// Appends a batch, alone or with others.
    pub(super) async fn append_in_turn(&self, topic: TopicId, batch: &AppendBatch) -> Result<Appended, AppendError> {
        let together = &*self.together;
        let alone = match together.turns.try_acquire() {
            Ok(turn) => turn,
            Err(_) => {
                if let Some(mut answer) = together.wait(topic, batch)
                    && let Some(appended) = self.append_with_others(batch.id, &mut answer).await?
                {
                    return Ok(appended);
                }
                together.turn().await?
            }
        };
        let appended = self.append_alone(topic, batch).await;
        drop(alone);
        appended
    }

    /// Waits until somebody has appended the batch, and does it for all that wait if it is our turn first.
    async fn append_with_others(&self, batch: BatchId, answer: &mut oneshot::Receiver<Answer>) -> Answer {
        let together = &*self.together;
        loop {
            let turn = tokio::select! {
                biased;
                answered = &mut *answer => return answered.unwrap_or_else(|_| Err(stopped())),
                turn = together.turn() => turn,
            };
            match turn {
                Ok(_turn) if together.holds(batch) => self.append_group(together.take()).await,
                Err(error) if together.withdraw(batch) => return Err(error.into()),
                // Somebody has just taken it; whoever waits behind us serves the rest.
                Ok(_) | Err(_) => break,
            }
        }
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    async fn append_group(&self, group: Vec<Waiting>) {
        match self.append_many(&group).await {
            Ok(Some(appended)) => {
                group.into_iter().zip(appended).for_each(|(one, appended)| answer(one, Ok(appended)));
            }
            Ok(None) => group.into_iter().for_each(|one| answer(one, Err(AppendError::ServerChanged))),
            // One of them may be to blame, and each finds out by itself.
            Err(StoreError::Refused(_) | StoreError::Full(_)) => {
                group.into_iter().for_each(|one| answer(one, Ok(None)));
            }
            Err(StoreError::Unavailable(error)) => fail(group, |said| StoreError::Unavailable(said.into()), &*error),
            Err(StoreError::NotNow(error)) => fail(group, |said| StoreError::NotNow(said.into()), &*error),
            Err(StoreError::Corrupt(what)) => {
                group.into_iter().for_each(|one| answer(one, Err(StoreError::Corrupt(what.clone()).into())));
            }
        }
    }

    /// What became of each batch; `None` if the server is not the one that they are aimed at.
    async fn append_many(&self, group: &[Waiting]) -> Result<Option<Vec<Option<Appended>>>, StoreError> {
        let Some(incarnation) = group.first().map(|one| one.seen.incarnation) else { return Ok(None) };
        let ends = group.iter().scan(0, |end, one| {
            *end += one.events.len();
            i32::try_from(*end).ok()
        });
        let statement = sqlx::query(include_str!("sql/append_many.sql"))
            .bind(group.iter().map(|one| one.topic.0).collect::<Vec<_>>())
            .bind(group.iter().map(|one| one.id.0).collect::<Vec<_>>())
            .bind(group.iter().map(|one| one.seen.head.get()).collect::<Vec<_>>())
            .bind(group.iter().map(|one| i32::try_from(one.bytes).unwrap_or(i32::MAX)).collect::<Vec<_>>())
            .bind(ends.collect::<Vec<_>>());
        let statement = Columns::of(group.iter().flat_map(|one| &one.events)).bind_to(statement);
        let Some(found) = self.appends.all_if("append_many", incarnation, statement).await? else { return Ok(None) };
        let mut appended: Vec<_> = group.iter().map(|_| None).collect();
        for row in &found {
            let place = usize::try_from(rows::get::<i64>(row, "place")? - 1).ok();
            let slot = place.and_then(|place| appended.get_mut(place));
            let slot = slot.ok_or_else(|| corrupt("a batch was appended that was not sent"))?;
            *slot = Some(Appended::Stored {
                first: rows::offset(row, "first_offset")?,
                recorded_time: rows::time(row, "recorded_time")?,
            });
        }
        Ok(Some(appended))
    }
}

fn answer(one: Waiting, answer: Answer) {
    // Whoever has left does not want to know.
    drop(one.answer.send(answer));
}

/// Whoever was appending for us left in the middle.
fn stopped() -> AppendError {
    StoreError::Unavailable("the append was stopped".into()).into()
}

/// Tells each of a group of an error, with its causes.
fn fail(group: Vec<Waiting>, kind: fn(String) -> StoreError, error: &(dyn std::error::Error + 'static)) {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let said = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    group.into_iter().for_each(|one| answer(one, Err(kind(said.clone()).into())));
}
