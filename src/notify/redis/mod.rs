//! The notifier of servers that share a Redis.
//!
//! One task holds two connections: one listens, one publishes. When either fails, or the own beat does not
//! come back, both are given up and made anew, for ever. Nobody waits for Redis: what is to be said goes
//! into an outbox, and what is heard goes to the hub.

mod outbox;
mod session;
mod wire;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use fred::types::config::Config;
use metrics::{Counter, counter};
use secrecy::{ExposeSecret, SecretString};
use tokio::{sync::watch, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use self::{outbox::Outbox, session::Sessions, wire::Wire};
use super::{Control, Hub, Notifier, NotifierState};
use crate::{
    domain::{ServerId, TopicId},
    telemetry::metric,
};

/// Schemes of URLs that lead to one Redis, one behind sentinels, or a cluster, with and without TLS.
const SCHEMES: [&str; 6] = ["redis", "rediss", "redis-sentinel", "rediss-sentinel", "redis-cluster", "rediss-cluster"];

/// How long a notifier that ends goes on sending what waits.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Tells other servers through Redis, and hears them. Dropping it stops it; [`Notifier::shutdown`] also waits.
pub struct RedisNotifier {
    hub: Arc<Hub>,
    outbox: Arc<Outbox>,
    state: watch::Receiver<NotifierState>,
    counters: Arc<Counters>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Times that tests shorten.
#[derive(Debug, Clone, Copy)]
pub struct RedisOptions {
    /// Pause between two beats.
    pub beat_interval: Duration,
    /// The own beat must come back after at most this time, and again within it; also the time for anything
    /// that Redis is asked.
    pub patience: Duration,
    /// Pause before the first attempt to connect again; it doubles with each further one.
    pub pause_min: Duration,
    /// Longest pause between two attempts to connect.
    pub pause_max: Duration,
    /// Messages heard that may wait to be handled; beyond that the oldest are lost, which is noticed and
    /// handled as if everything had changed.
    pub heard_capacity: usize,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            beat_interval: Duration::from_secs(1),
            patience: Duration::from_secs(2),
            pause_min: Duration::from_millis(100),
            pause_max: Duration::from_secs(2),
            heard_capacity: 1024,
        }
    }
}

/// What a [`RedisNotifier`] has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RedisCounts {
    /// Messages that Redis took, without beats.
    pub published: u64,
    /// Messages heard and understood, the own ones and beats included.
    pub received: u64,
    /// Messages heard and not understood.
    pub ignored: u64,
    /// Messages lost because they came faster than they were handled.
    pub lagged: u64,
    /// Times that both connections stood.
    pub connected: u64,
}

/// The URL does not lead to a Redis. It may hold a password, so it is not repeated.
#[derive(Debug, thiserror::Error)]
#[error("the Redis URL is not one; write redis://[[user]:password@]host[:port][/database], or rediss:// for TLS")]
pub struct InvalidRedisUrl;

#[derive(Debug)]
struct Counters {
    published: Tally,
    received: Tally,
    ignored: Tally,
    lagged: Tally,
    connected: Tally,
}

/// A count of this notifier, which is also a metric of the process.
#[derive(Debug)]
struct Tally {
    count: AtomicU64,
    metric: Counter,
}

impl Counters {
    fn new() -> Self {
        let tally = |name: &'static str| Tally { count: AtomicU64::new(0), metric: counter!(name) };
        Self {
            published: tally(metric::REDIS_PUBLISHED),
            received: tally(metric::REDIS_RECEIVED),
            ignored: tally(metric::REDIS_IGNORED),
            lagged: tally(metric::REDIS_LAGGED),
            connected: tally(metric::REDIS_CONNECTED),
        }
    }
}

impl Tally {
    fn add(&self, count: u64) {
        self.count.fetch_add(count, Ordering::Relaxed);
        self.metric.increment(count);
    }

    fn get(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

impl RedisNotifier {
    /// Begins to connect, in a task; a Redis that is away is no error. Needs a Tokio runtime.
    ///
    /// Servers with the same `cluster_id` hear each other. The state is [`NotifierState::Degraded`] at first.
    pub fn connect(
        url: &SecretString,
        cluster_id: Uuid,
        server: ServerId,
        hub: Arc<Hub>,
        options: RedisOptions,
    ) -> Result<Self, InvalidRedisUrl> {
        let (outbox, counters) = (Arc::new(Outbox::default()), Arc::new(Counters::new()));
        let (state, watched) = watch::channel(NotifierState::Degraded);
        let sessions = Sessions::new(
            parse(url)?,
            Wire::new(cluster_id, server),
            options,
            Arc::clone(&hub),
            Arc::clone(&outbox),
            Arc::clone(&counters),
            state,
        );
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(sessions.run(stop.clone()));
        tasks.close();
        Ok(Self { hub, outbox, state: watched, counters, stop, tasks })
    }

    /// What was done so far.
    pub fn counts(&self) -> RedisCounts {
        let Counters { published, received, ignored, lagged, connected } = &*self.counters;
        let [published, received, ignored, lagged, connected] =
            [published, received, ignored, lagged, connected].map(Tally::get);
        RedisCounts { published, received, ignored, lagged, connected }
    }
}

#[async_trait]
impl Notifier for RedisNotifier {
    fn announce(&self, topic: TopicId) {
        self.outbox.put(wire::Message::Grew(topic));
    }

    fn control(&self, message: Control) {
        self.hub.control(message);
        self.tell_others(message);
    }

    fn tell_others(&self, message: Control) {
        self.outbox.put(wire::Message::Control(message));
    }

    fn state(&self) -> watch::Receiver<NotifierState> {
        self.state.clone()
    }

    async fn shutdown(&self) {
        if *self.state.borrow() == NotifierState::Healthy {
            // What is not sent in time costs others a poll interval.
            let _sent = timeout(LAST_WORDS, self.outbox.emptied()).await;
        }
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for RedisNotifier {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl fmt::Debug for RedisNotifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = *self.state.borrow();
        f.debug_struct("RedisNotifier").field("state", &state).field("counts", &self.counts()).finish_non_exhaustive()
    }
}

fn parse(url: &SecretString) -> Result<Config, InvalidRedisUrl> {
    let url = url.expose_secret();
    let (scheme, _) = url.split_once("://").ok_or(InvalidRedisUrl)?;
    if !SCHEMES.contains(&scheme) {
        return Err(InvalidRedisUrl);
    }
    Config::from_url(url).map_err(|_| InvalidRedisUrl)
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::parse;

    #[test]
    fn urls_lead_to_a_redis() {
        for good in
            ["redis://localhost", "redis://:secret@10.0.0.1:6380/2", "redis-sentinel://a:1?sentinelServiceName=b"]
        {
            assert!(parse(&SecretString::from(good)).is_ok(), "{good}");
        }
        for bad in ["", "localhost:6379", "http://localhost", "redis://", "redis://:secret@h:x", "redis://h/no"] {
            let text = parse(&SecretString::from(bad)).err().map(|error| format!("{error} {error:?}"));
            assert!(text.is_some_and(|text| !text.contains("secret")), "{bad}");
        }
    }
}
