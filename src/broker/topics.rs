//! Creating, changing, trimming, deleting and listing topics.

use bytestring::ByteString;

use super::{Broker, Stopped};
use crate::{
    domain::{Bounds, ConsumerName, NewTopic, Offset, Permission, Principal, Topic, TopicChange, TopicId, TopicName},
    notify::{Cause, Control},
    store::{DeleteTopicError, StoreError, TopicError},
};

/// Why something about a topic was refused.
#[derive(Debug, thiserror::Error)]
pub enum TopicsError {
    /// The name is taken by a topic with other settings.
    #[error("topic {topic} exists")]
    Exists {
        /// The topic.
        topic: TopicName,
    },
    /// There is no such topic.
    #[error("topic {topic} does not exist")]
    NotFound {
        /// The topic.
        topic: TopicName,
    },
    /// The caller may not see or change this topic.
    #[error("{principal} has no access to topic {topic}")]
    Denied {
        /// The caller.
        principal: ByteString,
        /// The topic.
        topic: TopicName,
    },
    /// Consumers are registered on it.
    #[error("consumers are registered on topic {topic}, among them {consumer}; delete them first")]
    InUse {
        /// The topic.
        topic: TopicName,
        /// One of them.
        consumer: ConsumerName,
    },
    /// There is no event at this offset yet.
    #[error("offset {before} is beyond the next offset {next} of topic {topic}")]
    BeyondHead {
        /// The topic.
        topic: TopicName,
        /// What was asked for.
        before: Offset,
        /// The next offset to come.
        next: Offset,
    },
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// What trimming did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trimmed {
    /// How many events went.
    pub events: u64,
    /// What the topic holds now.
    pub bounds: Bounds,
}

impl Broker {
    /// Creates a topic; with `if_not_exists`, an equal one that exists is returned.
    pub async fn create_topic(&self, new: NewTopic, if_not_exists: bool) -> Result<Topic, TopicsError> {
        let name = new.name.clone();
        let settings = new.clone();
        let created = self.change(move |store| async move { store.create_topic(&new).await }).await;
        match created.map_err(Stopped::store)? {
            Ok(topic) => {
                self.notifier().control(Control::TopicsChanged);
                Ok(topic)
            }
            Err(TopicError::Exists(topic)) if if_not_exists && topic.settings == settings => Ok(*topic),
            Err(TopicError::Exists(_)) => Err(TopicsError::Exists { topic: name }),
            Err(TopicError::Store(error)) => Err(error.into()),
        }
    }

    /// The topic of this name, as it is now.
    pub async fn get_topic(&self, principal: &Principal, name: &TopicName) -> Result<Topic, TopicsError> {
        if !principal.may_on_topic(Permission::ReadTopics, name) {
            return Err(TopicsError::Denied { principal: principal.name.clone(), topic: name.clone() });
        }
        let found = self.store().find_topic(name).await?;
        found.ok_or_else(|| TopicsError::NotFound { topic: name.clone() })
    }

    /// Topics whose names begin with `prefix`, after `after`, in the order of names.
    pub async fn list_topics(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Topic>, StoreError> {
        self.store().list_topics(prefix, after, limit).await
    }

    /// Changes a topic and returns it as it is then.
    pub async fn update_topic(&self, name: &TopicName, change: TopicChange) -> Result<Topic, TopicsError> {
        let wanted = name.clone();
        let changed = self.change(move |store| async move { store.update_topic(&wanted, &change).await }).await;
        let topic = changed.map_err(Stopped::store)??;
        self.forget_topic(name);
        self.notifier().control(Control::TopicsChanged);
        topic.ok_or_else(|| TopicsError::NotFound { topic: name.clone() })
    }

    /// Removes the events before an offset for good, in whole stored runs; with `validate_only`, only says
    /// what would be left.
    pub async fn trim_topic(
        &self,
        name: &TopicName,
        before: Offset,
        validate_only: bool,
    ) -> Result<Trimmed, TopicsError> {
        let missing = || TopicsError::NotFound { topic: name.clone() };
        let topic = self.store().find_topic(name).await?.ok_or_else(missing)?;
        let (id, old) = (topic.id, topic.bounds);
        let next = old.head.next();
        if before > next {
            return Err(TopicsError::BeyondHead { topic: name.clone(), before, next });
        }
        let up_to = before.previous();
        if validate_only {
            let bounds = self.store().trim_preview(id, up_to).await?.ok_or_else(missing)?;
            return Ok(Trimmed { events: bounds.trimmed_to.since(old.trimmed_to), bounds });
        }
        let trimmed = self.change(move |store| async move { store.trim(id, up_to).await }).await;
        let bounds = trimmed.map_err(Stopped::store)??.ok_or_else(missing)?;
        Ok(Trimmed { events: bounds.trimmed_to.since(old.trimmed_to), bounds })
    }

    /// Deletes a topic on which no consumer is registered. Its streams end, here and elsewhere; its events
    /// are removed in the background.
    pub async fn delete_topic(&self, name: &TopicName) -> Result<(), TopicsError> {
        let (broker, wanted) = (self.clone(), name.clone());
        let deleted = self.change(move |store| async move {
            let deleted = store.delete_topic(&wanted).await;
            if let Ok(topic) = &deleted {
                broker.tell_deleted(&wanted, *topic);
            }
            deleted
        });
        match deleted.await.map_err(Stopped::store)? {
            Ok(_) => Ok(()),
            Err(DeleteTopicError::NotFound) => Err(TopicsError::NotFound { topic: name.clone() }),
            Err(DeleteTopicError::InUse { consumer }) => Err(TopicsError::InUse { topic: name.clone(), consumer }),
            Err(DeleteTopicError::Store(error)) => Err(error.into()),
        }
    }

    /// Has the streams of a deleted topic look, on all servers, and everyone forget its name.
    fn tell_deleted(&self, name: &TopicName, topic: TopicId) {
        self.forget_topic(name);
        self.notifier().control(Control::TopicsChanged);
        self.hub().wake(topic, 0, Cause::Poll);
        self.notifier().announce(topic);
    }
}
