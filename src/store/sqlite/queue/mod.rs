//! Leases, retries and dead letters in MODE_QUEUE: every event that was dispatched and is not settled has a row.

mod claim;
mod dead_letters;
mod fresh;
mod give;
mod release;
mod settle;
mod state;
mod watch;

use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;

use super::{SqliteStore, error::failed};
use crate::{
    domain::{
        Claimed, ConsumerId, DeadLetter, DeadLetters, Moved, Offset, QueueClaim, QueueStatus, Release, Settled,
        Settlement,
    },
    store::{Claim, ClaimError, QueueStore, SettleError, StoreError},
};

#[async_trait]
impl QueueStore for SqliteStore {
    async fn claim(&self, claim: &QueueClaim) -> Result<Claimed, ClaimError> {
        claim::claim(self, claim).await
    }

    async fn settle(&self, consumer: ConsumerId, settlements: &[Settlement]) -> Result<Settled, SettleError> {
        settle::settle(self, consumer, settlements).await
    }

    async fn release(&self, release: &Release) -> Result<bool, StoreError> {
        release::release(self, release).await
    }

    async fn attend(&self, streams: &[(ConsumerId, Claim)], lease: Duration) -> Result<(), StoreError> {
        release::attend(self, streams, lease).await
    }

    async fn queue_status(&self, consumers: &[ConsumerId]) -> Result<Vec<QueueStatus>, StoreError> {
        watch::status(self, consumers).await
    }

    async fn dead_letters(
        &self,
        consumer: ConsumerId,
        after: Offset,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        dead_letters::list(self, consumer, after, limit).await
    }

    async fn redrive(
        &self,
        consumer: ConsumerId,
        which: &DeadLetters,
        limit: usize,
        validate_only: bool,
    ) -> Result<Moved, StoreError> {
        dead_letters::redrive(self, consumer, which, limit, validate_only).await
    }

    async fn discard(
        &self,
        consumer: ConsumerId,
        which: &DeadLetters,
        limit: usize,
        validate_only: bool,
    ) -> Result<Moved, StoreError> {
        dead_letters::discard(self, consumer, which, limit, validate_only).await
    }

    async fn sweep_queues(&self, limit: usize) -> Result<bool, StoreError> {
        watch::sweep(self, limit).await
    }
}

/// Voids what is leased or pending, and goes on after `offset`; of a consumer in the other mode, nothing changes.
pub(super) async fn seek(
    store: &SqliteStore,
    conn: &mut SqliteConnection,
    consumer: ConsumerId,
    offset: Offset,
) -> Result<(), StoreError> {
    let Some(queue) = state::Queue::find(store, conn, consumer).await? else { return Ok(()) };
    let sql = "insert into lease_events (lease_id, \"offset\", settled)
        select lease_id, \"offset\", 0 from queue_events where consumer_id = ? and lease_id is not null";
    let query = store.query("void_leases", sql).bind(consumer.0);
    query.execute(&mut *conn).await.map_err(failed)?;
    let query = store.query("void_events", "delete from queue_events where consumer_id = ?").bind(consumer.0);
    query.execute(&mut *conn).await.map_err(failed)?;
    queue.end_leases(conn).await?;
    queue.note_dispatched(conn, offset).await
}

/// Leaves what a deleted consumer had to be removed in the background.
pub(super) async fn leave_behind(
    store: &SqliteStore,
    conn: &mut SqliteConnection,
    consumer: ConsumerId,
) -> Result<(), StoreError> {
    let query = store.query("add_deleted_consumer", "insert into deleted_consumers (consumer_id) values (?)");
    query.bind(consumer.0).execute(&mut *conn).await.map_err(failed)?;
    let query = store.query("forget_queue", "delete from queues where consumer_id = ?").bind(consumer.0);
    query.execute(conn).await.map_err(failed)?;
    Ok(())
}

/// All leases of streams are lost; for the only server on the store, when it starts.
pub(super) async fn clear(store: &SqliteStore, conn: &mut SqliteConnection) -> Result<(), StoreError> {
    let sql = "update queue_events set until = 0
        where lease_id in (select lease_id from leases where ended is null and server is not null)";
    store.query("clear_leases", sql).execute(&mut *conn).await.map_err(failed)?;
    store.query("clear_queue_connections", "delete from queue_connections").execute(conn).await.map_err(failed)?;
    Ok(())
}
