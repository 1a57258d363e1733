//! The contract of topics.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::{NewTopic, Topic, TopicChange, TopicName};

/// Creating topics and finding them.
#[async_trait]
pub trait TopicStore {
    /// Creates a topic, visible to every later look on every server.
    ///
    /// [`TopicError::Exists`] carries the topic that has the name, whatever its settings.
    async fn create_topic(&self, topic: &NewTopic) -> Result<Topic, TopicError>;

    /// The topic of this name.
    async fn find_topic(&self, name: &TopicName) -> Result<Option<Topic>, StoreError>;

    /// Topics whose names begin with `prefix` and come after `after`, in the byte order of names.
    async fn list_topics(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Topic>, StoreError>;

    /// Changes a topic and returns it as it is then; `None` if there is none of this name.
    async fn update_topic(&self, name: &TopicName, change: &TopicChange) -> Result<Option<Topic>, StoreError>;
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
