//! Registering, seeing, changing and deleting producers.

use super::{Broker, NewKey, Stopped};
use crate::{
    auth::{CryptoError, new_key},
    domain::ProducerName,
    store::{KeyOwner, NewProducer, Producer, ProducerChange, RegisterProducerError, StoreError},
};

/// Why something about a producer was refused.
#[derive(Debug, thiserror::Error)]
pub enum ProducersError {
    /// The name is taken by a producer with other settings.
    #[error("producer {producer} exists")]
    Exists {
        /// The producer.
        producer: ProducerName,
    },
    /// There is no such producer.
    #[error("producer {producer} does not exist")]
    NotFound {
        /// The producer.
        producer: ProducerName,
    },
    /// No key could be made.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl Broker {
    /// Registers a producer with its first key; with `if_not_exists`, an equal one that exists is
    /// returned, without a key.
    pub async fn register_producer(
        &self,
        new: NewProducer,
        if_not_exists: bool,
    ) -> Result<(Producer, Option<NewKey>), ProducersError> {
        let (record, secret) = new_key(KeyOwner::Producer(new.name.clone()), None)?;
        let (settings, key) = (new.clone(), record.clone());
        let registered = self.change(move |store| async move { store.register_producer(&settings, &key).await }).await;
        match registered.map_err(Stopped::store)? {
            Ok(producer) => Ok((producer, Some(NewKey { record, secret }))),
            Err(RegisterProducerError::Exists(producer)) if if_not_exists && producer.settings == new => {
                Ok((*producer, None))
            }
            Err(RegisterProducerError::Exists(_)) => Err(ProducersError::Exists { producer: new.name }),
            Err(RegisterProducerError::Store(error)) => Err(error.into()),
        }
    }

    /// The producer of this name.
    pub async fn get_producer(&self, name: &ProducerName) -> Result<Producer, ProducersError> {
        let found = self.store().find_producer(name).await?;
        found.ok_or_else(|| ProducersError::NotFound { producer: name.clone() })
    }

    /// Producers after `after`, in the order of names.
    pub async fn list_producers(&self, after: &str, limit: usize) -> Result<Vec<Producer>, StoreError> {
        self.store().list_producers(after, limit).await
    }

    /// Changes a producer and returns it as it is then.
    pub async fn update_producer(
        &self,
        name: &ProducerName,
        change: ProducerChange,
    ) -> Result<Producer, ProducersError> {
        let (store, wanted) = (self.store().clone(), name.clone());
        let updated = self.change_identities(async move { store.update_producer(&wanted, &change).await }).await;
        updated.map_err(Stopped::store)??.ok_or_else(|| ProducersError::NotFound { producer: name.clone() })
    }

    /// Deletes a producer with its keys; its events stay.
    pub async fn delete_producer(&self, name: &ProducerName) -> Result<(), ProducersError> {
        let (store, wanted) = (self.store().clone(), name.clone());
        let deleted = self.change_identities(async move { store.delete_producer(&wanted).await }).await;
        match deleted.map_err(Stopped::store)?? {
            true => Ok(()),
            false => Err(ProducersError::NotFound { producer: name.clone() }),
        }
    }
}
