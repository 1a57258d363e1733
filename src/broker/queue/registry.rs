//! The consumers in MODE_QUEUE that this process serves.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::{
    dispatcher::Dispatcher,
    member::{End, Member},
};
use crate::{
    broker::{Broker, topic_cache::TopicHandle},
    domain::{Consumer, ConsumerId, ConsumerName, LeaseId, Mode, Offset, Release, limits},
    notify::Control,
    store::StoreError,
};

/// How long a consumer's name and mode are taken for true without a look.
const FRESH: Duration = Duration::from_secs(5);
/// Names that are remembered, at most.
const NAMES: usize = 10_000;
/// A stream that has handed out a frame and was not asked for the next one for this long has a client
/// that does not read; its leases are given to others.
const STALLED: Duration = Duration::from_secs(60);
/// How long leases are tried to be given back.
const RELEASE_FOR: Duration = Duration::from_secs(15);
/// Pause between two tries.
const RELEASE_PAUSE: Duration = Duration::from_millis(250);
/// How long the process waits at its end for that.
const RELEASE_AT_END: Duration = Duration::from_secs(3);

/// See the module.
#[derive(Debug, Default)]
pub(in crate::broker) struct Queues {
    dispatchers: Mutex<HashMap<ConsumerId, Weak<Dispatcher>>>,
    names: Mutex<HashMap<ConsumerName, Known>>,
    releases: TaskTracker,
}

/// A consumer as it was looked up.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) id: ConsumerId,
    pub(super) mode: Mode,
    pub(super) handle: TopicHandle,
    at: Instant,
}

impl Queues {
    /// What serves a consumer in this process.
    pub(super) fn dispatcher(&self, broker: &Broker, known: &Known, name: &ConsumerName) -> Arc<Dispatcher> {
        let mut dispatchers = self.dispatchers.lock();
        if let Some(found) = dispatchers.get(&known.id).and_then(Weak::upgrade) {
            return found;
        }
        dispatchers.retain(|_, dispatcher| dispatcher.strong_count() > 0);
        let new = Dispatcher::new(broker.clone(), known.id, name.clone(), known.handle.clone());
        dispatchers.insert(known.id, Arc::downgrade(&new));
        new
    }

    fn running(&self) -> Vec<Arc<Dispatcher>> {
        self.dispatchers.lock().values().filter_map(Weak::upgrade).collect()
    }

    /// One in the other mode is looked up each time: the name may be one in this mode by now.
    fn known(&self, name: &ConsumerName) -> Option<Known> {
        let fresh = |known: &&Known| known.mode == Mode::Queue && known.at.elapsed() < FRESH;
        self.names.lock().get(name).filter(fresh).cloned()
    }

    pub(super) fn forget(&self, name: &ConsumerName) {
        self.names.lock().remove(name);
    }

    pub(super) fn know(&self, consumer: &Consumer, handle: TopicHandle) -> Known {
        let known = Known { id: consumer.id, mode: consumer.settings.mode, handle, at: Instant::now() };
        let mut names = self.names.lock();
        if names.len() >= NAMES {
            names.retain(|_, known| known.at.elapsed() < FRESH);
        }
        if names.len() < NAMES {
            names.insert(consumer.settings.name.clone(), known.clone());
        }
        known
    }
}

impl Broker {
    /// A consumer's id, mode and topic, at most 5 s old; `None` if there is none of this name.
    pub(super) async fn known_consumer(&self, name: &ConsumerName) -> Result<Option<Known>, StoreError> {
        if let Some(known) = self.queues().known(name) {
            return Ok(Some(known));
        }
        let Some(consumer) = self.store().find_consumer(name).await? else { return Ok(None) };
        let Some(handle) = self.topic(&consumer.settings.topic).await? else { return Ok(None) };
        Ok((handle.topic.id == consumer.topic_id).then(|| self.queues().know(&consumer, handle)))
    }

    /// Notes the streams of this process as connections of their consumers, and takes leases from those whose
    /// clients do not read.
    pub(in crate::broker) async fn attend_queues(&self) {
        let mut streams = Vec::new();
        for dispatcher in self.queues().running() {
            for member in dispatcher.members() {
                if member.is_stalled(STALLED) {
                    member.end(End::Stalled);
                    dispatcher.remove(member.id);
                    self.give_back(dispatcher.consumer, &member, Vec::new(), false);
                } else if let Some(claim) = &member.claim {
                    streams.push((dispatcher.consumer, claim.clone()));
                }
            }
        }
        if streams.is_empty() {
            return;
        }
        if let Err(error) = self.store().attend(&streams, limits::HOLD_LEASE).await {
            warn!(%error, streams = streams.len(), "the streams of consumers in MODE_QUEUE are not listed");
        }
    }

    /// Ends what streams still have that did not end in time, and waits until the store knows of all that ended,
    /// so that nobody takes their leases for those of a server that was killed.
    pub(in crate::broker) async fn leave_queues(&self) {
        for dispatcher in self.queues().running() {
            for member in dispatcher.members() {
                dispatcher.remove(member.id);
                self.give_back(dispatcher.consumer, &member, Vec::new(), true);
            }
        }
        self.queues().releases.close();
        if timeout(RELEASE_AT_END, self.queues().releases.wait()).await.is_err() {
            warn!("not all leases were given back; the other servers take them when they have run out");
        }
    }

    /// Ends the leases of a stream or call that is no member any more. What it was not sent, in `unsent` or still
    /// waiting, is due again; the rest too, unless it is to `keep` running.
    pub(super) fn give_back(
        &self,
        consumer: ConsumerId,
        member: &Member,
        mut unsent: Vec<(LeaseId, Offset)>,
        keep: bool,
    ) {
        for parcel in member.drain() {
            unsent.extend(parcel.unsent().map(|offset| (parcel.lease, offset)));
        }
        let release = Release { consumer, stream: member.id, unsent, keep };
        let broker = self.clone();
        self.shutdown().spawn(self.queues().releases.track_future(async move { broker.release(release).await }));
    }

    /// Releases a stream's leases, for as long as it takes within reason, and tells those who may take them.
    pub(super) async fn release(&self, release: Release) {
        let started = Instant::now();
        loop {
            match self.store().release(&release).await {
                Ok(_) => break,
                Err(error) if error.is_retryable() && started.elapsed() < RELEASE_FOR => sleep(RELEASE_PAUSE).await,
                Err(error) => {
                    warn!(%error, "leases were not given back; they run out by themselves");
                    return;
                }
            }
        }
        self.notifier().control(Control::ConsumerChanged(release.consumer));
    }
}
