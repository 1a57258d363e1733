//! The contract of consumers, their stored offsets, and who holds them.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::domain::{
    Connection, Consumer, ConsumerChange, ConsumerId, ConsumerName, Epoch, NewConsumer, Offset, RenewedHold, ServerId,
    SubscriptionId, TopicId,
};

/// Registering consumers, holding them, and storing their offsets.
///
/// Time is the store's own clock, read after a consumer's row is locked. Epochs come from one sequence
/// for the whole store and are never used again, not even for a consumer registered anew.
#[async_trait]
pub trait ConsumerStore {
    /// Registers a consumer whose stored offset is `stored`.
    ///
    /// [`RegisterConsumerError::Exists`] carries the consumer that has the name.
    async fn register_consumer(
        &self,
        consumer: &NewConsumer,
        topic: TopicId,
        stored: Offset,
    ) -> Result<Consumer, RegisterConsumerError>;

    /// The consumer of this name.
    async fn find_consumer(&self, name: &ConsumerName) -> Result<Option<Consumer>, StoreError>;

    /// Consumers (of one topic, if given) whose names come after `after`, in the byte order of names.
    async fn list_consumers(
        &self,
        topic: Option<TopicId>,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Consumer>, StoreError>;

    /// Deletes a consumer, its connections and its keys; `None` if there is none of this name. Its name
    /// is free at once, and holds and commits of its streams are refused from then on.
    async fn delete_consumer(&self, name: &ConsumerName) -> Result<Option<ConsumerId>, StoreError>;

    /// Takes a consumer for a stream, with a new epoch, and notes the connection.
    ///
    /// Refused with [`HoldError::Busy`] while another stream's hold lasts, unless `claim.take_over`.
    async fn take_hold(&self, consumer: ConsumerId, claim: &Claim) -> Result<Hold, HoldError>;

    /// Renews holds for `lease` from now, by one statement, and returns the ones that still stand.
    /// A hold that ran out stands as long as no other stream took the consumer.
    async fn renew_holds(&self, holds: &[(ConsumerId, Epoch)], lease: Duration)
    -> Result<Vec<RenewedHold>, StoreError>;

    /// Gives a hold back and forgets its connection. With another epoch it changes nothing.
    async fn release_hold(&self, consumer: ConsumerId, epoch: Epoch) -> Result<(), StoreError>;

    /// Frees every consumer; for the only server on the store, when it starts.
    async fn clear_holds(&self) -> Result<(), StoreError>;

    /// Moves the stored offset up to `offset` and returns it; at or below the stored one it changes
    /// nothing. An epoch that is not the consumer's newest is [`CommitError::Fenced`], and an offset
    /// beyond the topic's head is [`CommitError::BeyondHead`]; both change nothing.
    async fn commit_offset(&self, consumer: ConsumerId, epoch: Epoch, offset: Offset) -> Result<Offset, CommitError>;

    /// Changes a consumer, raises its revision, and returns it as it is then; `None` if there is none of this
    /// name.
    async fn update_consumer(
        &self,
        name: &ConsumerName,
        change: &ConsumerChange,
    ) -> Result<Option<Consumer>, StoreError>;

    /// Stops or restarts delivery, and returns the consumer; `None` if there is none of this name. Asking for
    /// what is so already changes nothing.
    async fn pause_consumer(&self, name: &ConsumerName, paused: bool) -> Result<Option<Consumer>, StoreError>;

    /// Moves the stored offset, also back, raises the revision, and gives the consumer a new epoch, so that
    /// the stream that has it has lost it; `None` if there is no such consumer (any more).
    async fn seek_consumer(&self, consumer: ConsumerId, offset: Offset) -> Result<Option<Consumer>, StoreError>;

    /// Counts events `from` to `to` among those that were trimmed before they were delivered; those that were
    /// counted before do not count again. With an epoch that is not the newest it changes nothing.
    async fn skip_trimmed(
        &self,
        consumer: ConsumerId,
        epoch: Epoch,
        from: Offset,
        to: Offset,
    ) -> Result<(), StoreError>;

    /// How long the hold of the stream that has a consumer lasts; `None` if none has it.
    async fn held_for(&self, consumer: ConsumerId) -> Result<Option<Duration>, StoreError>;

    /// The streams that serve a consumer now, oldest first, at most `limit`, and how many there are.
    async fn connections(&self, consumer: ConsumerId, limit: usize) -> Result<(Vec<Connection>, usize), StoreError>;
}

/// A stream that asks for a consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The process that serves the stream.
    pub server: ServerId,
    /// The same in words for people: its address.
    pub server_name: String,
    /// The stream.
    pub subscription: SubscriptionId,
    /// The client's address.
    pub peer: String,
    /// Take the consumer away from the stream that holds it.
    pub take_over: bool,
    /// How long the hold lasts unless renewed.
    pub lease: Duration,
}

/// A consumer taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The consumer as it was when it was taken, with the new epoch.
    pub consumer: Consumer,
}

/// Why a consumer was not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterConsumerError {
    /// The name is taken.
    #[error("the consumer exists")]
    Exists(Box<Consumer>),
    /// There is no such topic (any more).
    #[error("the topic does not exist")]
    TopicNotFound,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a consumer was not taken.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// Another stream has it.
    #[error("another stream holds the consumer")]
    Busy {
        /// How long its hold lasts unless renewed.
        remaining: Duration,
    },
    /// There is no such consumer (any more).
    #[error("the consumer does not exist")]
    NotFound,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an offset was not stored.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another stream has taken the consumer since, or a seek moved it.
    #[error("the epoch is not the consumer's newest")]
    Fenced,
    /// There is no event with this offset yet.
    #[error("the offset is beyond the head")]
    BeyondHead {
        /// The newest offset.
        head: Offset,
    },
    /// There is no such consumer (any more).
    #[error("the consumer does not exist")]
    NotFound,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
