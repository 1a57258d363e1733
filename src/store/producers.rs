//! The contract of producers.

use async_trait::async_trait;

use super::{ApiKeyRecord, StoreError};
use crate::domain::{ProducerName, Timestamp, TopicPattern};

/// Keeping producers.
#[async_trait]
pub trait ProducerStore {
    /// Registers a producer together with its first key, or nothing.
    ///
    /// [`RegisterProducerError::Exists`] carries the producer that has the name.
    async fn register_producer(
        &self,
        producer: &NewProducer,
        key: &ApiKeyRecord,
    ) -> Result<Producer, RegisterProducerError>;

    /// The producer of this name.
    async fn find_producer(&self, name: &ProducerName) -> Result<Option<Producer>, StoreError>;

    /// Producers whose names come after `after`, in the byte order of names.
    async fn list_producers(&self, after: &str, limit: usize) -> Result<Vec<Producer>, StoreError>;

    /// Changes what `change` names, and returns the producer as it is then; `None` if there is none.
    async fn update_producer(
        &self,
        name: &ProducerName,
        change: &ProducerChange,
    ) -> Result<Option<Producer>, StoreError>;

    /// Deletes a producer with its keys, or nothing; false if there is none of this name.
    async fn delete_producer(&self, name: &ProducerName) -> Result<bool, StoreError>;
}

/// A producer to be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewProducer {
    /// Its name.
    pub name: ProducerName,
    /// What it is, at most 1 KiB.
    pub description: String,
    /// Where it may publish.
    pub topics: Vec<TopicPattern>,
    /// A disabled producer's keys are refused.
    pub disabled: bool,
}

/// A producer as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    /// What its creator chose.
    pub settings: NewProducer,
    /// When it was registered.
    pub create_time: Timestamp,
}

/// What to change about a producer; `None` leaves it as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProducerChange {
    /// A new description.
    pub description: Option<String>,
    /// Where it may publish, in place of the whole list.
    pub topics: Option<Vec<TopicPattern>>,
    /// Disables the producer, or enables it again.
    pub disabled: Option<bool>,
}

/// Why a producer was not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterProducerError {
    /// The name is taken.
    #[error("the producer exists")]
    Exists(Box<Producer>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
