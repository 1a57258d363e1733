//! A log that lost its tail: the store's server was replaced by one that lacks the newest events, or was
//! restored from a backup. It is noticed as soon as anything of the log is looked at, and everyone who
//! reads it is told: nobody can say which of the lost events a reader has seen.

use metrics::counter;
use tracing::error;

use super::log::{Losses, State, TopicLog};
use crate::{
    domain::{Incarnation, Offset, ReadCap, Timestamp},
    notify::Cause,
    store::StoreError,
    telemetry::metric,
};

/// What was known of a log's end at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct KnownEnd {
    pub(super) tail: Option<Offset>,
    losses: u64,
}

impl TopicLog {
    /// How often the log was found to have lost its tail.
    pub(super) fn losses(&self) -> Losses {
        self.state.lock().losses
    }

    /// What is known now, for [`lost_tail`](Self::lost_tail).
    pub(super) fn known_end(&self) -> KnownEnd {
        let state = self.state.lock();
        KnownEnd { tail: state.ring.tail(), losses: state.losses.count }
    }

    /// Somebody found that the log ends at `head`. If more was `known` before they looked, it lost its
    /// tail, unless that has been found since: what is in memory by now is the new log. Readers are woken, and
    /// the first one finds out how much is left.
    pub(super) fn lost_tail(&self, known: KnownEnd, head: Offset) {
        let mut state = self.state.lock();
        if known.tail.is_some_and(|tail| tail > head) && known.losses == state.losses.count && !state.suspect {
            state.suspect = true;
            self.context.hub.wake(self.topic, 0, Cause::Poll);
        }
    }

    fn lose(&self, state: &mut State, head: Offset) {
        let tail = state.ring.tail().unwrap_or_default();
        state.forget();
        state.losses = Losses { count: state.losses.count + 1, head };
        counter!(metric::LOGS_SHORTENED).increment(1);
        error!(topic = %self.topic, known_head = %tail, %head, "a log lost its tail: events that were recorded are gone");
        self.context.hub.wake(self.topic, 0, Cause::Poll);
    }

    /// Makes sure that what is in memory is in the log of the server that answers now, and returns that
    /// server's incarnation. It asks only after the server changed, or when somebody found too little.
    pub(super) async fn verify(&self) -> Result<Incarnation, StoreError> {
        loop {
            let incarnation = *self.context.store.incarnation().borrow();
            let (tail, marks, losses) = {
                let mut state = self.state.lock();
                if state.is_verified(incarnation) {
                    return Ok(incarnation);
                }
                let Some(tail) = state.ring.tail() else {
                    (state.verified, state.suspect) = (incarnation, false);
                    return Ok(incarnation);
                };
                let mut marks = state.ring.marks();
                if marks.is_empty() {
                    marks.extend(state.newest);
                }
                (tail, marks, state.losses.count)
            };
            let lost = self.compare(tail, marks).await?;
            if *self.context.store.incarnation().borrow() != incarnation {
                continue;
            }
            let mut state = self.state.lock();
            // Another reader may have been quicker.
            if !state.is_verified(incarnation) && state.losses.count == losses {
                (state.verified, state.suspect) = (incarnation, false);
                if let Some(head) = lost {
                    self.lose(&mut state, head);
                }
            }
        }
    }

    /// Up to where the log is still the one that had these events, if it lost any. Where only some are known,
    /// it says less rather than more.
    async fn compare(&self, tail: Offset, marks: Vec<(Offset, Timestamp)>) -> Result<Option<Offset>, StoreError> {
        let heads = self.context.store.heads(&[self.topic]).await?;
        // A topic that is gone is noticed by the read.
        let Some(bounds) = heads.first().map(|head| head.bounds) else { return Ok(None) };
        // What was trimmed meanwhile cannot be compared, and need not be.
        let marks: Vec<_> = marks.into_iter().filter(|(offset, _)| *offset > bounds.trimmed_to).collect();
        let Some(&newest) = marks.last() else { return Ok((bounds.head < tail).then_some(bounds.head)) };
        if bounds.head >= tail && self.has(newest, bounds.head).await? {
            return Ok(None);
        }
        // Those before `same` are still there; those from `gone` on are not.
        let (mut same, mut gone) = (0, marks.len());
        while same < gone {
            let middle = same.midpoint(gone);
            match marks.get(middle) {
                Some(mark) if self.has(*mark, bounds.head).await? => same = middle + 1,
                Some(_) | None => gone = middle,
            }
        }
        let last = same.checked_sub(1).and_then(|last| marks.get(last));
        Ok(Some(last.map_or(bounds.trimmed_to, |(offset, _)| *offset)))
    }

