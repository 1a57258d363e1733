//! All that one consumer's streams and calls in this process ask of the store, one batch after the other.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use tokio::{
    select,
    sync::{Notify, Semaphore, broadcast::error::RecvError},
    time::sleep_until,
};

use super::{looking::Looking, member::Member, settle::Job};
use crate::{
    broker::{Broker, topic_cache::TopicHandle},
    domain::{ConsumerId, ConsumerName, SubscriptionId},
    notify::Control,
};

/// Deliveries that may wait to be settled for one consumer.
pub(super) const SETTLEMENTS: usize = 100_000;

/// See the module. Its task lives only while there is a stream or a call.
#[derive(Debug)]
pub(super) struct Dispatcher {
    pub(super) broker: Broker,
    pub(super) consumer: ConsumerId,
    pub(super) name: ConsumerName,
    pub(super) handle: TopicHandle,
    /// Room for settlements.
    pub(super) room: Arc<Semaphore>,
    state: Mutex<State>,
    /// There is something to do.
    work: Notify,
}

#[derive(Debug, Default)]
struct State {
    running: bool,
    /// Somebody came, who knows nothing yet.
    came: bool,
    members: Vec<Arc<Member>>,
    jobs: VecDeque<Job>,
}

impl Dispatcher {
    pub(super) fn new(broker: Broker, consumer: ConsumerId, name: ConsumerName, handle: TopicHandle) -> Arc<Self> {
        let room = Arc::new(Semaphore::new(SETTLEMENTS));
        Arc::new(Self { broker, consumer, name, handle, room, state: Mutex::default(), work: Notify::new() })
    }

    /// Adds a stream or call.
    pub(super) fn add(self: &Arc<Self>, member: Arc<Member>) {
        let mut state = self.state.lock();
        state.members.push(member);
        state.came = true;
        self.begin(&mut state);
    }

    /// Removes one; nothing is claimed for it any more but by a claim that is under way.
    pub(super) fn remove(&self, id: SubscriptionId) {
        self.state.lock().members.retain(|member| member.id != id);
        self.work.notify_one();
    }

    pub(super) fn members(&self) -> Vec<Arc<Member>> {
        self.state.lock().members.clone()
    }

    pub(super) fn has(&self, id: SubscriptionId) -> bool {
        self.state.lock().members.iter().any(|member| member.id == id)
    }

    /// Adds settlements, which are carried out even if the caller leaves.
    pub(super) fn push(self: &Arc<Self>, job: Job) {
        let mut state = self.state.lock();
        state.jobs.push_back(job);
        self.begin(&mut state);
    }

    /// Takes the settlements that wait, as many as may be sent together.
    pub(super) fn take_jobs(&self, mut take: impl FnMut(&Job) -> bool) -> Vec<Job> {
        let mut state = self.state.lock();
        let count = state.jobs.iter().take_while(|job| take(job)).count();
        state.jobs.drain(..count).collect()
    }

    fn begin(self: &Arc<Self>, state: &mut State) {
        self.work.notify_one();
        if !state.running {
            state.running = true;
            let dispatcher = self.clone();
            self.broker.shutdown().spawn(async move { dispatcher.run().await });
        }
    }

    async fn run(self: Arc<Self>) {
        // Should it panic, the next stream or call starts a new task; those that wait are told.
        let reset = Reset(&self);
        let hub = self.broker.hub().clone();
        let shutdown = self.broker.shutdown().clone();
        let mut controls = hub.controls();
        let mut looking = Looking::new(&self);
        loop {
            self.settle_waiting(&mut looking).await;
            if std::mem::take(&mut self.state.lock().came) {
                looking.doubt();
            }
            let draining = shutdown.is_draining();
            let again = !draining && looking.look(&self).await;
            let ends = self.ends();
            if draining || ends {
                looking.tell_now(&self);
            }
            if ends {
                break;
            }
            if again || self.has_jobs() {
                continue;
            }
            let next = looking.wakes_at();
            select! {
                () = self.work.notified() => {}
                () = looking.registration.woken() => {}
                () = sleep_until(next), if !draining => {}
                () = shutdown.draining(), if !draining => {}
                message = controls.recv() => match message {
                    Ok(Control::ConsumerChanged(changed)) if changed == self.consumer => looking.doubt(),
                    Ok(Control::Everything) | Err(RecvError::Lagged(_)) => looking.doubt(),
                    Ok(Control::ConsumerChanged(_) | Control::TopicsChanged | Control::IdentitiesChanged) => {}
                    Err(RecvError::Closed) => break,
                },
            }
        }
        std::mem::forget(reset);
    }

    fn has_jobs(&self) -> bool {
        !self.state.lock().jobs.is_empty()
    }

    /// Whether nothing is left to do, in which case the task ends.
    fn ends(&self) -> bool {
        let mut state = self.state.lock();
        let ends = state.members.is_empty() && state.jobs.is_empty();
        state.running = !ends;
        ends
    }
}

/// Lets the dispatcher be taken up again, and drops what waits, if its task panics.
struct Reset<'a>(&'a Dispatcher);

impl Drop for Reset<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.running = false;
        state.jobs.clear();
    }
}
