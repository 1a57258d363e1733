//! Who gets deliveries from a dispatcher: a stream, or a single call.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};
use uuid::Uuid;

use super::delivery::Parcel;
use crate::{
    broker::SubscribeError,
    domain::{LeaseId, Offset, SubscriptionId, Taker},
    store::Claim,
};

/// See the module.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: SubscriptionId,
    /// How it is listed; a single call is not.
    pub(super) claim: Option<Claim>,
    max: usize,
    state: Mutex<State>,
    /// Something changed for it.
    pub(super) news: Notify,
}

#[derive(Debug)]
struct State {
    /// Names the next request for it.
    token: Uuid,
    in_flight: usize,
    /// It gets nothing more until it has nothing, and then an event that must be alone.
    clearing: bool,
    parcels: VecDeque<Parcel>,
    /// Its leases with what is open of them, and until when that matters.
    leases: HashMap<LeaseId, (usize, Instant)>,
    /// When a lease of its ran out; nothing was settled since.
    lost_at: Option<Instant>,
    paused: bool,
    /// Everything recorded up to here was dispatched, and the log ended there.
    caught_up: Option<Offset>,
    dispatched: Offset,
    revision: u64,
    end: Option<End>,
    /// Since when the client has not asked for the next frame.
    unread_since: Option<Instant>,
    /// The consumer was looked at since it came, until there was nothing more to be had.
    looked_at: bool,
}

/// Why a stream must end.
#[derive(Debug, Clone)]
pub(super) enum End {
    /// The consumer was changed or moved.
    Changed,
    /// The consumer is gone.
    Deleted,
    /// The log lost its tail.
    Shortened(Offset),
    /// The client does not read.
    Stalled,
    /// It can go on no more.
    Failed(SubscribeError),
}

/// What a stream should know.
#[derive(Debug, Clone)]
pub(super) struct Outlook {
    pub(super) paused: bool,
    pub(super) caught_up: Option<Offset>,
    pub(super) dispatched: Offset,
    pub(super) end: Option<End>,
}

impl Member {
    pub(super) fn new(
        id: SubscriptionId,
        claim: Option<Claim>,
        max: usize,
        revision: u64,
        dispatched: Offset,
        paused: bool,
    ) -> Arc<Self> {
        let state = State {
            token: Uuid::now_v7(),
            in_flight: 0,
            clearing: false,
            parcels: VecDeque::new(),
            leases: HashMap::new(),
            lost_at: None,
            paused,
            caught_up: None,
            dispatched,
            revision,
            end: None,
            unread_since: None,
            looked_at: false,
        };
        Arc::new(Self { id, claim, max, state: Mutex::new(state), news: Notify::new() })
    }

    /// How much it could take, as far as is known.
    pub(super) fn room(&self) -> usize {
        let state = self.state.lock();
        match state.end.is_some() || state.clearing && state.in_flight > 0 || self.is_served(&state) {
            true => 0,
            false => self.max.saturating_sub(state.in_flight),
        }
    }

    /// Whether it has as much as it may, as far as is known.
    pub(super) fn is_full(&self) -> bool {
        let state = self.state.lock();
        state.end.is_some() || state.in_flight >= self.max
    }

    /// A request for it.
    pub(super) fn taker(&self) -> Taker {
        let state = self.state.lock();
        // While it is cleared it gets nothing beside what it has.
        let max = match (self.is_served(&state), state.clearing) {
            (true, _) => 0,
            (false, true) => self.max.min(1),
            (false, false) => self.max,
        };
        Taker { token: state.token, stream: Some(self.id), max }
    }

    /// Whether it is a call that has what it will answer: it is done with one lease.
    fn is_served(&self, state: &State) -> bool {
        self.claim.is_none() && !state.leases.is_empty()
    }

    /// Notes which of its leases ran out.
    pub(super) fn note_losses(&self, now: Instant) {
        let mut state = self.state.lock();
        if state.leases.values().any(|(_, until)| *until <= now) {
            state.leases.retain(|_, (_, until)| *until > now);
            state.lost_at = Some(now);
        }
    }

    /// Whether a lease of its ran out lately, and nothing was settled since.
    pub(super) fn lost_lately(&self, lately: Duration) -> bool {
        self.state.lock().lost_at.is_some_and(|at| at.elapsed() < lately)
    }

    /// Notes that deliveries were extended, if the lease is one of its own.
    pub(super) fn extended(&self, lease: LeaseId, until: Instant) {
        let mut state = self.state.lock();
        if let Some((_, end)) = state.leases.get_mut(&lease) {
            *end = until.max(*end);
            state.lost_at = None;
        }
    }

