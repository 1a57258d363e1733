//! The use cases: what EventFlow does, without knowing how it is asked or where things are kept.
//!
//! One file for each verb. [`Broker`] is a cheap clone; everything behind it is shared.

mod account;
mod ahead;
mod appender;
mod chain;
mod commit;
mod consumers;
mod ending;
mod enrich;
mod frame;
mod group;
mod history;
mod holds;
mod identities;
mod keys;
mod lag;
mod life;
mod log;
mod manage;
mod observe;
mod packer;
mod poll;
mod poller;
mod presence;
mod producers;
mod publish;
mod publish_life;
mod publish_stream;
mod queue;
mod reads;
mod retention;
mod ring;
mod shortened;
mod streams;
mod subscribe;
mod subscription;
mod surely;
mod take;
mod topic_cache;
mod topic_counters;
mod topics;
mod upkeep;
mod users;
mod verify;

use std::{future::Future, sync::Arc, time::Duration};

use aws_lc_rs::rand::SystemRandom;
use parking_lot::Mutex;
use tokio::{sync::Semaphore, task::JoinError, time::Instant};
use tracing::Instrument;

use crate::{
    auth::{Auth, AuthError},
    domain::{Principal, ServerId},
    notify::{Control, Hub, SharedNotifier},
    shutdown::Shutdown,
    store::{SharedStore, StoreError},
};

use appender::AppendContext;
use holds::Holds;
use log::LogContext;
use queue::Queues;
use ring::RingBudget;
use streams::Streams;
use topic_cache::TopicCache;

pub use account::{LogoutError, PasswordError};
pub use consumers::{CommitOffsetError, ConsumerView, ConsumersError};
pub use enrich::TRACEPARENT;
pub use frame::{ClosingReason, Frame, Position, Run};
pub use history::{EventName, EventPage, HistoryError, ListEvents, Order, Resume};
pub use keys::{KeysError, NewKey};
pub use packer::PackOptions;
pub use poll::{Poll, Polled, PolledConsumer};
pub use producers::ProducersError;
pub use publish::{Publish, PublishError, Published, Refusal};
pub use publish_life::PublishLife;
pub use publish_stream::{PublishStream, PublishStreamError, Submitted};
pub use queue::{
    DeadLetterView, DeadLettersError, Deliveries, Delivery, PolledQueue, QueueSubscription, Settle, SettleOutcome,
    SettlementError,
};
pub use streams::{NoRoom, StreamRoom};
pub use subscribe::{CredentialEnd, Source, StopAt, Subscribe, SubscribeError, Subscription};
pub use subscription::LogSubscription;
pub use topics::{TopicsError, Trimmed};
pub use users::{NewUser, UsersError};
pub use verify::{Alteration, Altered, Noted, Verified, VerifiedPart, VerifyTopic};

/// How a broker behaves.
#[derive(Debug, Clone)]
pub struct BrokerOptions {
    /// Bytes of recent events in memory for each topic.
    pub ring_bytes: usize,
    /// Bytes of recent events in memory for all topics.
    pub ring_bytes_total: usize,
    /// Bytes that may wait to be appended to each topic.
    pub queue_bytes: usize,
    /// Bytes that may wait to be appended to all topics.
    pub queue_bytes_total: usize,
    /// How long a publish waits for room.
    pub queue_timeout: Duration,
    /// Requests of one publishing stream that may be unanswered.
    pub publish_stream_requests: usize,
    /// Bytes of such requests and of their answers.
    pub publish_stream_bytes: usize,
    /// How long a stream may get, give or take a tenth.
    pub stream_max_age: Duration,
    /// How often heads are looked up; `None`: 1 s with a healthy notifier, 100 ms without.
    pub poll_interval: Option<Duration>,
    /// How often events that are due are looked for, to be removed.
    pub retention_interval: Duration,
    /// What is packed in the background; `None`: nothing.
    pub pack: Option<PackOptions>,
    /// Streams that may be open at once.
    pub max_streams: usize,
    /// Streams that one principal may have open at once.
    pub max_streams_per_principal: usize,
    /// The address of this server, in words for people.
    pub server_name: String,
}

/// Reads of logs from the store under way at once; each brings about 1 MiB.
const READS: usize = 64;

/// The use cases. Clones share everything.
#[derive(Debug, Clone)]
pub struct Broker {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: SharedStore,
    notifier: SharedNotifier,
    hub: Arc<Hub>,
    auth: Auth,
    shutdown: Shutdown,
    options: BrokerOptions,
    server: ServerId,
    topics: TopicCache,
    holds: Arc<Holds>,
    streams: Arc<Streams>,
    queues: Queues,
    /// Until when the other servers know that this one lives.
    present_until: Mutex<Instant>,
}

