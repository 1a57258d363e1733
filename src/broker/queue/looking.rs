//! Looking for events that can be delivered, and leasing them.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::warn;

use super::{
    ahead::{Ahead, Looked},
    delivery::Parcel,
    dispatcher::Dispatcher,
    member::{End, Member},
};
use crate::{
    broker::{SubscribeError, log::Mark},
    domain::{Claimed, Consumer, KeyView, Offset, QueueClaim},
    notify::{Control, NotifierState, Registration},
    store::{ClaimError, StoreError},
};

/// How often a consumer with room is looked at while wake-ups arrive, should one of them be lost.
const INTERVAL: Duration = Duration::from_secs(5);
/// And while they do not.
const INTERVAL_DEGRADED: Duration = Duration::from_secs(1);
/// Pause before another try after the store failed.
const STORE_PAUSE: Duration = Duration::from_millis(250);
/// How far a consumer is, is noted when the filter has left out so many events,
const NOTE_EVENTS: u64 = 10_000;
/// or after this long.
const NOTE_AFTER: Duration = Duration::from_secs(5);
/// While events wait for their keys, claims come no more often than this: each settlement frees a few keys, and a
/// claim for a few events costs about as much as one for hundreds.
const KEYS_PAUSE: Duration = Duration::from_millis(5);
/// Other servers are told of news no more often than this.
const TELL_PAUSE: Duration = Duration::from_millis(20);
/// So long others come first after a stream let a lease run out, unless it settles something: it takes up to 50 s
/// until a connection whose client vanished is known to be dead, and it would burn attempts until then.
const DISTRUSTED: Duration = Duration::from_secs(60);

/// What a dispatcher knows of its consumer.
#[derive(Debug)]
pub(super) struct Looking {
    pub(super) registration: Registration,
    /// The hub's clock when it began: what was acknowledged before must be seen.
    began: u64,
    consumer: Option<Consumer>,
    /// A claim has said how far the consumer was dispatched.
    placed: bool,
    ahead: Ahead,
    keys: KeyView,
    /// Something may have changed that this process was not told of: members' leases, keys, retries.
    doubtful: bool,
    /// The last claim took all that the members had room for: there may be more that is due.
    unsure: bool,
    /// Nothing could be taken though there was something: a settlement must come first.
    blocked: bool,
    /// When settlements are followed by a claim again.
    paused_until: Option<Instant>,
    /// The outcome of the last claim is unknown.
    repeated: bool,
    /// Something is due, or a lease ends.
    due_at: Option<Instant>,
    /// The next look if nothing else happens.
    look_at: Instant,
    note_at: Option<Instant>,
    told_at: Instant,
    /// Others are to be told of news.
    tell: bool,
}

impl Looking {
    pub(super) fn new(dispatcher: &Dispatcher) -> Self {
        let hub = dispatcher.broker.hub();
        let registration = hub.register(dispatcher.handle.topic.id);
        let now = Instant::now();
        let topic = dispatcher.handle.topic.settings.name.clone();
        Self {
            registration,
            began: hub.tick(),
            consumer: None,
            placed: false,
            ahead: Ahead::new(topic, Offset::ZERO),
            keys: KeyView::default(),
            doubtful: true,
            unsure: true,
            blocked: false,
            paused_until: None,
            repeated: false,
            due_at: None,
            look_at: now,
            note_at: None,
            told_at: now - TELL_PAUSE,
            tell: false,
        }
    }

    /// Something may have changed that this process was not told of.
    pub(super) fn doubt(&mut self) {
        self.doubtful = true;
    }

    /// Deliveries were settled; `news` says that others may have to know, `foreign` that some were no member's here.
    pub(super) fn settled(&mut self, offsets: impl Iterator<Item = Offset>, news: bool, foreign: bool) {
        offsets.for_each(|offset| self.keys.settled(offset));
        if foreign {
            self.keys.forget();
        }
        self.blocked = false;
        self.unsure |= news || foreign;
        self.tell |= news || foreign;
    }

