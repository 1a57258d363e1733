//! What a consumer in MODE_QUEUE does, as plainly as it can be said: a map of what is not settled.

use std::collections::{BTreeMap, HashMap};

use eventflow::domain::{Claimed, DeadCause, LeaseId, Leased, ServerId, SubscriptionId, Taker, Unsettled, Verdict};

pub(super) const MAX_ATTEMPTS: u32 = 3;
pub(super) const MAX_IN_FLIGHT: usize = 12;

/// An event that was dispatched and is not settled.
#[derive(Debug)]
struct Event {
    attempts: u32,
    alone: bool,
    redriven: bool,
    lease: Option<LeaseId>,
}

#[derive(Debug)]
struct Lease {
    stream: SubscriptionId,
    server: Option<ServerId>,
    alone: bool,
    /// Its time is over.
    over: bool,
}

/// A consumer, and what became of its events.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// Of the events of the topic.
    pub(super) keys: Vec<String>,
    pub(super) dispatched: i64,
    pub(super) trimmed_to: i64,
    skipped_to: i64,
    pub(super) trimmed_events: i64,
    unsettled: BTreeMap<i64, Event>,
    pub(super) dead: BTreeMap<i64, (u32, DeadCause)>,
    leases: HashMap<LeaseId, Lease>,
    /// What leases had, and have no more.
    gone: HashMap<(LeaseId, i64), Unsettled>,
    /// The server that lives.
    pub(super) server: Option<ServerId>,
}

impl Model {
    /// One whose topic is empty, with the server that lives.
    pub(super) fn new(server: ServerId) -> Self {
        Self { server: Some(server), ..Self::default() }
    }

    fn key(&self, offset: i64) -> &str {
        &self.keys[usize::try_from(offset).unwrap() - 1]
    }

    /// It is not the lowest unsettled one of its key, or one of its key is leased.
    fn is_blocked(&self, offset: i64) -> bool {
        let key = self.key(offset);
        let blocks = |(other, event): (&i64, &Event)| {
            *other != offset && self.key(*other) == key && (*other < offset || event.lease.is_some())
        };
        !key.is_empty() && self.unsettled.iter().any(blocks)
    }

    fn is_over(&self, event: &Event) -> bool {
        event.lease.is_some_and(|id| {
            let lease = &self.leases[&id];
            lease.over || lease.server.is_some_and(|server| Some(server) != self.server)
        })
    }

    /// Position, leased, retrying.
    pub(super) fn status(&self) -> (i64, usize, usize) {
        let lowest = self.unsettled.iter().find(|(_, event)| !event.redriven).map(|(offset, _)| offset - 1);
        let over = self.unsettled.values().filter(|event| self.is_over(event)).count();
        let leased = self.unsettled.values().filter(|event| event.lease.is_some()).count();
        let failed = self.unsettled.values().filter(|event| event.lease.is_none() && event.attempts > 0).count();
        (lowest.unwrap_or(self.dispatched), leased - over, failed + over)
    }

    pub(super) fn is_open(&self, lease: LeaseId, offset: i64) -> bool {
        self.unsettled.get(&offset).is_some_and(|event| event.lease == Some(lease))
    }

    fn open_of(&self, stream: SubscriptionId) -> Vec<i64> {
        let of = |event: &Event| event.lease.is_some_and(|lease| self.leases[&lease].stream == stream);
        self.unsettled.iter().filter(|(_, event)| of(event)).map(|(offset, _)| *offset).collect()
    }

    fn bury(&mut self, offset: i64, cause: DeadCause) {
        let event = self.unsettled.remove(&offset).unwrap();
        self.dead.insert(offset, (event.attempts, cause));
    }

    fn take_back(&mut self, offset: i64, unsent: bool) {
        let trimmed = offset <= self.trimmed_to;
        let event = self.unsettled.get_mut(&offset).unwrap();
        let lease = event.lease.take().unwrap();
        if unsent {
            event.attempts -= 1;
        } else {
            event.alone = true;
        }
        let last = !unsent && event.attempts >= MAX_ATTEMPTS;
        self.gone.insert((lease, offset), Unsettled::Lost);
        if last {
            self.bury(offset, DeadCause::MaxAttempts);
        } else if trimmed {
            self.bury(offset, DeadCause::Trimmed);
        }
    }

