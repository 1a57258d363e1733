//! Producers.

use async_trait::async_trait;

use super::{
    PostgresStore,
    errors::unavailable,
    identity_rows as identity, rows,
    topics::{CREATE_ATTEMPTS, to_limit},
};
use crate::{
    domain::{ProducerName, Timestamp, TopicPattern},
    store::{ApiKeyRecord, NewProducer, Producer, ProducerChange, ProducerStore, RegisterProducerError, StoreError},
};

#[async_trait]
impl ProducerStore for PostgresStore {
    async fn register_producer(
        &self,
        producer: &NewProducer,
        key: &ApiKeyRecord,
    ) -> Result<Producer, RegisterProducerError> {
        let NewProducer { name, description, topics, disabled } = producer;
        let ApiKeyRecord { id, secret_hash, owner, create_time, expire_time, last_used_time: _, revoked } = key;
        let (owner_kind, owner_name) = owner.columns();
        for _ in 0..CREATE_ATTEMPTS {
            let statement = sqlx::query(include_str!("sql/register_producer.sql"))
                .bind(name.as_str())
                .bind(description)
                .bind(texts(topics))
                .bind(disabled)
                .bind(id)
                .bind(&secret_hash[..])
                .bind(owner_kind)
                .bind(owner_name)
                .bind(create_time.to_datetime())
                .bind(expire_time.map(Timestamp::to_datetime))
                .bind(revoked);
            if let Some(row) = self.control.optional("register_producer", statement).await? {
                let create_time = rows::time(&row, "create_time")?;
                return Ok(Producer { settings: producer.clone(), create_time });
            }
            if let Some(producer) = self.find_producer(name).await? {
                return Err(RegisterProducerError::Exists(Box::new(producer)));
            }
        }
        Err(unavailable("others register and delete the producer all the time").into())
    }

    async fn find_producer(&self, name: &ProducerName) -> Result<Option<Producer>, StoreError> {
        let statement = sqlx::query(include_str!("sql/find_producer.sql")).bind(name.as_str());
        self.control.optional("find_producer", statement).await?.as_ref().map(identity::producer).transpose()
    }

    async fn list_producers(&self, after: &str, limit: usize) -> Result<Vec<Producer>, StoreError> {
        let statement = sqlx::query(include_str!("sql/list_producers.sql")).bind(after).bind(to_limit(limit));
        self.control.all("list_producers", statement).await?.iter().map(identity::producer).collect()
    }

    async fn update_producer(
        &self,
        name: &ProducerName,
        change: &ProducerChange,
    ) -> Result<Option<Producer>, StoreError> {
        let ProducerChange { description, topics, disabled } = change;
        let statement = sqlx::query(include_str!("sql/update_producer.sql"))
            .bind(name.as_str())
            .bind(description)
            .bind(topics.as_deref().map(texts))
            .bind(disabled);
        self.control.optional("update_producer", statement).await?.as_ref().map(identity::producer).transpose()
    }

    async fn delete_producer(&self, name: &ProducerName) -> Result<bool, StoreError> {
        let statement = sqlx::query("select eventflow.delete_producer_v1($1) as deleted").bind(name.as_str());
        rows::get(&self.control.one("delete_producer", statement).await?, "deleted")
    }
}

fn texts(patterns: &[TopicPattern]) -> Vec<String> {
    patterns.iter().map(TopicPattern::to_string).collect()
}
