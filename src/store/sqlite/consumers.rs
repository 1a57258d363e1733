//! Consumers; holding them and committing their offsets have files of their own.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{Row, sqlite::SqliteConnection};

use super::{
    SqliteStore, commit,
    error::failed,
    holds, keys, manage, queue,
    rows::consumer,
    settings::{encode_filter, encode_mode, encode_queue, encode_start},
};
use crate::{
    domain::{
        Connection, Consumer, ConsumerChange, ConsumerId, ConsumerName, Epoch, NewConsumer, Offset, RenewedHold,
        Timestamp, TopicId,
    },
    store::{Claim, CommitError, ConsumerStore, Hold, HoldError, KeyOwner, RegisterConsumerError, StoreError},
};

#[async_trait]
impl ConsumerStore for SqliteStore {
    async fn register_consumer(
        &self,
        new: &NewConsumer,
        topic: TopicId,
        stored: Offset,
    ) -> Result<Consumer, RegisterConsumerError> {
        let mut tx = self.begin().await?;
        if let Some(existing) = find(self, &mut tx, &new.name).await? {
            return Err(RegisterConsumerError::Exists(Box::new(existing)));
        }
        let query = self.query("topic_exists", "select 1 from topics where id = ?").bind(topic.0);
        if query.fetch_optional(&mut *tx).await.map_err(failed)?.is_none() {
            return Err(RegisterConsumerError::TopicNotFound);
        }
        let epoch = next_epoch(self, &mut tx).await?;
        let NewConsumer { name, topic: topic_name, mode, filter, start, queue } = new;
        let query = self.query("register_consumer", include_str!("sql/register_consumer.sql"));
        let query = query
            .bind(name.as_str())
            .bind(topic.0)
            .bind(topic_name.as_str())
            .bind(encode_mode(*mode))
            .bind(encode_filter(filter))
            .bind(encode_start(*start))
            .bind(encode_queue(queue))
            .bind(Timestamp::now().micros())
            .bind(stored.get())
            .bind(epoch.0);
        let row = query.fetch_one(&mut *tx).await.map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        Ok(consumer(&row)?)
    }

    async fn find_consumer(&self, name: &ConsumerName) -> Result<Option<Consumer>, StoreError> {
        let mut conn = self.reader().await?;
        find(self, &mut conn, name).await
    }

    async fn list_consumers(
        &self,
        topic: Option<TopicId>,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Consumer>, StoreError> {
        let sql = "select * from consumers where (?1 is null or topic_id = ?1) and name > ?2 order by name limit ?3";
        let query = self.query("list_consumers", sql).bind(topic.map(|topic| topic.0)).bind(after);
        let query = query.bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.fetch_all(&mut *self.reader().await?).await.map_err(failed)?;
        rows.iter().map(consumer).collect()
    }

    async fn delete_consumer(&self, name: &ConsumerName) -> Result<Option<ConsumerId>, StoreError> {
        let mut tx = self.begin().await?;
        let query = self.query("delete_consumer", "delete from consumers where name = ? returning id");
        let row = query.bind(name.as_str()).fetch_optional(&mut *tx).await.map_err(failed)?;
        let Some(row) = row else { return Ok(None) };
        let id = ConsumerId(row.try_get("id").map_err(failed)?);
        holds::delete_connections(self, &mut tx, id).await?;
        queue::leave_behind(self, &mut tx, id).await?;
        keys::delete_all(self, &mut tx, &KeyOwner::Consumer(name.clone())).await?;
        tx.commit().await.map_err(failed)?;
        Ok(Some(id))
    }

    async fn take_hold(&self, consumer: ConsumerId, claim: &Claim) -> Result<Hold, HoldError> {
        holds::take_hold(self, consumer, claim).await
    }

    async fn renew_holds(
        &self,
        holds: &[(ConsumerId, Epoch)],
        lease: Duration,
    ) -> Result<Vec<RenewedHold>, StoreError> {
        holds::renew_holds(self, holds, lease).await
    }

    async fn release_hold(&self, consumer: ConsumerId, epoch: Epoch) -> Result<(), StoreError> {
        holds::release_hold(self, consumer, epoch).await
    }

    async fn clear_holds(&self) -> Result<(), StoreError> {
        holds::clear_holds(self).await
    }

    async fn commit_offset(&self, consumer: ConsumerId, epoch: Epoch, offset: Offset) -> Result<Offset, CommitError> {
        commit::commit_offset(self, consumer, epoch, offset).await
    }

    async fn update_consumer(
        &self,
        name: &ConsumerName,
        change: &ConsumerChange,
    ) -> Result<Option<Consumer>, StoreError> {
        manage::update(self, name, change).await
    }

    async fn pause_consumer(&self, name: &ConsumerName, paused: bool) -> Result<Option<Consumer>, StoreError> {
        manage::pause(self, name, paused).await
    }

    async fn seek_consumer(&self, consumer: ConsumerId, offset: Offset) -> Result<Option<Consumer>, StoreError> {
        manage::seek(self, consumer, offset).await
    }

    async fn skip_trimmed(
        &self,
        consumer: ConsumerId,
        epoch: Epoch,
        from: Offset,
        to: Offset,
    ) -> Result<(), StoreError> {
        manage::skip_trimmed(self, consumer, epoch, from, to).await
    }

    async fn held_for(&self, consumer: ConsumerId) -> Result<Option<Duration>, StoreError> {
        manage::held_for(self, consumer).await
    }

    async fn connections(&self, consumer: ConsumerId, limit: usize) -> Result<(Vec<Connection>, usize), StoreError> {
        holds::connections(self, consumer, limit).await
    }
}

async fn find(
    store: &SqliteStore,
    conn: &mut SqliteConnection,
    name: &ConsumerName,
) -> Result<Option<Consumer>, StoreError> {
    let query = store.query("find_consumer", "select * from consumers where name = ?").bind(name.as_str());
    let row = query.fetch_optional(conn).await.map_err(failed)?;
    row.as_ref().map(consumer).transpose()
}

/// An epoch that was never given before. If the change is not committed, nobody has seen it.
pub(super) async fn next_epoch(store: &SqliteStore, conn: &mut SqliteConnection) -> Result<Epoch, StoreError> {
    let query = store.query("next_epoch", "update cluster set last_epoch = last_epoch + 1 returning last_epoch");
    let row = query.fetch_one(conn).await.map_err(failed)?;
    Ok(Epoch(row.try_get(0).map_err(failed)?))
}