    /// What every claim and settlement begins with.
    pub(super) fn expire(&mut self) {
        let over: Vec<_> =
            self.unsettled.iter().filter(|(_, event)| self.is_over(event)).map(|(offset, _)| *offset).collect();
        over.into_iter().for_each(|offset| self.take_back(offset, false));
    }

    /// The time of these leases is over.
    pub(super) fn end(&mut self, leases: &[LeaseId]) {
        for lease in leases {
            self.leases.get_mut(lease).unwrap().over = true;
        }
    }

    /// What every claim goes on with.
    pub(super) fn skip_trimmed(&mut self) {
        if self.trimmed_to > self.dispatched {
            self.trimmed_events += (self.trimmed_to - self.dispatched.max(self.skipped_to)).max(0);
            self.skipped_to = self.skipped_to.max(self.trimmed_to);
            self.dispatched = self.trimmed_to;
        }
        let trimmed = self.unsettled.range(..=self.trimmed_to).filter(|(_, event)| event.lease.is_none());
        let trimmed: Vec<_> = trimmed.map(|(offset, _)| *offset).collect();
        trimmed.into_iter().for_each(|offset| self.bury(offset, DeadCause::Trimmed));
    }

    pub(super) fn settle(&mut self, lease: LeaseId, offset: i64, verdict: &Verdict) -> Result<(), Unsettled> {
        if !self.is_open(lease, offset) {
            return Err(self.gone.get(&(lease, offset)).copied().unwrap_or(Unsettled::Unknown));
        }
        if *verdict == Verdict::Extend {
            return Ok(());
        }
        self.gone.insert((lease, offset), Unsettled::AlreadySettled);
        let trimmed = offset <= self.trimmed_to;
        let event = self.unsettled.get_mut(&offset).unwrap();
        (event.lease, event.alone) = (None, false);
        match verdict {
            Verdict::Ack | Verdict::Extend => drop(self.unsettled.remove(&offset)),
            Verdict::Nack { .. } if event.attempts >= MAX_ATTEMPTS => self.bury(offset, DeadCause::MaxAttempts),
            Verdict::Nack { .. } if trimmed => self.bury(offset, DeadCause::Trimmed),
            Verdict::Nack { .. } => {}
            Verdict::Reject { .. } => self.bury(offset, DeadCause::Rejected),
            Verdict::Trimmed => {
                event.attempts -= 1;
                self.bury(offset, DeadCause::Trimmed);
            }
        }
        Ok(())
    }

    pub(super) fn release(&mut self, stream: SubscriptionId, unsent: &[(LeaseId, i64)], keep: bool) -> bool {
        let mut back = false;
        for offset in self.open_of(stream) {
            let lease = self.unsettled[&offset].lease.unwrap();
            let unsent = unsent.contains(&(lease, offset));
            if unsent || !keep {
                self.take_back(offset, unsent);
                back = true;
            } else {
                self.leases.get_mut(&lease).unwrap().server = None;
            }
        }
        back
    }

    pub(super) fn seek(&mut self, offset: i64) {
        for (offset, event) in std::mem::take(&mut self.unsettled) {
            event.lease.map(|lease| self.gone.insert((lease, offset), Unsettled::Lost));
        }
        self.dispatched = offset;
    }

    pub(super) fn redrive(&mut self, chosen: &[i64]) {
        for offset in chosen {
            self.dead.remove(offset).unwrap();
            if *offset <= self.dispatched {
                let again = Event { attempts: 0, alone: false, redriven: true, lease: None };
                self.unsettled.entry(*offset).or_insert(again);
            }
        }
    }

