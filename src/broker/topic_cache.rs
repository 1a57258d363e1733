//! Topics by name, so that publishing and reading need no query for each call.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

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
    names: HashMap<TopicName, (TopicHandle, Instant)>,
    parts: HashMap<TopicId, Parts>,
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
        let state = self.state.lock();
        state.names.get(name).filter(|(_, at)| at.elapsed() < FRESH).map(|(handle, _)| handle.clone())
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
        state.names.insert(topic.settings.name.clone(), (handle.clone(), now));
        handle
    }

    fn forget(&self, name: &TopicName) {
        self.state.lock().names.remove(name);
    }

    /// Has every topic looked up anew.
    pub(super) fn forget_names(&self) {
        self.state.lock().names.clear();
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
        state.names.retain(|_, (_, at)| at.elapsed() < FRESH);
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
