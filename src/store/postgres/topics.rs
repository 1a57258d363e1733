//! Topics.

use async_trait::async_trait;

use super::{
    PostgresStore,
    errors::{corrupt, unavailable},
    rows, trim,
};
use crate::{
    domain::{ConsumerName, NewTopic, Offset, Topic, TopicChange, TopicId, TopicName},
    store::{DeleteTopicError, Removed, StoreError, TopicError, TopicStore},
};

/// How often a creation looks for whoever has the name, when that one is deleted in between each time.
pub(super) const CREATE_ATTEMPTS: usize = 3;

#[async_trait]
impl TopicStore for PostgresStore {
    async fn create_topic(&self, topic: &NewTopic) -> Result<Topic, TopicError> {
        let NewTopic { name, description, retention, retention_bytes, sealed } = topic;
        for _ in 0..CREATE_ATTEMPTS {
            let statement = sqlx::query(include_str!("sql/create_topic.sql"))
                .bind(name.as_str())
                .bind(description)
                .bind(retention.map(rows::to_micros))
                .bind(to_bytes(*retention_bytes))
                .bind(sealed);
            if let Some(row) = self.control.optional("create_topic", statement).await? {
                return Ok(rows::topic(&row)?);
            }
            if let Some(topic) = self.find_topic(name).await? {
                return Err(TopicError::Exists(Box::new(topic)));
            }
        }
        Err(unavailable("others create and delete the topic all the time").into())
    }

    async fn find_topic(&self, name: &TopicName) -> Result<Option<Topic>, StoreError> {
        let statement = sqlx::query(include_str!("sql/find_topic.sql")).bind(name.as_str());
        let found = self.control.optional("find_topic", statement).await?;
        found.as_ref().map(rows::topic).transpose()
    }

    async fn find_topics(&self, names: &[TopicName]) -> Result<Vec<Topic>, StoreError> {
        let names: Vec<&str> = names.iter().map(TopicName::as_str).collect();
        let statement = sqlx::query(include_str!("sql/find_topics.sql")).bind(names);
        self.control.all("find_topics", statement).await?.iter().map(rows::topic).collect()
    }

    async fn list_topics(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Topic>, StoreError> {
        let statement = sqlx::query(include_str!("sql/list_topics.sql")).bind(prefix).bind(after).bind(to_limit(limit));
        self.control.all("list_topics", statement).await?.iter().map(rows::topic).collect()
    }

    async fn update_topic(&self, name: &TopicName, change: &TopicChange) -> Result<Option<Topic>, StoreError> {
        let TopicChange { description, retention, retention_bytes, sealed } = change;
        let statement = sqlx::query(include_str!("sql/update_topic.sql"))
            .bind(name.as_str())
            .bind(description)
            .bind(retention.is_some())
            .bind(retention.flatten().map(rows::to_micros))
            .bind(retention_bytes.map(to_bytes))
            .bind(sealed);
        let updated = self.control.optional("update_topic", statement).await?;
        updated.as_ref().map(rows::topic).transpose()
    }

    async fn retained_topics(&self, after: TopicId, limit: usize) -> Result<Vec<TopicId>, StoreError> {
        let statement = sqlx::query(include_str!("sql/retained_topics.sql")).bind(after.0).bind(to_limit(limit));
        let found = self.control.all("retained_topics", statement).await?;
        found.iter().map(|row| rows::get(row, "id").map(TopicId)).collect()
    }

    async fn delete_topic(&self, name: &TopicName) -> Result<TopicId, DeleteTopicError> {
        let statement = sqlx::query("select outcome, topic, consumer from eventflow.delete_topic_v1($1)");
        let row = self.control.one("delete_topic", statement.bind(name.as_str())).await?;
        match rows::get(&row, "outcome")? {
            "deleted" => Ok(TopicId(rows::get(&row, "topic")?)),
            "in_use" => {
                let consumer = rows::parsed(&row, "consumer", ConsumerName::parse)?;
                Err(DeleteTopicError::InUse { consumer })
            }
            "not_found" => Err(DeleteTopicError::NotFound),
            other => Err(corrupt(format!("a deletion ended with {other:?}")).into()),
        }
    }

    async fn deleted_topics(&self, limit: usize) -> Result<Vec<TopicId>, StoreError> {
        let statement =
            sqlx::query("select id from eventflow.topics where deleted_time is not null order by id limit $1");
        let found = self.control.all("deleted_topics", statement.bind(to_limit(limit))).await?;
        found.iter().map(|row| rows::get(row, "id").map(TopicId)).collect()
    }

    async fn remove_deleted(&self, topic: TopicId, after: Offset) -> Result<Removed, StoreError> {
        let removed = trim::remove_oldest(self, topic, after).await?;
        if removed.more.is_none() {
            let statement = sqlx::query("select eventflow.forget_topic_v3($1)").bind(topic.0);
            self.control.execute("forget_topic", statement).await?;
        }
        Ok(removed)
    }
}

/// A number of rows for the database.
pub(super) fn to_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A number of bytes for the database, at most what it can hold (8 EiB).
fn to_bytes(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