    /// When there is something to do by itself.
    pub(super) fn wakes_at(&self) -> Instant {
        let tell = self.tell.then(|| self.told_at + TELL_PAUSE);
        let paused = if self.blocked { None } else { self.paused_until };
        [self.due_at, self.note_at, tell, paused].into_iter().flatten().fold(self.look_at, Instant::min)
    }

    /// Tells the other servers what they may have to know, if it was not told them just before.
    fn tell(&mut self, dispatcher: &Dispatcher) {
        if self.told_at.elapsed() >= TELL_PAUSE {
            self.tell_now(dispatcher);
        }
    }

    /// As [`tell`](Self::tell), without a pause, since there will be no other time.
    pub(super) fn tell_now(&mut self, dispatcher: &Dispatcher) {
        if std::mem::take(&mut self.tell) {
            self.told_at = Instant::now();
            dispatcher.broker.notifier().tell_others(Control::ConsumerChanged(dispatcher.consumer));
        }
    }

    /// One look, and one claim if there may be something to take; whether to look again at once.
    pub(super) async fn look(&mut self, dispatcher: &Dispatcher) -> bool {
        self.tell(dispatcher);
        let members = dispatcher.members();
        let now = Instant::now();
        let due = self.due_at.is_some_and(|at| at <= now);
        if now >= self.look_at || due {
            self.doubtful = true;
        }
        self.paused_until = self.paused_until.filter(|at| *at > now);
        members.iter().for_each(|member| member.note_losses(now));
        let hungry: Vec<_> = trusted(&members).into_iter().filter(|member| member.room() > 0).collect();
        if members.is_empty() || hungry.is_empty() && !self.doubtful || self.blocked && !self.doubtful {
            self.look_at = self.look_at.max(now + STORE_PAUSE);
            // What is not asked for now is looked at after a moment, not again and again.
            self.note_at = self.note_at.map(|at| at.max(now + STORE_PAUSE));
            return false;
        }
        let in_flight = members.iter().any(|member| member.in_flight() > 0);
        if !self.doubtful && in_flight && self.paused_until.is_some() {
            self.look_at = self.look_at.max(now + STORE_PAUSE);
            return false;
        }
        if !dispatcher.broker.is_present() {
            // Its leases would be taken for those of a server that was killed.
            (self.look_at, self.due_at, self.note_at) = (now + STORE_PAUSE, None, None);
            self.doubtful = true;
            return false;
        }
        match self.try_look(dispatcher, &members, hungry).await {
            Ok(again) => again,
            Err(error) if error.is_retryable() => {
                warn!(consumer = %dispatcher.name, %error, "a consumer's events cannot be leased; trying again");
                self.doubtful = true;
                self.due_at = None;
                self.look_at = Instant::now() + STORE_PAUSE;
                tokio::time::sleep(STORE_PAUSE).await;
                false
            }
            Err(error) => {
                let error = SubscribeError::Store(error);
                members.iter().for_each(|member| member.end(End::Failed(error.clone())));
                self.look_at = Instant::now() + INTERVAL;
                false
            }
        }
    }

