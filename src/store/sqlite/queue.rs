//! Leases, retries and dead letters.

use std::time::Duration;

use async_trait::async_trait;

use super::SqliteStore;
use crate::{
    domain::{
        Claimed, ConsumerId, DeadLetter, DeadLetters, Moved, Offset, QueueClaim, QueueStatus, Release, Settled,
        Settlement,
    },
    store::{Claim, ClaimError, QueueStore, SettleError, StoreError},
};

fn missing() -> StoreError {
    StoreError::NotNow("missing".into())
}

#[async_trait]
impl QueueStore for SqliteStore {
    async fn claim(&self, _: &QueueClaim) -> Result<Claimed, ClaimError> {
        Err(missing().into())
    }
    async fn settle(&self, _: ConsumerId, _: &[Settlement]) -> Result<Settled, SettleError> {
        Err(missing().into())
    }
    async fn release(&self, _: &Release) -> Result<bool, StoreError> {
        Err(missing())
    }
    async fn attend(&self, _: &[(ConsumerId, Claim)], _: Duration) -> Result<(), StoreError> {
        Err(missing())
    }
    async fn queue_status(&self, _: &[ConsumerId]) -> Result<Vec<QueueStatus>, StoreError> {
        Ok(Vec::new())
    }
    async fn dead_letters(&self, _: ConsumerId, _: Offset, _: usize) -> Result<Vec<DeadLetter>, StoreError> {
        Err(missing())
    }
    async fn redrive(&self, _: ConsumerId, _: &DeadLetters, _: usize, _: bool) -> Result<Moved, StoreError> {
        Err(missing())
    }
    async fn discard(&self, _: ConsumerId, _: &DeadLetters, _: usize, _: bool) -> Result<Moved, StoreError> {
        Err(missing())
    }
    async fn sweep_queues(&self, _: usize) -> Result<bool, StoreError> {
        Ok(false)
    }
}
