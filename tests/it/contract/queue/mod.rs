//! What the cases of MODE_QUEUE begin with.

pub(super) mod burying;
pub(super) mod claiming;
pub(super) mod histories;
pub(super) mod losing;
mod model;
pub(super) mod moving;
pub(super) mod releasing;
mod rows;
pub(super) mod settling;
pub(super) mod trimming;
pub(super) mod waiting;
pub(super) mod watching;

use std::time::Duration;

use eventflow::{
    domain::{
        Candidate, Claimed, Consumer, ConsumerChange, DeadLetter, KeyHash, LeaseId, Leased, Mode, NewConsumer, Offset,
        QueueClaim, QueuePolicy, QueueStatus, Release, ServerId, Settled, Settlement, SubscriptionId, Taker, Topic,
        Unsettled, Verdict,
    },
    store::{ClaimError, SharedStore},
};
use uuid::Uuid;

use super::fixtures::{LONG, anonymous, append, at, batch, new_consumer, topic, unique};

/// A consumer in MODE_QUEUE with its topic, and a server that lives.
pub(super) struct Queue {
    store: SharedStore,
    topic: Topic,
    consumer: Consumer,
    server: ServerId,
    /// Of the events of the topic.
    keys: Vec<String>,
}

/// What the cases begin with: nothing ends, or waits, by itself.
fn patient() -> QueuePolicy {
    QueuePolicy { lease: LONG, backoff: vec![Duration::ZERO], max_attempts: 3, max_in_flight: 1000 }
}

fn stream() -> SubscriptionId {
    SubscriptionId(Uuid::new_v4())
}

/// A request of a stream that may have this many deliveries.
fn taker(stream: SubscriptionId, max: usize) -> Taker {
    Taker { token: Uuid::new_v4(), stream: Some(stream), max }
}

fn nack(error: &str) -> Verdict {
    Verdict::Nack { error: error.into(), delay: Some(Duration::ZERO) }
}

fn reject(error: &str) -> Verdict {
    Verdict::Reject { error: error.into() }
}

/// The offsets of a lease.
fn leased(lease: &Leased) -> Vec<i64> {
    lease.deliveries.iter().map(|delivery| delivery.offset.get()).collect()
}

/// The offsets and attempts of a lease.
fn attempts(lease: &Leased) -> Vec<(i64, u32)> {
    lease.deliveries.iter().map(|delivery| (delivery.offset.get(), delivery.number)).collect()
}

impl Queue {
    /// One of its own, whose topic has events with these keys; an empty one is none.
    async fn new(store: &SharedStore, policy: QueuePolicy, keys: &[&str]) -> Self {
        let topic = topic(store).await;
        let new = new_consumer(&topic, &unique("queue"));
        let new = NewConsumer { mode: Mode::Queue, queue: policy, ..new };
        let consumer = store.register_consumer(&new, topic.id, Offset::ZERO).await.unwrap();
        let server = ServerId(Uuid::new_v4());
        store.beat(server, "10.0.0.1:50051", "1", LONG).await.unwrap();
        let mut queue = Self { store: store.clone(), topic, consumer, server, keys: Vec::new() };
        queue.publish(keys).await;
        queue
    }

    /// One whose topic has this many events without keys.
    async fn of(store: &SharedStore, policy: QueuePolicy, events: usize) -> Self {
        Self::new(store, policy, &vec![""; events]).await
    }

    async fn publish(&mut self, keys: &[&str]) {
        if keys.is_empty() {
            return;
        }
        let events = keys.iter().map(|key| {
            let mut event = anonymous("{}");
            event.body.key = (*key).into();
            event
        });
        append(&self.store, self.topic.id, &batch(events.collect())).await;
        self.keys.extend(keys.iter().map(|key| (*key).to_owned()));
    }

    fn head(&self) -> Offset {
        Offset::ZERO.plus(self.keys.len())
    }

