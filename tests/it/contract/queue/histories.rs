//! Random histories, against a plain model: nothing is lost, delivered twice at once, or out of its key's order.

use eventflow::{
    domain::{
        DeadLetters, KeyView, LeaseId, QueueClaim, QueuePolicy, ServerId, Settlement, SubscriptionId, Taker, Verdict,
    },
    store::{ClaimError, SharedStore},
};
use uuid::Uuid;

use super::{
    super::fixtures::{LONG, SHORT, at, moment},
    Queue,
    model::{MAX_ATTEMPTS, MAX_IN_FLIGHT, Model},
    nack, patient, reject, stream, taker,
};
use crate::chance::Chance;

const STEPS: usize = 300;
const KEYS: [&str; 4] = ["", "a", "b", "c"];

/// A store beside its model.
struct History {
    queue: Queue,
    model: Model,
    chance: Chance,
    streams: Vec<(SubscriptionId, usize)>,
    /// Every delivery that there ever was.
    delivered: Vec<(LeaseId, i64)>,
    /// Events whose offset leaves this rest by 4 do not pass the filter.
    left_out: i64,
    paused: bool,
    position: i64,
    /// What a server would know, as long as nothing happens that it would not.
    view: KeyView,
}

pub(in super::super) async fn random_histories_keep_the_contract(store: SharedStore) {
    let policy = QueuePolicy { max_attempts: MAX_ATTEMPTS, max_in_flight: MAX_IN_FLIGHT as u32, ..patient() };
    let queue = Queue::new(&store, policy, &[]).await;
    let mut history = History {
        model: Model::new(queue.server),
        queue,
        chance: Chance::printed(),
        streams: [1, 3, 9].map(|max| (stream(), max)).into(),
        delivered: Vec::new(),
        left_out: 9,
        paused: false,
        position: 0,
        view: KeyView::default(),
    };
    for _ in 0..STEPS {
        history.step().await;
        history.agree().await;
    }
    history.drain().await;
}

impl History {
    fn upto(&mut self, end: usize) -> usize {
        self.chance.number(0..end as u64) as usize
    }

    /// A few of these, in order.
    fn some<T: Clone>(&mut self, all: &[T]) -> Vec<T> {
        all.iter().filter(|_| self.chance.number(0..2) == 0).cloned().collect()
    }

    async fn step(&mut self) {
        if self.paused && self.upto(3) == 0 {
            return self.pause().await;
        }
        let step = self.upto(60);
        if step >= 42 {
            self.view.forget();
        }
        match step {
            0..11 => self.publish().await,
            11..28 => self.claim().await,
            28..42 => self.settle().await,
            42..46 => self.release().await,
            46 => self.crash().await,
            47..50 => self.claim_and_lose().await,
            50..52 => self.trim().await,
            52 => self.seek().await,
            53..57 => self.redrive().await,
            57 => self.discard().await,
            58 => self.change().await,
            _ => self.pause().await,
        }
    }

    /// What people see is what the model says.
    async fn agree(&mut self) {
        let status = self.queue.status().await;
        let found = (status.position.get(), status.in_flight as usize, status.retrying as usize);
        assert_eq!(found, self.model.status(), "position, in flight, retrying: {:?}", self.model);
        assert!(found.0 >= self.position, "the position went back from {} to {}", self.position, found.0);
        self.position = found.0;
        let dead = self.queue.dead_letters().await;
        let dead: Vec<_> = dead.iter().map(|dead| (dead.offset.get(), (dead.attempts, dead.cause))).collect();
        assert_eq!(dead, self.model.dead.clone().into_iter().collect::<Vec<_>>());
        assert_eq!(status.dead_letters as usize, dead.len());
        assert_eq!(self.queue.stored().await.trimmed_events.cast_signed(), self.model.trimmed_events);
    }

    async fn publish(&mut self) {
        let count = 1 + self.upto(6);
        let keys: Vec<_> = (0..count).map(|_| KEYS[self.upto(KEYS.len())]).collect();
        self.queue.publish(&keys).await;
        self.model.keys.clone_from(&self.queue.keys);
    }

    fn takers(&mut self) -> Vec<Taker> {
        let mut streams = self.streams.clone();
        let (first, wanted) = (self.upto(streams.len()), self.upto(streams.len() + 1));
        streams.rotate_left(first);
        streams.truncate(wanted);
        streams.into_iter().map(|(stream, max)| taker(stream, max)).collect()
    }

