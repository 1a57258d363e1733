//! Holds: which streams of this process have a MODE_ORDERED consumer.
//!
//! A hold lasts 15 s and is renewed for all streams by one statement every 5 s. Between renewals this
//! process fences itself by its monotonic clock: a stream whose hold ran out sends nothing until it is
//! renewed, so that a process that was stopped for a while cannot send what another one sends too.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::{
    select,
    sync::{broadcast::error::RecvError, watch},
    time::{Duration, Instant, MissedTickBehavior, interval},
};
use tracing::{debug, warn};

use crate::{
    domain::{Consumer, ConsumerId, Epoch, Offset, limits},
    notify::{Control, Hub, SharedNotifier},
    shutdown::Shutdown,
    store::SharedStore,
};

/// A stream that has handed out a frame and was not asked for the next one for this long has a client
/// that does not read; its consumer is given to others.
const STALLED: Duration = Duration::from_secs(60);
/// And during a drain for this long: it cannot even be told that the stream ends.
const STALLED_IN_DRAIN: Duration = Duration::from_secs(2);
/// Renewals caused by control messages come no closer together, so that a flood of them stays cheap.
const RENEWAL_PAUSE: Duration = Duration::from_millis(20);

/// The holds of this process.
#[derive(Debug)]
pub(super) struct Holds {
    store: SharedStore,
    notifier: SharedNotifier,
    hub: Arc<Hub>,
    shutdown: Shutdown,
    held: Mutex<HashMap<(ConsumerId, Epoch), Weak<State>>>,
}

/// A consumer held for one stream. Dropping it gives the consumer back.
#[derive(Debug)]
pub(super) struct Hold {
    holds: Arc<Holds>,
    consumer: ConsumerId,
    epoch: Epoch,
    /// Of the consumer as it was taken.
    revision: u64,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    status: watch::Sender<Status>,
    /// Since when the client has not asked for the next frame.
    unread_since: Mutex<Option<Instant>>,
    progress: Mutex<Progress>,
}

/// How far a stream is, so that its consumer's stored offset can move over what its filter leaves out.
#[derive(Debug, Clone, Copy)]
struct Progress {
    /// The last event that was sent.
    sent: Offset,
    /// Everything up to here was sent or left out.
    position: Offset,
    /// Everything up to here is done.
    stored: Offset,
}

/// What is known of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Status {
    standing: Standing,
    /// The consumer was not changed or moved since it had this one.
    revision: u64,
    paused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Until(Instant),
    Lost,
}

impl Holds {
    pub(super) fn new(store: SharedStore, notifier: SharedNotifier, hub: Arc<Hub>, shutdown: Shutdown) -> Arc<Self> {
        Arc::new(Self { store, notifier, hub, shutdown, held: Mutex::default() })
    }

    /// Keeps a hold that the store granted to a claim sent at `asked`.
    pub(super) fn keep(self: &Arc<Self>, taken: &Consumer, asked: Instant) -> Hold {
        let Consumer { id: consumer, epoch, stored, revision, paused, .. } = *taken;
        let standing = Standing::Until(asked + limits::HOLD_LEASE);
        let status = watch::channel(Status { standing, revision, paused }).0;
        let progress = Mutex::new(Progress { sent: stored, position: stored, stored });
        let state = Arc::new(State { status, unread_since: Mutex::new(None), progress });
        self.held.lock().insert((consumer, epoch), Arc::downgrade(&state));
        Hold { holds: self.clone(), consumer, epoch, revision, state }
    }

