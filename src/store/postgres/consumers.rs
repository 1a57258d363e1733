//! Consumers: registering, finding and deleting them, and the offsets that they store.

use async_trait::async_trait;
use std::time::Duration;

use sqlx::{postgres::PgRow, types::Json};

use super::{
    PostgresStore,
    errors::{corrupt, unavailable},
    holds, manage,
    rows::{self, StoredFilter},
    topics::{CREATE_ATTEMPTS, to_limit},
};
use crate::{
    domain::{
        Connection, Consumer, ConsumerChange, ConsumerId, ConsumerName, Epoch, NewConsumer, Offset, RenewedHold,
        StartFrom, TopicId,
    },
    store::{Claim, CommitError, ConsumerStore, Hold, HoldError, LogStore, RegisterConsumerError, StoreError},
};

#[async_trait]
impl ConsumerStore for PostgresStore {
    async fn register_consumer(
        &self,
        consumer: &NewConsumer,
        topic: TopicId,
        stored: Offset,
    ) -> Result<Consumer, RegisterConsumerError> {
        for _ in 0..CREATE_ATTEMPTS {
            if let Some(row) = insert(self, consumer, topic, stored).await? {
                return Ok(Consumer {
                    id: ConsumerId(rows::get(&row, "id")?),
                    topic_id: topic,
                    settings: consumer.clone(),
                    create_time: rows::time(&row, "create_time")?,
                    stored,
                    epoch: Epoch(rows::get(&row, "epoch")?),
                    paused: false,
                    trimmed_events: 0,
                    revision: 0,
                });
            }
            if let Some(consumer) = self.find_consumer(&consumer.name).await? {
                return Err(RegisterConsumerError::Exists(Box::new(consumer)));
            }
            if self.heads(&[topic]).await?.is_empty() {
                return Err(RegisterConsumerError::TopicNotFound);
            }
        }
        Err(unavailable("others register and delete the consumer all the time").into())
    }

    async fn find_consumer(&self, name: &ConsumerName) -> Result<Option<Consumer>, StoreError> {
        let statement = sqlx::query(include_str!("sql/find_consumer.sql")).bind(name.as_str());
        let found = self.control.optional("find_consumer", statement).await?;
        found.as_ref().map(rows::consumer).transpose()
    }

    async fn list_consumers(
        &self,
        topic: Option<TopicId>,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Consumer>, StoreError> {
        let statement = sqlx::query(include_str!("sql/list_consumers.sql"));
        let statement = statement.bind(topic.map(|topic| topic.0)).bind(after).bind(to_limit(limit));
        self.control.all("list_consumers", statement).await?.iter().map(rows::consumer).collect()
    }

    async fn delete_consumer(&self, name: &ConsumerName) -> Result<Option<ConsumerId>, StoreError> {
        let statement = sqlx::query("select eventflow.delete_consumer_v3($1) as id").bind(name.as_str());
        let row = self.control.one("delete_consumer", statement).await?;
        Ok(rows::get::<Option<i32>>(&row, "id")?.map(ConsumerId))
    }

    async fn take_hold(&self, consumer: ConsumerId, claim: &Claim) -> Result<Hold, HoldError> {
        holds::take(self, consumer, claim).await
    }

    async fn renew_holds(&self, held: &[(ConsumerId, Epoch)], lease: Duration) -> Result<Vec<RenewedHold>, StoreError> {
        holds::renew(self, held, lease).await
    }

    async fn release_hold(&self, consumer: ConsumerId, epoch: Epoch) -> Result<(), StoreError> {
        let statement = sqlx::query(include_str!("sql/release_hold.sql")).bind(consumer.0).bind(epoch.0);
        self.control.execute("release_hold", statement).await.map(drop)
    }

    async fn clear_holds(&self) -> Result<(), StoreError> {
        self.control.execute("clear_holds", sqlx::query(include_str!("sql/clear_holds.sql"))).await.map(drop)
    }

    async fn commit_offset(&self, consumer: ConsumerId, epoch: Epoch, offset: Offset) -> Result<Offset, CommitError> {
        let statement = sqlx::query("select outcome, stored, head from eventflow.commit_offset_v1($1, $2, $3)");
        let statement = statement.bind(consumer.0).bind(epoch.0).bind(offset.get());
        let row = self.control.one("commit_offset", statement).await?;
        match rows::get(&row, "outcome")? {
            "stored" => Ok(rows::offset(&row, "stored")?),
            "fenced" => Err(CommitError::Fenced),
            "beyond_head" => Err(CommitError::BeyondHead { head: rows::offset(&row, "head")? }),
            "not_found" => Err(CommitError::NotFound),
            other => Err(corrupt(format!("a commit ended with {other:?}")).into()),
        }
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

/// Inserts a consumer, unless its name is taken or its topic does not exist.
async fn insert(
    store: &PostgresStore,
    consumer: &NewConsumer,
    topic: TopicId,
    stored: Offset,
) -> Result<Option<PgRow>, StoreError> {
    let NewConsumer { name, topic: _, mode, filter, start, queue } = consumer;
    let (start_from, start_offset, start_time) = match start {
        StartFrom::Earliest => ("earliest", None, None),
        StartFrom::Head => ("head", None, None),
        StartFrom::After(offset) => ("after", Some(offset.get()), None),
        StartFrom::Time(time) => ("time", None, Some(time.to_datetime())),
    };
    let statement = sqlx::query(include_str!("sql/register_consumer.sql"))
        .bind(name.as_str())
        .bind(topic.0)
        .bind(rows::mode_name(*mode))
        .bind(Json(StoredFilter::of(filter)))
        .bind(start_from)
        .bind(start_offset)
        .bind(start_time)
        .bind(rows::to_micros(queue.lease))
        .bind(queue.backoff.iter().map(|&pause| rows::to_micros(pause)).collect::<Vec<_>>())
        .bind(i64::from(queue.max_attempts))
        .bind(i64::from(queue.max_in_flight))
        .bind(stored.get());
    store.control.optional("register_consumer", statement).await
}
