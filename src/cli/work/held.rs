//! Deliveries that are leased to this process, and how long.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use crate::proto::v1::{DeliveryBatch, Event};

/// Names a delivery in Settle.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Id {
    /// The lease.
    pub(super) lease: Arc<str>,
    /// The event.
    pub(super) offset: i64,
}

/// A delivery to be worked on.
#[derive(Debug, Clone)]
pub(super) struct Job {
    /// Its name.
    pub(super) id: Id,
    /// How often the event may have been sent.
    pub(super) attempt: i32,
    /// The event.
    pub(super) event: Event,
}

/// Everything that is held and not settled.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Not begun.
    waiting: VecDeque<Job>,
    /// Begun and not ended: the event and its key.
    running: HashMap<Id, String>,
    /// When to ask for more time for what waits or runs.
    renew_at: HashMap<Id, Instant>,
}

impl Held {
    /// Takes in what a frame brought.
    pub(super) fn take(&mut self, batch: DeliveryBatch, received: Instant) {
        let DeliveryBatch { lease_id, lease_remaining, deliveries } = batch;
        let lease: Arc<str> = lease_id.into();
        let renew_at = received + half(lease_remaining.as_ref());
        for delivery in deliveries {
            let event = delivery.event.unwrap_or_default();
            let id = Id { lease: lease.clone(), offset: event.offset };
            self.renew_at.insert(id.clone(), renew_at);
            self.waiting.push_back(Job { id, attempt: delivery.attempt, event });
        }
    }

    /// The next one to begin, whose event and key are not under way here: after a lost lease they may come again.
    pub(super) fn begin(&mut self) -> Option<Job> {
        let running = &self.running;
        let is_free = |job: &Job| {
            let key = &job.event.key;
            running.iter().all(|(id, busy)| id.offset != job.id.offset && (key.is_empty() || busy != key))
        };
        let place = self.waiting.iter().position(is_free)?;
        let job = self.waiting.remove(place)?;
        self.running.insert(job.id.clone(), job.event.key.clone());
        Some(job)
    }

    /// Its command has ended.
    pub(super) fn ended(&mut self, id: &Id) {
        self.running.remove(id);
        self.renew_at.remove(id);
    }

    /// So many commands run.
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// Forgets what was not begun, which the end of the stream gives back.
    pub(super) fn leave_rest(&mut self) {
        for job in self.waiting.drain(..) {
            self.renew_at.remove(&job.id);
        }
    }

    /// The connection broke or the server has ended the stream: whatever is still leased needs its time from now on.
    pub(super) fn renew_all(&mut self, now: Instant) {
        self.renew_at.values_mut().for_each(|at| *at = now);
    }

    /// What needs more time now.
    pub(super) fn due(&self, now: Instant) -> Vec<Id> {
        self.renew_at.iter().filter(|(_, at)| **at <= now).map(|(id, _)| id.clone()).collect()
    }

    /// When something needs more time.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.renew_at.values().min().copied()
    }

    /// It got more time at this moment.
    pub(super) fn renewed(&mut self, id: &Id, asked: Instant, remaining: Option<&prost_types::Duration>) {
        if let Some(at) = self.renew_at.get_mut(id) {
            *at = asked + half(remaining);
        }
    }

    /// It is leased no more: one that waits is not begun, one that runs is not renewed.
    pub(super) fn lost(&mut self, id: &Id) {
        self.renew_at.remove(id);
        self.waiting.retain(|job| job.id != *id);
    }
}

/// Half of what is left of a lease.
fn half(remaining: Option<&prost_types::Duration>) -> Duration {
    let length = remaining
        .and_then(|length| Some(Duration::new(u64::try_from(length.seconds).ok()?, u32::try_from(length.nanos).ok()?)));
    length.unwrap_or_default() / 2
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{DeliveryBatch, Event, Held};
    use crate::proto::v1::Delivery;

    fn batch(lease: &str, events: &[(i64, &str)]) -> DeliveryBatch {
        let delivery = |&(offset, key): &(i64, &str)| {
            let event = Some(Event { offset, key: key.to_owned(), ..Event::default() });
            Delivery { event, attempt: 1 }
        };
        let lease_remaining = Some(prost_types::Duration { seconds: 10, nanos: 0 });
        let deliveries = events.iter().map(delivery).collect();
        DeliveryBatch { lease_id: lease.to_owned(), lease_remaining, deliveries }
    }

    #[test]
    fn an_event_or_key_that_runs_is_not_begun_a_second_time() {
        let (mut held, now) = (Held::default(), Instant::now());
        held.take(batch("1", &[(1, "a")]), now);
        let first = held.begin().expect("free").id;
        held.take(batch("2", &[(1, "a"), (2, "a"), (3, ""), (4, "")]), now);
        let begun: Vec<_> = std::iter::from_fn(|| held.begin()).map(|job| job.id.offset).collect();
        assert_eq!(begun, [3, 4]);
        held.ended(&first);
        assert_eq!(held.begin().map(|job| (job.id.offset, &*job.id.lease == "2")), Some((1, true)));
        assert!(held.begin().is_none(), "2 has the key of 1");
    }

    #[test]
    fn time_is_asked_for_when_half_of_it_is_over() {
        let (mut held, now) = (Held::default(), Instant::now());
        held.take(batch("1", &[(1, ""), (2, "")]), now);
        assert!(held.due(now + Duration::from_millis(4900)).is_empty());
        let later = now + Duration::from_secs(5);
        assert_eq!(held.due(later).len(), 2);
        let id = held.begin().expect("free").id;
        held.renewed(&id, later, Some(&prost_types::Duration { seconds: 10, nanos: 0 }));
        assert_eq!(held.due(later).iter().map(|id| id.offset).collect::<Vec<_>>(), [2]);
        let other = held.due(later).remove(0);
        held.lost(&other);
        assert!(held.begin().is_none(), "a lost one is begun");
        assert_eq!(held.due_at(), Some(later + Duration::from_secs(5)));
    }
}