    /// Renews all holds until the process stops: regularly, and when somebody says that a consumer
    /// changed hands.
    pub(super) async fn run(self: Arc<Self>) {
        let mut controls = self.hub.controls();
        let mut tick = interval(limits::HOLD_RENEWAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut impatient = false;
        loop {
            select! {
                () = self.shutdown.stopping() => {
                    self.give_back_all();
                    return;
                }
                _ = tick.tick() => {}
                () = self.drained_for_long_enough(), if !impatient => impatient = true,
                message = controls.recv() => match message {
                    Ok(Control::ConsumerChanged(consumer)) if self.holds(consumer) => {
                        tokio::time::sleep(RENEWAL_PAUSE).await;
                    }
                    Ok(Control::Everything) | Err(RecvError::Lagged(_)) => tokio::time::sleep(RENEWAL_PAUSE).await,
                    Ok(_) => continue,
                    Err(RecvError::Closed) => return,
                },
            }
            self.renew().await;
            self.move_on().await;
        }
    }

    /// The offset to store when a client commits `offset`: if that is the last event it was sent, also
    /// what the filter left out after it.
    pub(super) fn reach(&self, consumer: ConsumerId, epoch: Epoch, offset: Offset) -> Offset {
        let state = self.held.lock().get(&(consumer, epoch)).and_then(Weak::upgrade);
        let progress = state.map(|state| *state.progress.lock());
        progress.filter(|progress| offset >= progress.sent).map_or(offset, |progress| offset.max(progress.position))
    }

    /// Notes what was stored for a consumer.
    pub(super) fn stored(&self, consumer: ConsumerId, epoch: Epoch, stored: Offset) {
        if let Some(state) = self.held.lock().get(&(consumer, epoch)).and_then(Weak::upgrade) {
            state.progress.lock().stored = stored;
        }
    }

    /// Moves the stored offsets of consumers that have done all they were sent over what their filters
    /// have left out since, so that they show no lag.
    async fn move_on(&self) {
        let due: Vec<_> = {
            let held = self.held.lock();
            let states = held.iter().filter_map(|(key, state)| Some((*key, *state.upgrade()?.progress.lock())));
            states
                .filter(|(_, progress)| progress.stored >= progress.sent && progress.position > progress.stored)
                .collect()
        };
        for ((consumer, epoch), Progress { position, .. }) in due {
            match self.store.commit_offset(consumer, epoch, position).await {
                Ok(stored) => self.stored(consumer, epoch, stored),
                // It is tried again, or the next stream passes over the same events.
                Err(error) => debug!(%error, "a stored offset was not moved over events that a filter left out"),
            }
        }
    }

    /// Completes when every client that reads has heard that the server drains.
    async fn drained_for_long_enough(&self) {
        self.shutdown.draining().await;
        // A little more, so that those that were handed something as the drain began have stalled by then.
        tokio::time::sleep(STALLED_IN_DRAIN + RENEWAL_PAUSE).await;
    }

    /// Gives back what streams still hold that did not end in time, so that nobody waits for the lease.
    fn give_back_all(&self) {
        let held: Vec<_> = {
            let held = self.held.lock();
            held.iter().filter_map(|(key, state)| Some((*key, state.upgrade()?))).collect()
        };
        for ((consumer, epoch), state) in held {
            state.lose();
            self.release(consumer, epoch);
        }
    }

    fn holds(&self, consumer: ConsumerId) -> bool {
        self.held.lock().keys().any(|(held, _)| *held == consumer)
    }

    async fn renew(&self) {
        let held: Vec<_> = {
            let mut held = self.held.lock();
            held.retain(|_, state| state.strong_count() > 0);
            held.iter().filter_map(|(key, state)| Some((*key, state.upgrade()?))).collect()
        };
        let patience = if self.shutdown.is_draining() { STALLED_IN_DRAIN } else { STALLED };
        let (stalled, held): (Vec<_>, Vec<_>) = held.into_iter().partition(|(_, state)| state.is_stalled(patience));
        for ((consumer, epoch), state) in stalled {
            state.lose();
            self.release(consumer, epoch);
        }
        if held.is_empty() {
            return;
        }
        let keys: Vec<_> = held.iter().map(|(key, _)| *key).collect();
        let asked = Instant::now();
        match self.store.renew_holds(&keys, limits::HOLD_LEASE).await {
            Ok(renewed) => {
                let renewed: HashMap<_, _> = renewed.iter().map(|hold| ((hold.consumer, hold.epoch), hold)).collect();
                let standing = Standing::Until(asked + limits::HOLD_LEASE);
                for (key, state) in held {
                    match renewed.get(&key) {
                        Some(hold) => {
                            state.renewed(Status { standing, revision: hold.revision, paused: hold.paused });
                        }
                        None => state.lose(),
                    }
                }
            }
            Err(error) => warn!(%error, holds = keys.len(), "the holds of ordered consumers were not renewed"),
        }
    }

    fn release(&self, consumer: ConsumerId, epoch: Epoch) {
        self.held.lock().remove(&(consumer, epoch));
        let (store, notifier) = (self.store.clone(), self.notifier.clone());
        self.shutdown.spawn(async move {
            match store.release_hold(consumer, epoch).await {
                Ok(()) => notifier.control(Control::ConsumerChanged(consumer)),
                // It runs out by itself.
                Err(error) => warn!(%error, "a hold was not given back; it runs out in 15 s"),
            }
        });
    }
}

impl Hold {
    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(super) fn consumer(&self) -> ConsumerId {
        self.consumer
    }