    fn request(&mut self, takers: Vec<Taker>) -> QueueClaim {
        let after = self.model.dispatched.min(self.queue.head().get());
        let mut request = self.queue.request(takers);
        request.note = self.chance.number(0..2) == 0;
        let known = self.chance.number(0..4) > 0;
        request.after = at(if known { after } else { self.chance.number(0..after as u64 + 1) as i64 });
        let (from, left_out) = (request.after, self.left_out);
        request.candidates.retain(|candidate| candidate.offset > from && candidate.offset.get() % 4 != left_out);
        request.known = known.then(|| self.view.known(&request.candidates)).flatten();
        request
    }

    /// Claims, sometimes twice, as after a lost reply. The ids of the leases.
    async fn claim_for(&mut self, takers: Vec<Taker>) -> Vec<LeaseId> {
        let request = self.request(takers);
        let left_out = self.left_out;
        self.model.expire();
        self.model.skip_trimmed();
        let first = match self.queue.store.claim(&request).await {
            Ok(claimed) if !self.paused => claimed,
            Err(ClaimError::Paused) if self.paused => return Vec::new(),
            other => panic!("{other:?}, paused: {}", self.paused),
        };
        self.model.claim(&request.takers, &first, |offset| offset % 4 != left_out);
        if self.chance.number(0..5) > 0 {
            self.view.claimed(&request, &first);
        }
        for lease in &first.leases {
            self.delivered.extend(lease.deliveries.iter().map(|delivery| (lease.lease, delivery.offset.get())));
        }
        if !first.leases.is_empty() && self.chance.number(0..4) == 0 {
            let mut again = self.queue.store.claim(&QueueClaim { repeated: true, ..request }).await.unwrap();
            let mut leases = first.leases.clone();
            leases.sort_by_key(|lease| lease.lease);
            again.leases.sort_by_key(|lease| lease.lease);
            let found: Vec<_> =
                again.leases.iter().map(|lease| (lease.lease, lease.alone, &lease.deliveries)).collect();
            let given: Vec<_> = leases.iter().map(|lease| (lease.lease, lease.alone, &lease.deliveries)).collect();
            assert_eq!((found, again.in_flight), (given, first.in_flight));
        }
        first.leases.iter().map(|lease| lease.lease).collect()
    }

    async fn claim(&mut self) {
        let takers = self.takers();
        self.claim_for(takers).await;
    }

    /// What is leased now is over before it is settled.
    async fn claim_and_lose(&mut self) {
        self.queue.last_for(SHORT).await;
        let takers = self.takers();
        // A repeated claim could come too late.
        let request = self.request(takers);
        let left_out = self.left_out;
        self.model.expire();
        self.model.skip_trimmed();
        let claimed = self.queue.store.claim(&request).await;
        self.queue.last_for(LONG).await;
        let Ok(claimed) = claimed else { return assert!(self.paused) };
        self.model.claim(&request.takers, &claimed, |offset| offset % 4 != left_out);
        moment().await;
        let ids: Vec<_> = claimed.leases.iter().map(|lease| lease.lease).collect();
        self.model.end(&ids);
        for lease in &claimed.leases {
            self.delivered.extend(lease.deliveries.iter().map(|delivery| (lease.lease, delivery.offset.get())));
        }
    }

    async fn settle(&mut self) {
        let recent = self.delivered.len().saturating_sub(30);
        let mut chosen = self.delivered[recent..].to_vec();
        chosen = self.some(&chosen);
        if !self.delivered.is_empty() {
            let any = self.upto(self.delivered.len());
            chosen.push(self.delivered[any]);
        }
        chosen.sort_unstable();
        chosen.dedup();
        let settlements: Vec<_> = chosen
            .into_iter()
            .map(|(lease, offset)| Settlement {
                lease,
                offset: at(offset),
                verdict: match self.upto(20) {
                    0..8 => Verdict::Ack,
                    8..13 => nack("no"),
                    13..18 => reject("bad"),
                    18 => Verdict::Extend,
                    _ => Verdict::Trimmed,
                },
            })
            .collect();
        self.model.expire();
        let mut expected = Vec::new();
        for (place, one) in settlements.iter().enumerate() {
            let outcome = self.model.settle(one.lease, one.offset.get(), &one.verdict);
            expected.extend(outcome.err().map(|cause| (place, cause)));
        }
        let settled = self.queue.store.settle(self.queue.consumer.id, &settlements).await.unwrap();
        let failed: Vec<_> = settled.failures.iter().map(|(place, _)| *place).collect();
        for (place, one) in settlements.iter().enumerate() {
            if one.verdict != Verdict::Extend && !failed.contains(&place) {
                self.view.settled(one.offset);
            }
        }
        assert_eq!((settled.failures, settled.lease), (expected, LONG), "of {settlements:?}");
    }

