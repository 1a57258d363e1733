//! The contract of topics.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::{ConsumerName, NewTopic, Offset, Topic, TopicChange, TopicId, TopicName};

/// Creating topics and finding them.
#[async_trait]
pub trait TopicStore {
    /// Creates a topic, visible to every later look on every server.
    ///
    /// [`TopicError::Exists`] carries the topic that has the name, whatever its settings.
    async fn create_topic(&self, topic: &NewTopic) -> Result<Topic, TopicError>;

    /// The topic of this name.
    async fn find_topic(&self, name: &TopicName) -> Result<Option<Topic>, StoreError>;

    /// The topics of these names, in any order; those that do not exist are left out.
    async fn find_topics(&self, names: &[TopicName]) -> Result<Vec<Topic>, StoreError>;

    /// Topics whose names begin with `prefix` and come after `after`, in the byte order of names.
    async fn list_topics(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Topic>, StoreError>;

    /// Changes a topic and returns it as it is then; `None` if there is none of this name.
    async fn update_topic(&self, name: &TopicName, change: &TopicChange) -> Result<Option<Topic>, StoreError>;

    /// Topics that do not keep everything and come after `after`, in the order of ids, at most `limit`.
    async fn retained_topics(&self, after: TopicId, limit: usize) -> Result<Vec<TopicId>, StoreError>;

    /// Deletes a topic. From then on nothing finds it, nothing can be appended to it and no consumer
    /// registered on it; its name is free, and its id is never used again. Its events are left to
    /// [`remove_deleted`](Self::remove_deleted).
    ///
    /// Refused with [`DeleteTopicError::InUse`] while a consumer is registered on it. Of a deletion and a
    /// registration at the same time, one is refused.
    async fn delete_topic(&self, name: &TopicName) -> Result<TopicId, DeleteTopicError>;

    /// Deleted topics of which something may be left, oldest first, at most `limit`.
    async fn deleted_topics(&self, limit: usize) -> Result<Vec<TopicId>, StoreError>;

    /// Removes some of what a deleted topic left after `after`, in one short transaction; when nothing is
    /// left, the topic is not listed any more. Of a topic that lives, nothing goes that is kept. Repeating it is
    /// harmless, also at the same time.
    async fn remove_deleted(&self, topic: TopicId, after: Offset) -> Result<Removed, StoreError>;
}

/// What one step of a removal did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Events that went, with their ids.
    pub events: u64,
    /// Stored runs that went: batches as they were appended, or were packed together.
    pub segments: u64,
    /// Where the next step goes on; `None`: nothing is left to remove.
    pub more: Option<Offset>,
}

/// Why a topic was not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteTopicError {
    /// There is none of this name.
    #[error("the topic does not exist")]
    NotFound,
    /// Consumers are registered on it.
    #[error("consumer {consumer} is registered on the topic")]
    InUse {
        /// One of them.
        consumer: ConsumerName,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a topic was not created.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// The name is taken.
    #[error("the topic exists")]
    Exists(Box<Topic>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