    /// Whether the stream may send events now.
    pub(super) fn stands(&self) -> bool {
        self.state.status.borrow().stands()
    }

    /// Whether another stream has the consumer, or it is gone or was moved.
    pub(super) fn is_lost(&self) -> bool {
        self.state.status.borrow().standing == Standing::Lost
    }

    /// The revision of the consumer as it was taken.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether the consumer was changed since it was taken.
    pub(super) fn is_changed(&self) -> bool {
        self.state.status.borrow().revision != self.revision
    }

    /// Whether delivery is stopped.
    pub(super) fn is_paused(&self) -> bool {
        self.state.status.borrow().paused
    }

    /// Completes when the hold is lost, the consumer is changed, or is not paused or running as the caller
    /// knows; and, if the hold did not stand for the caller, when it stands.
    pub(super) async fn changed(&self, stood: bool, paused: bool) {
        let mut status = self.state.status.subscribe();
        let news = |now: &Status| {
            let standing = now.standing == Standing::Lost || (!stood && now.stands());
            standing || now.revision != self.revision || now.paused != paused
        };
        // The sender lives in the hold itself.
        let _ = status.wait_for(news).await;
    }

    /// Notes how far the stream is, and the last event that it sent, if it sent any.
    pub(super) fn advanced(&self, sent: Option<Offset>, position: Offset) {
        let mut progress = self.state.progress.lock();
        progress.sent = sent.unwrap_or(progress.sent);
        progress.position = position;
    }

    /// Notes that events were trimmed before they could be sent, and counts them for the consumer.
    pub(super) fn skipped(&self, from: Offset, to: Offset) {
        self.advanced(None, to);
        let (store, consumer, epoch) = (self.holds.store.clone(), self.consumer, self.epoch);
        self.holds.shutdown.spawn(async move {
            if let Err(error) = store.skip_trimmed(consumer, epoch, from, to).await {
                warn!(%error, "events that were trimmed before they were delivered are not counted");
            }
        });
    }

    /// The client asks for a frame.
    pub(super) fn polled(&self) {
        *self.state.unread_since.lock() = None;
    }

    /// The client was given a frame.
    pub(super) fn handed_out(&self) {
        *self.state.unread_since.lock() = Some(Instant::now());
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.is_lost() {
            self.holds.held.lock().remove(&(self.consumer, self.epoch));
        } else {
            self.holds.release(self.consumer, self.epoch);
        }
    }
}

impl Status {
    fn stands(&self) -> bool {
        match self.standing {
            Standing::Until(end) => Instant::now() < end,
            Standing::Lost => false,
        }
    }
}

impl State {
    /// The hold is over, for good.
    fn lose(&self) {
        self.status.send_modify(|status| status.standing = Standing::Lost);
    }

    /// The hold was renewed; one that was lost stays so.
    fn renewed(&self, now: Status) {
        self.status.send_if_modified(|status| {
            let stands = status.standing != Standing::Lost;
            if stands {
                *status = now;
            }
            stands
        });
    }

    fn is_stalled(&self, patience: Duration) -> bool {
        self.unread_since.lock().is_some_and(|since| since.elapsed() > patience)
    }
}