    /// Whether the log has this event; one that was trimmed since the head was read counts as if it had.
    async fn has(&self, mark: (Offset, Timestamp), head: Offset) -> Result<bool, StoreError> {
        Ok(self.event_at(mark.0).await?.map_or(mark.0 <= head, |found| found == mark))
    }

    /// The event at an offset and when it was recorded; `None` if there is none, or it was trimmed.
    pub(super) async fn event_at(&self, offset: Offset) -> Result<Option<(Offset, Timestamp)>, StoreError> {
        if offset == Offset::ZERO {
            return Ok(None);
        }
        let one = ReadCap { events: 1, bytes: 1 };
        let read = self.context.store.read(self.topic, offset.previous(), one).await?;
        let found = read.and_then(|read| read.segment);
        let found = found.as_ref().and_then(|segment| segment.after(offset.previous()).first());
        Ok(found.filter(|event| event.offset == offset).map(|event| (event.offset, event.recorded_time)))
    }
}

impl State {
    /// Whether what is in memory is known to be in the log of this incarnation.
    pub(super) fn is_verified(&self, incarnation: Incarnation) -> bool {
        self.verified == incarnation && !self.suspect
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use crate::{
        broker::{
            log::{LogContext, TopicLog},
            ring::RingBudget,
            topic_counters::TopicCounters,
        },
        domain::{
            AppendBatch, BatchId, EventBody, NewTopic, Offset, Payload, PendingEvent, SeenHead, Segment, Timestamp,
            TopicId, TopicName,
        },
        notify::Hub,
        shutdown::Shutdown,
        store::{Appended, SharedStore, sqlite::SqliteStore},
    };

    fn events(count: usize) -> Vec<PendingEvent> {
        let body = EventBody {
            r#type: "t".into(),
            key: Default::default(),
            id: Default::default(),
            source: "/s".into(),
            time: None,
            content_type: Default::default(),
            attributes: Default::default(),
            correlation_id: Default::default(),
            causation_id: Default::default(),
            payload: Payload::Text("x".into()),
            producer: Default::default(),
        };
        vec![PendingEvent { body, identity: None }; count]
    }

    /// Appends to the store, and returns what was recorded there.
    async fn append(store: &SharedStore, topic: TopicId, count: usize) -> Arc<Segment> {
        let (id, seen) = (BatchId::random(), SeenHead::default());
        let batch = AppendBatch { id, seen, expected_head: None, events: events(count) };
        match store.append(topic, &batch).await.unwrap() {
            Appended::Stored { first, recorded_time } => {
                Arc::new(Segment::recorded(first, recorded_time, batch.events).unwrap())
            }
            Appended::Known(known) => panic!("no event has an id: {known:?}"),
        }
    }

    #[tokio::test]
    async fn a_loss_is_found_although_more_was_appended_since_than_was_lost() {
        let folder = tempfile::tempdir().unwrap();
        let store: SharedStore = Arc::new(SqliteStore::open(folder.path()).await.unwrap());
        // Labels are the process's: this name is among those that their own test fills them with.
        let name = TopicName::parse("name-0").unwrap();
        let new = NewTopic {
            name: name.clone(),
            description: String::new(),
            retention: None,
            retention_bytes: 0,
            sealed: false,
        };
        let topic = store.create_topic(&new).await.unwrap();
        let context = Arc::new(LogContext {
            store: store.clone(),
            hub: Hub::new(),
            shutdown: Shutdown::default(),
            budget: RingBudget::new(1 << 20, 1 << 20),
            reads: Semaphore::new(1),
            rests: Arc::new(Semaphore::new(1)),
        });
        let log = TopicLog::new(topic.id, topic.log_id, TopicCounters::new(&name), context);

        log.appended(append(&store, topic.id, 20).await, log.clock());
        let time = Timestamp::from_micros(1).unwrap();
        let lost = Segment::recorded(Offset::new(21).unwrap(), time, events(10)).unwrap();
        log.appended(Arc::new(lost), log.clock());
        log.lost_tail(log.known_end(), Offset::new(20).unwrap());
        // Its end is beyond the old one, and the store has it.
        log.appended(append(&store, topic.id, 25).await, log.clock());

        log.verify().await.unwrap();
        assert_eq!((log.losses().count, log.losses().head.get()), (1, 20));
        // Once only: what is in memory from here on is the log that is.
        log.appended(append(&store, topic.id, 1).await, log.clock());
        log.verify().await.unwrap();
        assert_eq!(log.losses().count, 1);
        store.close().await;
    }
}