    /// How much it has now, according to the store.
    pub(super) fn has(&self, in_flight: usize) {
        let mut state = self.state.lock();
        state.in_flight = in_flight;
        state.clearing &= in_flight > 0;
        // What was settled by way of other servers is known by the number only; the oldest are taken for settled.
        let mut leases: Vec<_> = state.leases.iter().map(|(lease, (open, _))| (*lease, *open)).collect();
        leases.sort_unstable_by_key(|(lease, _)| std::cmp::Reverse(*lease));
        let mut open = 0;
        for (lease, count) in leases {
            if open >= in_flight {
                state.leases.remove(&lease);
            }
            open += count;
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.state.lock().in_flight
    }

    /// Has it finish what it has, to be free for an event that must be alone; or no longer.
    pub(super) fn clear(&self, clearing: bool) {
        self.state.lock().clearing = clearing;
    }

    /// Hands it a lease.
    pub(super) fn give(&self, parcel: Parcel) {
        let mut state = self.state.lock();
        state.token = Uuid::now_v7();
        state.caught_up = None;
        state.leases.insert(parcel.lease, (parcel.unsent().count(), parcel.until));
        state.parcels.push_back(parcel);
        drop(state);
        self.news.notify_one();
    }

    /// Notes that deliveries were settled; whether the lease is one of its own.
    pub(super) fn settled(&self, lease: LeaseId, count: usize) -> bool {
        let mut state = self.state.lock();
        let Some((open, _)) = state.leases.get_mut(&lease) else { return false };
        *open = open.saturating_sub(count);
        if *open == 0 {
            state.leases.remove(&lease);
        }
        state.in_flight = state.in_flight.saturating_sub(count);
        state.lost_at = None;
        drop(state);
        self.news.notify_one();
        true
    }

    /// The next lease to be sent.
    pub(super) fn next_parcel(&self) -> Option<Parcel> {
        self.state.lock().parcels.pop_front()
    }

    /// The rest of a lease of which something was sent.
    pub(super) fn put_back(&self, parcel: Parcel) {
        self.state.lock().parcels.push_front(parcel);
    }

    /// Everything that was not sent.
    pub(super) fn drain(&self) -> Vec<Parcel> {
        self.state.lock().parcels.drain(..).collect()
    }

    pub(super) fn outlook(&self) -> Outlook {
        let state = self.state.lock();
        Outlook {
            paused: state.paused,
            caught_up: state.caught_up.filter(|_| state.parcels.is_empty()),
            dispatched: state.dispatched,
            end: state.end.clone(),
        }
    }

    /// Notes how far the consumer is, and whether it was looked at to an end.
    pub(super) fn see(&self, dispatched: Offset, caught_up: bool, to_the_end: bool) {
        let mut state = self.state.lock();
        state.dispatched = state.dispatched.max(dispatched);
        let seen = caught_up.then_some(dispatched);
        let news = state.paused || state.caught_up.is_none() && seen.is_some();
        state.paused = false;
        let news = news || to_the_end && !std::mem::replace(&mut state.looked_at, true);
        state.caught_up = seen.or(state.caught_up);
        drop(state);
        if news {
            self.news.notify_one();
        }
    }

    pub(super) fn pause(&self) {
        let was = {
            let mut state = self.state.lock();
            state.looked_at = true;
            std::mem::replace(&mut state.paused, true)
        };
        if !was {
            self.news.notify_one();
        }
    }

    /// Ends it, unless it knows this revision of the consumer. A single call goes on with the change.
    pub(super) fn changed(&self, revision: u64) {
        let known = {
            let mut state = self.state.lock();
            if self.claim.is_none() {
                state.revision = revision;
            }
            state.revision == revision
        };
        if !known {
            self.end(End::Changed);
        }
    }

    pub(super) fn end(&self, end: End) {
        self.state.lock().end.get_or_insert(end);
        self.news.notify_one();
    }

    /// Whether the consumer was looked at since it came.
    pub(super) fn was_looked_at(&self) -> bool {
        self.state.lock().looked_at
    }

    /// The client asks for a frame.
    pub(super) fn polled(&self) {
        self.state.lock().unread_since = None;
    }

    /// The client was given a frame.
    pub(super) fn handed_out(&self) {
        self.state.lock().unread_since = Some(Instant::now());
    }

    pub(super) fn is_stalled(&self, patience: Duration) -> bool {
        self.state.lock().unread_since.is_some_and(|since| since.elapsed() > patience)
    }
}