    async fn try_look(
        &mut self,
        dispatcher: &Dispatcher,
        members: &[Arc<Member>],
        hungry: Vec<Arc<Member>>,
    ) -> Result<bool, Arc<StoreError>> {
        let Some(consumer) = self.consumer(dispatcher).await? else {
            members.iter().for_each(|member| member.end(End::Deleted));
            (self.look_at, self.due_at, self.note_at) = (Instant::now() + INTERVAL, None, None);
            return Ok(false);
        };
        let wanted = hungry.iter().map(|member| member.room()).sum();
        let looked = if self.placed { self.fill(dispatcher, &consumer, wanted).await? } else { Looked::More };
        match looked {
            Looked::More | Looked::AtHead => {}
            Looked::Shortened(head) => members.iter().for_each(|member| member.end(End::Shortened(head))),
            Looked::Deleted => members.iter().for_each(|member| member.end(End::Deleted)),
        }
        let left_out = self.ahead.up_to().since(self.ahead.after());
        let note = left_out >= NOTE_EVENTS || self.note_at.is_some_and(|at| at <= Instant::now());
        let takers = if self.doubtful { trusted(members) } else { hungry };
        self.look_at = Instant::now() + self.interval(dispatcher);
        let mut again = false;
        if !self.placed || !self.ahead.is_empty() || self.doubtful || self.unsure || note {
            again = self.claim(dispatcher, &consumer, members, takers, wanted, note).await?;
            if self.consumer.is_none() {
                return Ok(again);
            }
        }
        again |= looked == Looked::More && self.ahead.is_empty() && wanted > 0;
        let all_seen = looked == Looked::AtHead && self.ahead.is_empty() && !self.unsure;
        let reached = if self.ahead.is_empty() { self.ahead.up_to() } else { self.ahead.after() };
        members.iter().for_each(|member| member.see(reached, all_seen, !again));
        let unnoted = self.ahead.is_empty() && self.ahead.up_to() > self.ahead.after();
        self.note_at =
            unnoted.then(|| self.note_at.filter(|at| *at > Instant::now()).unwrap_or(Instant::now() + NOTE_AFTER));
        Ok(again)
    }

    async fn fill(
        &mut self,
        dispatcher: &Dispatcher,
        consumer: &Consumer,
        wanted: usize,
    ) -> Result<Looked, Arc<StoreError>> {
        let mark = Mark { began: self.began, woken: self.registration.seen() };
        self.ahead.fill(&dispatcher.handle.log, &consumer.settings.filter, wanted, mark).await
    }

    /// The consumer as it was when it was last looked up.
    async fn consumer(&mut self, dispatcher: &Dispatcher) -> Result<Option<Consumer>, Arc<StoreError>> {
        if self.consumer.is_none() {
            let found = dispatcher.broker.store().find_consumer(&dispatcher.name).await.map_err(Arc::new)?;
            self.consumer = found.filter(|found| found.id == dispatcher.consumer);
            if let Some(consumer) = &self.consumer {
                let topic = dispatcher.handle.topic.settings.name.clone();
                (self.ahead, self.placed) = (Ahead::new(topic, Offset::ZERO), false);
                dispatcher.members().iter().for_each(|member| member.changed(consumer.revision));
            }
        }
        Ok(self.consumer.clone())
    }

    /// Claims what the takers have room for; whether another claim may bring more.
    async fn claim(
        &mut self,
        dispatcher: &Dispatcher,
        consumer: &Consumer,
        members: &[Arc<Member>],
        takers: Vec<Arc<Member>>,
        wanted: usize,
        note: bool,
    ) -> Result<bool, Arc<StoreError>> {
        let (candidates, up_to) = self.ahead.candidates(wanted);
        let known = if self.doubtful || self.repeated { None } else { self.keys.known(&candidates) };
        let claim = QueueClaim {
            consumer: dispatcher.consumer,
            revision: consumer.revision,
            server: dispatcher.broker.server_id(),
            after: self.ahead.after(),
            up_to,
            candidates,
            known,
            takers: takers.iter().map(|member| member.taker()).collect(),
            repeated: self.repeated,
            note,
        };
        let asked = Instant::now();
        match dispatcher.broker.store().claim(&claim).await {
            Ok(claimed) => {
                self.repeated = false;
                self.keys.claimed(&claim, &claimed);
                Ok(self.take(dispatcher, &takers, &claim, claimed, asked))
            }
            Err(ClaimError::Store(error)) => {
                self.keys.forget();
                self.repeated |= error.is_uncertain();
                Err(Arc::new(error))
            }
            Err(ClaimError::Changed) => {
                self.consumer = None;
                self.doubtful = true;
                Ok(true)
            }
            Err(ClaimError::Paused) => {
                members.iter().for_each(|member| member.pause());
                self.consumer = None;
                (self.doubtful, self.unsure, self.due_at, self.note_at) = (false, true, None, None);
                self.blocked = true;
                Ok(false)
            }
            Err(ClaimError::NotFound) => {
                self.consumer = None;
                (self.due_at, self.note_at) = (None, None);
                dispatcher.broker.queues().forget(&dispatcher.name);
                members.iter().for_each(|member| member.end(End::Deleted));
                Ok(false)
            }
        }
    }

