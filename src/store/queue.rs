//! The contract of leases, retries and dead letters in MODE_QUEUE.

use std::time::Duration;

use async_trait::async_trait;

use super::{Claim, StoreError};
use crate::domain::{
    Claimed, ConsumerId, DeadLetter, DeadLetters, Moved, Offset, QueueClaim, QueueStatus, Release, Settled, Settlement,
};

/// Dispatching the events of a consumer in MODE_QUEUE.
///
/// Every event up to the consumer's dispatched offset is settled, leased, or pending: it waits for its key,
/// or for its next attempt. What comes after is in the log only. All of it changes under a lock on the
/// consumer, by the store's own clock, read after the lock was taken, so that the calls of all servers
/// come one after the other. The cost of none of them grows with the backlog or with what was settled.
///
/// An event can be delivered if it is the lowest unsettled one of its key and none of its key is leased; events
/// without a key can be always. No more than [`WAITING_MAX`] events wait for their keys; beyond that,
/// nothing more is dispatched that would have to wait. A store may let fewer of them wait, for a second at most
/// from when their keys were leased, since most keys are free again soon.
///
/// A lease whose time is over, or whose server is not alive ([`ServerStore`](super::ServerStore)), is lost:
/// each call of [`claim`](Self::claim) and [`settle`](Self::settle) first takes its events back, each of
/// which is then delivered alone, to a stream that has no other delivery until it is settled. What was sent
/// as often as the consumer allows becomes a dead letter instead.
#[async_trait]
pub trait QueueStore {
    /// Leases events: first those that are due for another attempt or whose key is free now, then candidates.
    ///
    /// They are spread evenly over the takers with room. Candidates at or below the dispatched offset are left
    /// out; if the dispatched offset is not from `after` to `up_to`, all of them are. Events that were trimmed
    /// are counted as such if they were not dispatched, and become dead letters if they are pending.
    /// A repeated claim gets what it got before, if it did.
    async fn claim(&self, claim: &QueueClaim) -> Result<Claimed, ClaimError>;

    /// Settles deliveries, each at most once in a call; what cannot be settled is named, and changes nothing.
    /// That a delivery was settled before is known for two lease periods after its whole lease was settled;
    /// after that it counts as lost.
    async fn settle(&self, consumer: ConsumerId, settlements: &[Settlement]) -> Result<Settled, SettleError>;

    /// Ends the leases of a stream and forgets its connection. What was not sent is due again as if
    /// it had never been leased. The rest is due again at once, as what is lost, or with `keep` stays leased
    /// until its time is over. Repeating it is harmless. Whether anything is due again.
    async fn release(&self, release: &Release) -> Result<bool, StoreError>;

    /// Notes streams as connections of their consumers for `lease` from now, or renews them, by one
    /// statement. Of a claim, `take_over` means nothing.
    async fn attend(&self, streams: &[(ConsumerId, Claim)], lease: Duration) -> Result<(), StoreError>;

    /// Where consumers are; those that are not in MODE_QUEUE are left out. One statement.
    async fn queue_status(&self, consumers: &[ConsumerId]) -> Result<Vec<QueueStatus>, StoreError>;

    /// Dead letters of a consumer after an offset, in order.
    async fn dead_letters(
        &self,
        consumer: ConsumerId,
        after: Offset,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError>;

    /// Puts dead letters back, at most `limit`, to be delivered again from the first attempt; with
    /// `validate_only` it counts only. Two calls at the same time change each of them once.
    async fn redrive(
        &self,
        consumer: ConsumerId,
        which: &DeadLetters,
        limit: usize,
        validate_only: bool,
    ) -> Result<Moved, StoreError>;

    /// Forgets dead letters, at most `limit`; with `validate_only` it counts only.
    async fn discard(
        &self,
        consumer: ConsumerId,
        which: &DeadLetters,
        limit: usize,
        validate_only: bool,
    ) -> Result<Moved, StoreError>;

    /// Removes what is not needed any more: leases that were settled two lease periods ago, and what deleted
    /// consumers had. At most about `limit` rows; whether there may be more.
    async fn sweep_queues(&self, limit: usize) -> Result<bool, StoreError>;
}

/// Events of a consumer that may wait for their keys.
pub const WAITING_MAX: u64 = 100_000;

/// Why nothing was claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// There is no such consumer (any more).
    #[error("the consumer does not exist")]
    NotFound,
    /// It has another revision.
    #[error("the consumer was changed")]
    Changed,
    /// Delivery is stopped.
    #[error("the consumer is paused")]
    Paused,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why nothing was settled.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// There is no such consumer (any more).
    #[error("the consumer does not exist")]
    NotFound,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
