//! Topics.

use async_trait::async_trait;
use sqlx::{Row, sqlite::SqliteConnection};
use uuid::Uuid;

use super::{
    SqliteStore,
    error::{corrupt, failed},
    remove,
    rows::{micros, parsed, topic},
};
use crate::{
    domain::{ConsumerName, NewTopic, Offset, Timestamp, Topic, TopicChange, TopicId, TopicName},
    store::{DeleteTopicError, Removed, StoreError, TopicError, TopicStore},
};

#[async_trait]
impl TopicStore for SqliteStore {
    async fn create_topic(&self, new: &NewTopic) -> Result<Topic, TopicError> {
        let NewTopic { name, description, retention, retention_bytes, sealed } = new;
        let mut tx = self.begin().await?;
        let query = self.query("create_topic", include_str!("sql/create_topic.sql"));
        let query = query
            .bind(name.as_str())
            .bind(Uuid::new_v4())
            .bind(description)
            .bind(retention.map(micros))
            .bind(bytes(*retention_bytes))
            .bind(sealed)
            .bind(Timestamp::now().micros());
        let created = query.execute(&mut *tx).await.map_err(failed)?.rows_affected() == 1;
        let topic = find(self, &mut tx, name).await?;
        let topic = topic.ok_or_else(|| corrupt(format!("topic {name} is created and not there")))?;
        if !created {
            return Err(TopicError::Exists(Box::new(topic)));
        }
        tx.commit().await.map_err(failed)?;
        Ok(topic)
    }

    async fn find_topic(&self, name: &TopicName) -> Result<Option<Topic>, StoreError> {
        let mut conn = self.reader().await?;
        find(self, &mut conn, name).await
    }

    async fn find_topics(&self, names: &[TopicName]) -> Result<Vec<Topic>, StoreError> {
        let names: Vec<&str> = names.iter().map(TopicName::as_str).collect();
        let names = serde_json::to_string(&names).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let query = self.query("find_topics", include_str!("sql/find_topics.sql")).bind(names);
        let rows = query.fetch_all(&mut *self.reader().await?).await.map_err(failed)?;
        rows.iter().map(topic).collect()
    }

    async fn list_topics(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Topic>, StoreError> {
        let query = self.query("list_topics", include_str!("sql/list_topics.sql"));
        let query = query.bind(prefix).bind(after).bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.fetch_all(&mut *self.reader().await?).await.map_err(failed)?;
        rows.iter().map(topic).collect()
    }

    async fn update_topic(&self, name: &TopicName, change: &TopicChange) -> Result<Option<Topic>, StoreError> {
        let TopicChange { description, retention, retention_bytes, sealed } = change;
        let mut tx = self.begin().await?;
        let query = self.query("update_topic", include_str!("sql/update_topic.sql"));
        let query = query
            .bind(description)
            .bind(retention.is_some())
            .bind(retention.flatten().map(micros))
            .bind(retention_bytes.map(bytes))
            .bind(sealed)
            .bind(name.as_str());
        query.execute(&mut *tx).await.map_err(failed)?;
        let topic = find(self, &mut tx, name).await?;
        tx.commit().await.map_err(failed)?;
        Ok(topic)
    }

    async fn retained_topics(&self, after: TopicId, limit: usize) -> Result<Vec<TopicId>, StoreError> {
        let query = self.query("retained_topics", include_str!("sql/retained_topics.sql")).bind(after.0);
        let query = query.bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.fetch_all(&mut *self.reader().await?).await.map_err(failed)?;
        rows.iter().map(|row| row.try_get("id").map(TopicId).map_err(failed)).collect()
    }

    async fn delete_topic(&self, name: &TopicName) -> Result<TopicId, DeleteTopicError> {
        let mut tx = self.begin().await?;
        let id = find(self, &mut tx, name).await?.ok_or(DeleteTopicError::NotFound)?.id;
        let sql = "select name from consumers where topic_id = ? order by name limit 1";
        let query = self.query("topic_in_use", sql).bind(id.0);
        if let Some(row) = query.fetch_optional(&mut *tx).await.map_err(failed)? {
            return Err(DeleteTopicError::InUse { consumer: parsed(&row, "name", ConsumerName::parse)? });
        }
        let delete = self.query("delete_topic", "delete from topics where id = ?");
        let add = self.query("add_deleted", "insert into deleted_topics (id) values (?)");
        for change in [delete, add] {
            change.bind(id.0).execute(&mut *tx).await.map_err(failed)?;
        }
        tx.commit().await.map_err(failed)?;
        Ok(id)
    }

    async fn deleted_topics(&self, limit: usize) -> Result<Vec<TopicId>, StoreError> {
        let query = self.query("deleted_topics", "select id from deleted_topics order by id limit ?");
        let query = query.bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.fetch_all(&mut *self.reader().await?).await.map_err(failed)?;
        rows.iter().map(|row| row.try_get("id").map(TopicId).map_err(failed)).collect()
    }

    async fn remove_deleted(&self, topic: TopicId, _after: Offset) -> Result<Removed, StoreError> {
        remove::remove_deleted(self, topic).await
    }
}

async fn find(store: &SqliteStore, conn: &mut SqliteConnection, name: &TopicName) -> Result<Option<Topic>, StoreError> {
    let query = store.query("find_topic", "select * from topics_with_heads where name = ?").bind(name.as_str());
    let row = query.fetch_optional(conn).await.map_err(failed)?;
    row.as_ref().map(topic).transpose()
}

/// As the database counts: up to 2^63 - 1.
fn bytes(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