    async fn release(&mut self) {
        let place = self.upto(self.streams.len());
        let (gone, max) = self.streams[place];
        let recent = self.delivered[self.delivered.len().saturating_sub(30)..].to_vec();
        let (unsent, keep) = (self.some(&recent), self.chance.number(0..2) == 0);
        let back = self.queue.release(gone, &unsent, keep).await;
        assert_eq!(back, self.model.release(gone, &unsent, keep));
        self.streams[place] = (stream(), max);
    }

    /// The server ends; its streams go on at another one.
    async fn crash(&mut self) {
        self.queue.store.leave(self.queue.server).await.unwrap();
        self.queue.server = ServerId(Uuid::new_v4());
        self.queue.store.beat(self.queue.server, "10.0.0.2:50051", "1", LONG).await.unwrap();
        self.model.server = Some(self.queue.server);
        for (stream, _) in &mut self.streams {
            *stream = SubscriptionId(Uuid::new_v4());
        }
    }

    async fn trim(&mut self) {
        let head = self.queue.head().get();
        let up_to = self.model.trimmed_to + self.chance.number(0..9) as i64;
        let bounds = self.queue.store.trim(self.queue.topic.id, at(up_to.min(head))).await.unwrap().unwrap();
        self.model.trimmed_to = bounds.trimmed_to.get();
    }

    async fn seek(&mut self) {
        let head = self.queue.head().get();
        // Mostly not far, so that not everything happens to few events.
        let to = (self.position + self.chance.number(0..20) as i64 - 14).clamp(self.model.trimmed_to.min(head), head);
        self.queue.seek(to).await;
        self.model.seek(to);
        self.position = to;
    }

    /// Dead letters, and the limit for a call.
    fn choose(&mut self) -> (DeadLetters, Vec<i64>, usize) {
        let kept = self.model.trimmed_to;
        let all: Vec<_> = self.model.dead.keys().copied().filter(|offset| *offset > kept).collect();
        let mut chosen = self.some(&all);
        let which = DeadLetters::Of(chosen.iter().map(|offset| at(*offset)).collect());
        let limit = self.upto(6);
        chosen.truncate(limit);
        (which, chosen, limit)
    }

    async fn redrive(&mut self) {
        let (which, chosen, limit) = self.choose();
        let moved = self.queue.store.redrive(self.queue.consumer.id, &which, limit, false).await.unwrap();
        assert_eq!(moved.changed as usize, chosen.len());
        self.model.redrive(&chosen);
    }

    async fn discard(&mut self) {
        let (which, chosen, limit) = self.choose();
        let moved = self.queue.store.discard(self.queue.consumer.id, &which, limit, false).await.unwrap();
        assert_eq!(moved.changed as usize, chosen.len());
        self.model.dead.retain(|offset, _| !chosen.contains(offset));
    }

    /// Another filter: the claim of a server that does not know of it is refused.
    async fn change(&mut self) {
        let old = self.queue.request(vec![]);
        self.queue.last_for(LONG).await;
        let refused = self.queue.store.claim(&old).await;
        assert!(matches!(refused, Err(ClaimError::Changed)), "{refused:?}");
        self.model.expire();
        self.model.skip_trimmed();
        self.left_out = self.upto(8) as i64;
    }

    async fn pause(&mut self) {
        self.paused = !self.paused;
        self.queue.store.pause_consumer(&self.queue.consumer.settings.name, self.paused).await.unwrap();
    }

    /// Everything is delivered and done at last.
    async fn drain(&mut self) {
        if self.paused {
            self.pause().await;
        }
        self.crash().await;
        self.queue.settle(LeaseId(0), &[]).await;
        self.model.expire();
        for _ in 0..2000 {
            let (model, mut settlements) = (&mut self.model, Vec::new());
            for (lease, offset) in &self.delivered {
                if model.is_open(*lease, *offset) {
                    model.settle(*lease, *offset, &Verdict::Ack).unwrap();
                    settlements.push(Settlement { lease: *lease, offset: at(*offset), verdict: Verdict::Ack });
                }
            }
            let settled = self.queue.store.settle(self.queue.consumer.id, &settlements).await.unwrap();
            assert_eq!(settled.failures, []);
            self.view.forget();
            let takers = self.streams.iter().map(|(stream, max)| taker(*stream, *max)).collect();
            if self.claim_for(takers).await.is_empty() {
                break;
            }
        }
        let noted = QueueClaim { note: true, ..self.request(vec![taker(stream(), 9)]) };
        let claimed = self.queue.store.claim(&noted).await.unwrap();
        assert_eq!((claimed.leases.len(), claimed.dispatched), (0, self.queue.head()));
        self.model.dispatched = claimed.dispatched.get();
        self.agree().await;
        let (position, in_flight, retrying) = self.model.status();
        assert_eq!((position, in_flight, retrying), (self.queue.head().get(), 0, 0), "{:?}", self.model);
    }
}
