//! Topics by name, so that publishing and reading need no query for each call.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};

use super::{
    Broker,
    appender::{AppendContext, Appender},
    log::{LogContext, TopicLog},
    topic_counters::TopicCounters,
};
use crate::{
    domain::{Topic, TopicId, TopicName},
    store::StoreError,
};

/// How long a topic's settings are taken for true without a look.
const FRESH: Duration = Duration::from_secs(5);
/// A topic that is used when its settings are older than this is looked up again, together with all others.
const AGED: Duration = Duration::from_secs(2);
/// How often that is done.
const REFRESH: Duration = Duration::from_secs(1);
/// Topics that are looked up by one statement.
const TOGETHER: usize = 1000;
/// How long the log and queue of a topic that nobody uses stay in memory.
const IDLE: Duration = Duration::from_secs(60);

/// A topic, with what this process keeps for it.
#[derive(Debug, Clone)]
pub(super) struct TopicHandle {
    pub(super) topic: Arc<Topic>,
    pub(super) log: Arc<TopicLog>,
    pub(super) appender: Arc<Appender>,
}

/// Topics that were looked up, and those only: there are never more than topics that exist.
#[derive(Debug)]
pub(super) struct TopicCache {
    logs: Arc<LogContext>,
    appends: Arc<AppendContext>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How often names were forgotten: what was looked up before may be what was forgotten.
    forgotten: u64,
    names: HashMap<TopicName, Named>,
    parts: HashMap<TopicId, Parts>,
}

/// What was found under a name.
#[derive(Debug)]
struct Named {
    handle: TopicHandle,
    at: Instant,
    /// Somebody has used it since it has aged.
    wanted: bool,
}

#[derive(Debug)]
struct Parts {
    log: Arc<TopicLog>,
    appender: Arc<Appender>,
    used: Instant,
}

impl TopicCache {
    pub(super) fn new(logs: Arc<LogContext>, appends: Arc<AppendContext>) -> Self {
        Self { logs, appends, state: Mutex::default() }
    }

    fn get(&self, name: &TopicName) -> Option<TopicHandle> {
        let mut state = self.state.lock();
        let named = state.names.get_mut(name)?;
        let age = named.at.elapsed();
        named.wanted |= age >= AGED;
        (age < FRESH).then(|| named.handle.clone())
    }

    /// The names to be looked up before they are asked for again, and how often names were forgotten.
    fn wanted(&self) -> (Vec<TopicName>, u64) {
        let state = self.state.lock();
        let names = state.names.iter().filter(|(_, named)| named.wanted).map(|(name, _)| name.clone());
        (names.collect(), state.forgotten)
    }

    fn has_forgotten_since(&self, forgotten: u64) -> bool {
        self.state.lock().forgotten != forgotten
    }

    fn put(&self, topic: Topic) -> TopicHandle {
        let now = Instant::now();
        let mut state = self.state.lock();
        let parts = state.parts.entry(topic.id).or_insert_with(|| {
            let log =
                TopicLog::new(topic.id, topic.log_id, TopicCounters::new(&topic.settings.name), self.logs.clone());
            let appender = Appender::new(topic.id, log.clone(), self.appends.clone());
            Parts { log, appender, used: now }
        });
        parts.used = now;
        let (log, appender) = (parts.log.clone(), parts.appender.clone());
        log.is_now(topic.log_id);
        let topic = Arc::new(topic);
        let handle = TopicHandle { topic: topic.clone(), log, appender };
        let named = Named { handle: handle.clone(), at: now, wanted: false };
        state.names.insert(topic.settings.name.clone(), named);
        handle
    }

    fn forget(&self, name: &TopicName) {
        let mut state = self.state.lock();
        state.forgotten += 1;
        state.names.remove(name);
    }

    /// Has every topic looked up anew.
    pub(super) fn forget_names(&self) {
        let mut state = self.state.lock();
        state.forgotten += 1;
        state.names.clear();
    }

    /// The log of a topic that this process uses.
    pub(super) fn log(&self, topic: TopicId) -> Option<Arc<TopicLog>> {
        self.state.lock().parts.get(&topic).map(|parts| parts.log.clone())
    }

    /// Bytes of events in the rings of all topics.
    pub(super) fn ring_bytes(&self) -> usize {
        self.logs.budget.used()
    }

    /// Drops what nobody has used for a while.
    pub(super) fn sweep(&self) {
        let mut state = self.state.lock();
        state.names.retain(|_, named| named.at.elapsed() < FRESH);
        state.parts.retain(|_, parts| {
            // One is the cache's own; the appender holds the log as well.
            let in_use = Arc::strong_count(&parts.log) > 2 || Arc::strong_count(&parts.appender) > 1;
            if in_use {
                parts.used = Instant::now();
            }
            in_use || parts.used.elapsed() < IDLE
        });
    }
}

impl Broker {
    /// The topic of this name, at most 5 s old but for its bounds; `None` if there is none.
    pub(super) async fn topic(&self, name: &TopicName) -> Result<Option<TopicHandle>, StoreError> {
        if let Some(handle) = self.topics().get(name) {
            return Ok(Some(handle));
        }
        Ok(self.store().find_topic(name).await?.map(|topic| self.topics().put(topic)))
    }

    /// Looks up the topics that are in use before their settings are too old, all together: one look for each, again
    /// and again, would cost more than publishing to them.
    pub(super) async fn refresh_topics(self) {
        let mut ticks = interval(REFRESH);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.shutdown().stopping() => return,
                _ = ticks.tick() => {}
            }
            let (names, forgotten) = self.topics().wanted();
            for names in names.chunks(TOGETHER) {
                match self.store().find_topics(names).await {
                    // What is not there any more is left to be found out.
                    Ok(found) if !self.topics().has_forgotten_since(forgotten) => {
                        found.into_iter().for_each(|topic| drop(self.topics().put(topic)));
                    }
                    // Whoever needs one looks for it by itself, and hears why that fails.
                    Ok(_) | Err(_) => break,
                }
            }
        }
    }

    /// The topic of this name as it is now; `None` if there is none.
    pub(super) async fn topic_now(&self, name: &TopicName) -> Result<Option<TopicHandle>, StoreError> {
        let found = self.store().find_topic(name).await?;
        if found.is_none() {
            self.topics().forget(name);
        }
        Ok(found.map(|topic| self.topics().put(topic)))
    }

    /// Has a topic looked up anew.
    pub(super) fn forget_topic(&self, name: &TopicName) {
        self.topics().forget(name);
    }
}
