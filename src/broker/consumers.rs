//! Registering, seeing and deleting consumers.

use std::{sync::Arc, time::Duration};

use bytestring::ByteString;

use super::{Broker, Stopped, subscribe::SubscribeError};
use crate::{
    domain::{
        Bounds, Connection, Consumer, ConsumerName, Mode, NewConsumer, Offset, Permission, Principal, QueueStatus,
        ReadCap, StartFrom, Timestamp, TopicName, limits,
    },
    notify::Control,
    store::{RegisterConsumerError, StoreError},
};

/// Why something about a consumer was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConsumersError {
    /// The name is taken by a consumer with other settings.
    #[error("consumer {consumer} exists")]
    Exists {
        /// The consumer.
        consumer: ConsumerName,
    },
    /// There is no such consumer.
    #[error("consumer {consumer} does not exist")]
    NotFound {
        /// The consumer.
        consumer: ConsumerName,
    },
    /// There is no such topic.
    #[error("topic {topic} does not exist")]
    TopicNotFound {
        /// The topic.
        topic: TopicName,
    },
    /// The change is one for the other mode.
    #[error("consumer {consumer} is in MODE_ORDERED, which has no leases, attempts and backoff")]
    WrongMode {
        /// The consumer.
        consumer: ConsumerName,
    },
    /// The caller may not see this consumer.
    #[error("{principal} has no access to consumer {consumer}")]
    Denied {
        /// The caller.
        principal: ByteString,
        /// The consumer.
        consumer: ConsumerName,
    },
    /// Where it is to begin is not possible.
    #[error(transparent)]
    Start(SubscribeError),
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// A consumer, and where it is.
#[derive(Debug, Clone)]
pub struct ConsumerView {
    /// As stored; in MODE_QUEUE, everything up to `stored` is settled.
    pub consumer: Consumer,
    /// What keeps it busy, in MODE_QUEUE.
    pub queue: Option<QueueStatus>,
    /// What its topic holds; `None` if the topic is gone.
    pub bounds: Option<Bounds>,
    /// Age of the oldest event after the position; 0 if there is none. Only of a single consumer.
    pub lag_time: Option<Duration>,
    /// Streams that serve it, at most 100. Only of a single consumer.
    pub connections: Vec<Connection>,
    /// How many streams there are.
    pub connection_count: usize,
}

impl Broker {
    /// Registers a consumer; with `if_not_exists`, an equal one that exists is returned.
    pub async fn register_consumer(
        &self,
        new: NewConsumer,
        if_not_exists: bool,
    ) -> Result<ConsumerView, ConsumersError> {
        let topic_missing = || ConsumersError::TopicNotFound { topic: new.topic.clone() };
        let handle = self.topic_now(&new.topic).await?.ok_or_else(topic_missing)?;
        let bounds = handle.topic.bounds;
        // Before the start is looked at, which may not be possible any more.
        if let Some(found) = self.store().find_consumer(&new.name).await? {
            return match if_not_exists && found.settings == new {
                true => Ok(ConsumerView::plain(found, Some(bounds))),
                false => Err(ConsumersError::Exists { consumer: new.name }),
            };
        }
        let stored = match self.resolve_start(&handle, new.start).await {
            Ok(stored) => stored,
            Err(SubscribeError::TopicNotFound { .. }) => return Err(topic_missing()),
            Err(error) => return Err(ConsumersError::Start(error)),
        };
        if let StartFrom::After(_) = new.start {
            super::subscribe::check_kept(&new.topic, stored, bounds, false).map_err(ConsumersError::Start)?;
        }
        let (settings, topic) = (new.clone(), handle.topic.id);
        let registered =
            self.change(move |store| async move { store.register_consumer(&settings, topic, stored).await }).await;
        match registered.map_err(Stopped::store)? {
            Ok(consumer) => Ok(ConsumerView::plain(consumer, Some(bounds))),
            Err(RegisterConsumerError::Exists(consumer)) if if_not_exists && consumer.settings == new => {
                Ok(ConsumerView::plain(*consumer, Some(bounds)))
            }
            Err(RegisterConsumerError::Exists(_)) => Err(ConsumersError::Exists { consumer: new.name }),
            Err(RegisterConsumerError::TopicNotFound) => Err(topic_missing()),
            Err(RegisterConsumerError::Store(error)) => Err(error.into()),
        }
    }

    /// A consumer with its position, lag and connections.
    pub async fn get_consumer(
        &self,
        principal: &Principal,
        name: &ConsumerName,
    ) -> Result<ConsumerView, ConsumersError> {
        if !principal.may_on_consumer(Permission::ReadConsumers, name) {
            return Err(ConsumersError::Denied { principal: principal.name.clone(), consumer: name.clone() });
        }
        let found = self.store().find_consumer(name).await?;
        let mut consumer = found.ok_or_else(|| ConsumersError::NotFound { consumer: name.clone() })?;
        let queue = self.queue_statuses(std::slice::from_mut(&mut consumer)).await?.pop();
        let (connections, connection_count) = self.store().connections(consumer.id, limits::LISTED_CONNECTIONS).await?;
        let heads = self.store().heads(&[consumer.topic_id]).await?;
        let bounds = heads.first().map(|head| head.bounds);
        let lag_time = self.lag_time(&consumer, bounds).await?;
        Ok(ConsumerView { consumer, queue, bounds, lag_time, connections, connection_count })
    }