    /// Hands out what was claimed; whether another claim may bring more.
    fn take(
        &mut self,
        dispatcher: &Dispatcher,
        members: &[Arc<Member>],
        claim: &QueueClaim,
        claimed: Claimed,
        asked: Instant,
    ) -> bool {
        for (member, &in_flight) in members.iter().zip(&claimed.in_flight) {
            member.has(in_flight);
        }
        let gained: usize = claimed.leases.iter().map(|lease| lease.deliveries.len()).sum();
        let waits = !claimed.held.is_empty();
        for lease in claimed.leases {
            let mut parcel = Parcel::new(lease.lease, asked + lease.remaining, lease.deliveries);
            parcel.find(|offset| self.ahead.segment_of(offset));
            parcel.find(|offset| dispatcher.handle.log.in_memory(offset));
            let place = claim.takers.iter().position(|taker| taker.token == lease.token);
            match place.and_then(|place| members.get(place)) {
                Some(member) => {
                    member.give(parcel);
                    if !dispatcher.has(member.id) {
                        // It left while the claim was under way.
                        dispatcher.broker.give_back(dispatcher.consumer, member, Vec::new(), true);
                    }
                }
                None => warn!(lease = %lease.lease, "a lease came that nobody asked for; it runs out by itself"),
            }
        }
        let jumped = claimed.dispatched > self.ahead.up_to() || !self.placed;
        self.ahead.dispatched(claimed.dispatched, &claimed.held);
        self.placed = true;
        let now = Instant::now();
        self.due_at = claimed.next.map(|next| now + next);
        self.doubtful = false;
        let room_left = members.iter().any(|member| member.room() > 0);
        self.unsure = gained > 0 || claimed.alone_waiting > 0 || claimed.full;
        // The next candidate waits for its key, and so many others do that it cannot be passed.
        let stopped = room_left && !claimed.full && claimed.dispatched < claim.up_to;
        self.blocked = stopped && !jumped;
        self.paused_until = (stopped || waits).then(|| now + KEYS_PAUSE);
        make_room(members, claimed.alone_waiting);
        jumped || gained > 0 && room_left && !claimed.full && !stopped
    }

    fn interval(&self, dispatcher: &Dispatcher) -> Duration {
        let degraded = *dispatcher.broker.notifier().state().borrow() == NotifierState::Degraded;
        let default = if degraded { INTERVAL_DEGRADED } else { INTERVAL };
        dispatcher.broker.poll_interval().unwrap_or(default)
    }
}

/// The members that did not let a lease run out lately; all of them if those have as much as they may.
fn trusted(members: &[Arc<Member>]) -> Vec<Arc<Member>> {
    let trusted: Vec<_> = members.iter().filter(|member| !member.lost_lately(DISTRUSTED)).cloned().collect();
    if trusted.iter().any(|member| !member.is_full()) { trusted } else { members.to_vec() }
}

/// Has as many members as there are events that must be delivered alone finish what they have, those that have
/// the least, and the others go on.
fn make_room(members: &[Arc<Member>], alone: usize) {
    let mut busy: Vec<_> = members.iter().filter(|member| member.in_flight() > 0).collect();
    busy.sort_by_key(|member| member.in_flight());
    busy.iter().enumerate().for_each(|(place, member)| member.clear(place < alone));
}