    /// Checks a claim that found no leases of its own, and does the same. `passes` is the filter.
    pub(super) fn claim(&mut self, takers: &[Taker], claimed: &Claimed, passes: impl Fn(i64) -> bool) {
        let streams: Vec<_> = takers.iter().map(|taker| taker.stream.unwrap()).collect();
        let before: Vec<_> = streams.iter().map(|stream| self.open_of(*stream).len()).collect();
        assert!(claimed.dispatched.get() >= self.dispatched);
        let fresh = (self.dispatched + 1..=claimed.dispatched.get()).filter(|offset| passes(*offset));
        for offset in fresh {
            self.unsettled.insert(offset, Event { attempts: 0, alone: false, redriven: false, lease: None });
        }
        self.dispatched = claimed.dispatched.get();
        for lease in &claimed.leases {
            let place = takers.iter().position(|taker| taker.token == lease.token).unwrap();
            let has_alone = self.leases.iter().any(|(id, other)| {
                other.stream == streams[place]
                    && other.alone
                    && self.unsettled.values().any(|event| event.lease == Some(*id))
            });
            assert!(!has_alone, "{lease:?} beside one that must be alone");
            assert!(!lease.alone || before[place] == 0 && lease.deliveries.len() == 1, "{lease:?} is not alone");
            self.lease(lease, streams[place]);
        }
        let total = self.unsettled.values().filter(|event| event.lease.is_some()).count();
        assert!(total <= MAX_IN_FLIGHT || claimed.leases.is_empty(), "{total} in flight");
        assert_eq!(claimed.full, total >= MAX_IN_FLIGHT);
        for (place, taker) in takers.iter().enumerate() {
            assert_eq!(claimed.in_flight[place], self.open_of(streams[place]).len());
            assert!(claimed.in_flight[place] <= taker.max.max(before[place]));
        }
        let left = (self.dispatched + 1..=self.keys.len() as i64).find(|offset| passes(*offset));
        self.nothing_was_left(takers, claimed, &before, left);
    }

    fn lease(&mut self, lease: &Leased, stream: SubscriptionId) {
        let known = Lease { stream, server: self.server, alone: lease.alone, over: false };
        assert!(self.leases.insert(lease.lease, known).is_none(), "{lease:?} has the id of another one");
        for delivery in &lease.deliveries {
            let offset = delivery.offset.get();
            assert!(!self.is_blocked(offset), "{offset} is not the first of its key: {self:?}");
            let event = self.unsettled.get_mut(&offset).unwrap();
            assert_eq!((event.lease, event.alone), (None, lease.alone), "of {offset}");
            event.attempts += 1;
            event.lease = Some(lease.lease);
            assert_eq!(event.attempts, delivery.number, "attempts of {offset}");
            assert!(event.attempts <= MAX_ATTEMPTS && offset > self.trimmed_to);
        }
    }

    /// What could have been delivered was, as far as there was room.
    fn nothing_was_left(&self, takers: &[Taker], claimed: &Claimed, before: &[usize], left: Option<i64>) {
        let ready = |alone: bool| -> Vec<i64> {
            let ready = self.unsettled.iter().filter(|(_, event)| event.lease.is_none() && event.alone == alone);
            ready.map(|(offset, _)| *offset).filter(|offset| !self.is_blocked(*offset)).collect()
        };
        let waiting = ready(true);
        assert_eq!(claimed.alone_waiting, waiting.len().min(takers.len()), "of {waiting:?}");
        let got = |taker: &Taker| claimed.leases.iter().find(|lease| lease.token == taker.token);
        for (place, taker) in takers.iter().enumerate() {
            let got_other = got(taker).is_some_and(|lease| !lease.alone);
            let idle = before[place] == 0 && taker.max > 0 && (got_other || got(taker).is_none() && !claimed.full);
            assert!(!idle || waiting.is_empty(), "{taker:?} could have had one of {waiting:?}");
        }
        let holds_alone = |taker: &Taker| {
            self.unsettled.values().filter_map(|event| event.lease).any(|id| {
                let lease = &self.leases[&id];
                lease.alone && Some(lease.stream) == taker.stream
            })
        };
        let mut with_counts = takers.iter().zip(&claimed.in_flight);
        let hungry = with_counts.any(|(taker, open)| *open < taker.max && !holds_alone(taker));
        if hungry && !claimed.full {
            assert_eq!((ready(false), left), (vec![], None), "there was room for them: {self:?}");
        }
    }
}