impl Broker {
    /// A broker, with its background tasks begun; they end with `shutdown`.
    pub fn start(
        store: SharedStore,
        notifier: SharedNotifier,
        hub: Arc<Hub>,
        auth: Auth,
        server: ServerId,
        shutdown: Shutdown,
        options: BrokerOptions,
    ) -> Self {
        let logs = Arc::new(LogContext {
            store: store.clone(),
            hub: hub.clone(),
            shutdown: shutdown.clone(),
            budget: RingBudget::new(options.ring_bytes, options.ring_bytes_total),
            reads: Semaphore::new(READS),
            rests: Arc::new(Semaphore::new((options.ring_bytes_total / 1024).min(Semaphore::MAX_PERMITS))),
        });
        let appends = Arc::new(AppendContext {
            store: store.clone(),
            notifier: notifier.clone(),
            shutdown: shutdown.clone(),
            topic_bytes: options.queue_bytes,
            room: Arc::new(Semaphore::new(options.queue_bytes_total.min(Semaphore::MAX_PERMITS))),
            total_bytes: options.queue_bytes_total,
            queue_timeout: options.queue_timeout,
        });
        let holds = Holds::new(store.clone(), notifier.clone(), hub.clone(), shutdown.clone());
        let topics = TopicCache::new(logs, appends);
        let streams = Streams::new(options.max_streams, options.max_streams_per_principal);
        let (queues, present_until) = (Queues::default(), Mutex::new(Instant::now()));
        let inner = Inner {
            store,
            notifier,
            hub,
            auth,
            shutdown,
            options,
            server,
            topics,
            holds,
            streams,
            queues,
            present_until,
        };
        let broker = Self { inner: Arc::new(inner) };
        broker.shutdown().spawn(broker.holds().clone().run());
        broker.shutdown().spawn(broker.clone().poll());
        broker.shutdown().spawn(broker.clone().be_present());
        broker.shutdown().spawn(broker.clone().obey());
        broker.shutdown().spawn(broker.clone().refresh_topics());
        broker.shutdown().spawn(broker.clone().follow_store());
        broker.shutdown().spawn(broker.clone().watch_lag());
        broker.shutdown().spawn(broker.clone().remove_in_background());
        if let Some(pack) = broker.inner.options.pack {
            broker.shutdown().spawn(broker.clone().pack_in_background(pack));
        }
        broker.shutdown().spawn(broker.clone().sweep_queues());
        broker.shutdown().spawn(broker.clone().note_key_uses());
        broker.shutdown().spawn(broker.clone().rotate_signing_keys());
        broker
    }

    /// Does what control messages ask: forgets what they say has changed.
    async fn obey(self) {
        use tokio::sync::broadcast::error::RecvError;

        let mut controls = self.hub().controls();
        loop {
            let message = tokio::select! {
                () = self.shutdown().stopping() => return,
                message = controls.recv() => message,
            };
            match message {
                Ok(Control::TopicsChanged) => self.topics().forget_names(),
                Ok(Control::IdentitiesChanged) => self.inner.auth.clear(),
                Ok(Control::ConsumerChanged(_)) => {}
                Ok(Control::Everything) | Err(RecvError::Lagged(_)) => {
                    self.topics().forget_names();
                    self.inner.auth.clear();
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// Has everyone look anew whenever the store's server was started again or replaced.
    async fn follow_store(self) {
        let mut incarnation = self.store().incarnation();
        loop {
            tokio::select! {
                () = self.shutdown().stopping() => return,
                changed = incarnation.changed() => if changed.is_err() {
                    // It lives in this process and never changes.
                    return;
                },
            }
            self.hub().wake_all();
            self.hub().control(Control::Everything);
        }
    }

    /// Runs a change in a task of its own, so that a caller who leaves does not cut it off.
    async fn change<F, T>(&self, change: impl FnOnce(SharedStore) -> F) -> Result<T, Stopped>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        self.shutdown().spawn(change(self.store().clone()).in_current_span()).await.map_err(Stopped)
    }

    /// How a stream's credential ended since the stream began, if it did; a store that cannot be asked
    /// leaves it standing.
    async fn credential_end(&self, principal: &Principal) -> Option<CredentialEnd> {
        match self.inner.auth.recheck(principal).await {
            Ok(()) | Err(AuthError::Store(_)) => None,
            Err(AuthError::Expired) => Some(CredentialEnd::Expired),
            Err(AuthError::RoleLowered { .. }) => Some(CredentialEnd::RoleLowered),
            Err(AuthError::Revoked | AuthError::Missing | AuthError::Invalid | AuthError::ProducerDisabled { .. }) => {
                Some(CredentialEnd::Revoked)
            }
        }
    }

    /// How long a new stream may get: about the configured age, so that not all end at once.
    fn stream_age(&self) -> Duration {
        let mut random = [0];
        // Without randomness the age is merely a little lower.
        let _ = aws_lc_rs::rand::SecureRandom::fill(&SystemRandom::new(), &mut random);
        self.inner.options.stream_max_age.mul_f64(0.9 + f64::from(random[0]) / 255.0 * 0.2)
    }

    /// What everything in the process ends by.
    pub fn shutdown(&self) -> &Shutdown {
        &self.inner.shutdown
    }

    /// The store.
    pub fn store(&self) -> &SharedStore {
        &self.inner.store
    }

    /// The notifier.
    pub fn notifier(&self) -> &SharedNotifier {
        &self.inner.notifier
    }

    fn hub(&self) -> &Arc<Hub> {
        &self.inner.hub
    }

    fn topics(&self) -> &TopicCache {
        &self.inner.topics
    }

    fn holds(&self) -> &Arc<Holds> {
        &self.inner.holds
    }

    fn streams(&self) -> &Arc<Streams> {
        &self.inner.streams
    }

    fn queues(&self) -> &Queues {
        &self.inner.queues
    }

    fn server_id(&self) -> ServerId {
        self.inner.server
    }

    fn server_name(&self) -> &str {
        &self.inner.options.server_name
    }

    fn retention_interval(&self) -> Duration {
        self.inner.options.retention_interval
    }

    fn poll_interval(&self) -> Option<Duration> {
        self.inner.options.poll_interval
    }
}

/// A task ended without a result.
#[derive(Debug)]
struct Stopped(JoinError);

impl Stopped {
    fn store(self) -> StoreError {
        StoreError::Unavailable(self.0.into())
    }
}