    /// A claim with everything in the log as candidates.
    fn request(&self, takers: Vec<Taker>) -> QueueClaim {
        let candidate = |(place, key): (usize, &String)| Candidate {
            offset: Offset::ZERO.next().plus(place),
            key: KeyHash::of(key),
        };
        QueueClaim {
            consumer: self.consumer.id,
            revision: self.consumer.revision,
            server: self.server,
            up_to: self.head(),
            after: Offset::ZERO,
            candidates: self.keys.iter().enumerate().map(candidate).collect(),
            known: None,
            takers,
            repeated: false,
            note: false,
        }
    }

    async fn try_claim(&self, takers: Vec<Taker>) -> Result<Claimed, ClaimError> {
        self.store.claim(&self.request(takers)).await
    }

    async fn claim(&self, takers: Vec<Taker>) -> Claimed {
        self.try_claim(takers).await.unwrap()
    }

    /// What a stream gets; there must be something.
    async fn take(&self, stream: SubscriptionId, max: usize) -> Leased {
        let mut claimed = self.claim(vec![taker(stream, max)]).await;
        assert_eq!(claimed.leases.len(), 1, "{claimed:?}");
        claimed.leases.remove(0)
    }

    /// What a new stream would get: nothing.
    async fn is_quiet(&self) -> Claimed {
        let claimed = self.claim(vec![taker(stream(), 1000)]).await;
        assert_eq!(claimed.leases, []);
        claimed
    }

    async fn settle(&self, lease: LeaseId, verdicts: &[(i64, Verdict)]) -> Settled {
        let settlement =
            |(offset, verdict): &(i64, Verdict)| Settlement { lease, offset: at(*offset), verdict: verdict.clone() };
        let settlements: Vec<_> = verdicts.iter().map(settlement).collect();
        self.store.settle(self.consumer.id, &settlements).await.unwrap()
    }

    /// Gives all deliveries of a lease one verdict, which must stand.
    async fn settle_all(&self, lease: &Leased, verdict: Verdict) -> Settled {
        let verdicts: Vec<_> = leased(lease).into_iter().map(|offset| (offset, verdict.clone())).collect();
        let settled = self.settle(lease.lease, &verdicts).await;
        assert_eq!(settled.failures, [], "of {lease:?}");
        settled
    }

    async fn ack(&self, lease: &Leased) -> Settled {
        self.settle_all(lease, Verdict::Ack).await
    }

    /// Why the first delivery of a lease cannot be settled any more.
    async fn refusal(&self, lease: &Leased) -> Unsettled {
        let settled = self.settle(lease.lease, &[(leased(lease)[0], Verdict::Ack)]).await;
        settled.failures[0].1
    }

    async fn release(&self, stream: SubscriptionId, unsent: &[(LeaseId, i64)], keep: bool) -> bool {
        let unsent = unsent.iter().map(|(lease, offset)| (*lease, at(*offset))).collect();
        self.store.release(&Release { consumer: self.consumer.id, stream, unsent, keep }).await.unwrap()
    }

    async fn status(&self) -> QueueStatus {
        self.store.queue_status(&[self.consumer.id]).await.unwrap()[0]
    }

    async fn position(&self) -> i64 {
        self.status().await.position.get()
    }

    async fn dead_letters(&self) -> Vec<DeadLetter> {
        self.store.dead_letters(self.consumer.id, Offset::ZERO, 1000).await.unwrap()
    }

    /// The offsets of its dead letters.
    async fn dead(&self) -> Vec<i64> {
        self.dead_letters().await.iter().map(|dead| dead.offset.get()).collect()
    }

    async fn change(&mut self, change: ConsumerChange) {
        self.consumer = self.store.update_consumer(&self.consumer.settings.name, &change).await.unwrap().unwrap();
    }

    /// From now on leases last so long.
    async fn last_for(&mut self, lease: Duration) {
        self.change(ConsumerChange { lease: Some(lease), ..ConsumerChange::default() }).await;
    }

    async fn seek(&mut self, offset: i64) {
        self.consumer = self.store.seek_consumer(self.consumer.id, at(offset)).await.unwrap().unwrap();
    }

    async fn stored(&self) -> Consumer {
        self.store.find_consumer(&self.consumer.settings.name).await.unwrap().unwrap()
    }
}