    /// Looks up where those of some consumers are that are in MODE_QUEUE, by one statement, and notes it.
    pub(super) async fn queue_statuses(&self, consumers: &mut [Consumer]) -> Result<Vec<QueueStatus>, StoreError> {
        let queues = consumers.iter().filter(|consumer| consumer.settings.mode == Mode::Queue);
        let queues: Vec<_> = queues.map(|consumer| consumer.id).collect();
        if queues.is_empty() {
            return Ok(Vec::new());
        }
        let statuses = self.store().queue_status(&queues).await?;
        for consumer in consumers {
            if let Some(status) = statuses.iter().find(|status| status.consumer == consumer.id) {
                consumer.stored = status.position;
            }
        }
        Ok(statuses)
    }

    async fn lag_time(&self, consumer: &Consumer, bounds: Option<Bounds>) -> Result<Option<Duration>, StoreError> {
        if bounds.is_none_or(|bounds| bounds.head <= consumer.stored) {
            return Ok(Some(Duration::ZERO));
        }
        let one = ReadCap { events: 1, bytes: 1 };
        let read = self.store().read(consumer.topic_id, consumer.stored, one).await?;
        let segment = read.and_then(|read| read.segment);
        let oldest = segment.as_ref().and_then(|segment| segment.events().first());
        Ok(oldest.map(|event| Timestamp::now().since(event.recorded_time)))
    }

    /// Consumers, of one topic if given, after `after`, in the order of names.
    pub async fn list_consumers(
        &self,
        topic: Option<&TopicName>,
        after: &str,
        limit: usize,
    ) -> Result<Vec<ConsumerView>, ConsumersError> {
        let topic = match topic {
            None => None,
            Some(name) => {
                let found = self.topic_now(name).await?;
                Some(found.ok_or_else(|| ConsumersError::TopicNotFound { topic: name.clone() })?.topic.id)
            }
        };
        let mut consumers = self.store().list_consumers(topic, after, limit).await?;
        let queues = self.queue_statuses(&mut consumers).await?;
        let mut topics: Vec<_> = consumers.iter().map(|consumer| consumer.topic_id).collect();
        topics.sort_unstable();
        topics.dedup();
        let heads = self.store().heads(&topics).await?;
        let bounds = |consumer: &Consumer| heads.iter().find(|head| head.topic == consumer.topic_id).map(|h| h.bounds);
        Ok(consumers
            .into_iter()
            .map(|consumer| {
                let bounds = bounds(&consumer);
                let queue = queues.iter().find(|status| status.consumer == consumer.id).copied();
                ConsumerView { queue, ..ConsumerView::plain(consumer, bounds) }
            })
            .collect())
    }

    /// Deletes a consumer with its keys; its streams end.
    pub async fn delete_consumer(&self, name: &ConsumerName) -> Result<(), ConsumersError> {
        let (store, wanted) = (self.store().clone(), name.clone());
        let deleted = self.change_identities(async move { store.delete_consumer(&wanted).await }).await;
        let id = deleted.map_err(Stopped::store)??;
        let id = id.ok_or_else(|| ConsumersError::NotFound { consumer: name.clone() })?;
        self.notifier().control(Control::ConsumerChanged(id));
        Ok(())
    }
}

impl ConsumerView {
    pub(super) fn plain(consumer: Consumer, bounds: Option<Bounds>) -> Self {
        let (lag_time, connections, connection_count) = (None, Vec::new(), 0);
        let nothing = QueueStatus { consumer: consumer.id, position: consumer.stored, ..QueueStatus::default() };
        let queue = (consumer.settings.mode == Mode::Queue).then_some(nothing);
        Self { consumer, queue, bounds, lag_time, connections, connection_count }
    }

    /// Events after the position; with a filter an upper bound.
    pub fn lag_events(&self) -> u64 {
        let from = |bounds: Bounds| self.consumer.stored.max(bounds.trimmed_to);
        self.bounds.map_or(0, |bounds| bounds.head.since(from(bounds)))
    }
}

/// Why an offset was not committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitOffsetError {
    /// There is no such consumer.
    #[error("consumer {consumer} does not exist")]
    NotFound {
        /// The consumer.
        consumer: ConsumerName,
    },
    /// The caller may not commit for it.
    #[error("{principal} has no access to consumer {consumer}")]
    Denied {
        /// The caller.
        principal: ByteString,
        /// The consumer.
        consumer: ConsumerName,
    },
    /// It settles deliveries instead.
    #[error("consumer {consumer} is in MODE_QUEUE; use Settle")]
    WrongMode {
        /// The consumer.
        consumer: ConsumerName,
    },
    /// Another stream has taken the consumer since, or it was moved.
    #[error("the epoch is over: another stream took consumer {consumer}, or it was moved")]
    Fenced {
        /// The consumer.
        consumer: ConsumerName,
    },
    /// There is no event at this offset yet.
    #[error("offset {offset} is beyond head {head}; commit what was received")]
    BeyondHead {
        /// What was committed.
        offset: Offset,
        /// The newest offset.
        head: Offset,
    },
    /// The store failed.
    #[error("the store failed")]
    Store(#[source] Arc<StoreError>),
}
