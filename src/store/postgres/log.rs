//! The log of a topic.

use async_trait::async_trait;
use uuid::Uuid;

use super::{PostgresStore, read, rows, trim};
use crate::{
    domain::{AppendBatch, Bounds, ContentHash, IdKey, KnownId, LogId, Offset, ReadCap, Timestamp, TopicId},
    store::{AppendError, Appended, Fetched, LogRead, LogStore, Picked, Removed, StoreError, TopicHead},
};

#[async_trait]
impl LogStore for PostgresStore {
    async fn append(&self, topic: TopicId, batch: &AppendBatch) -> Result<Appended, AppendError> {
        self.append_in_turn(topic, batch).await
    }

    async fn find_ids(&self, topic: TopicId, keys: &[IdKey]) -> Result<Vec<KnownId>, StoreError> {
        let keys: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        let statement = sqlx::query(include_str!("sql/find_ids.sql")).bind(topic.0).bind(keys);
        let found = self.control.all("find_ids", statement).await?;
        let known = |row| {
            Ok(KnownId {
                key: IdKey(rows::get(row, "id_key")?),
                offset: rows::offset(row, "offset")?,
                content: ContentHash(rows::get(row, "content_hash")?),
                recorded_time: rows::time(row, "recorded_time")?,
            })
        };
        found.iter().map(known).collect()
    }

    async fn fetch(&self, topic: TopicId, after: Offset, cap: ReadCap) -> Result<Option<Fetched>, StoreError> {
        read::fetch(self, topic, after, cap).await
    }

    async fn read_back(&self, topic: TopicId, up_to: Offset, cap: ReadCap) -> Result<Option<LogRead>, StoreError> {
        read::read_back(self, topic, up_to, cap).await
    }

    async fn pick(&self, topic: TopicId, offsets: &[Offset], bytes: usize) -> Result<Option<Picked>, StoreError> {
        read::pick(self, topic, offsets, bytes).await
    }

    async fn heads(&self, topics: &[TopicId]) -> Result<Vec<TopicHead>, StoreError> {
        let topics: Vec<i32> = topics.iter().map(|topic| topic.0).collect();
        let found = self.control.all("heads", sqlx::query(include_str!("sql/heads.sql")).bind(topics)).await?;
        let head = |row| {
            let (topic, log_id) = (TopicId(rows::get(row, "id")?), LogId(rows::get(row, "log_id")?));
            Ok(TopicHead { topic, log_id, bounds: rows::bounds(row)? })
        };
        found.iter().map(head).collect()
    }

    async fn before_time(&self, topic: TopicId, time: Timestamp) -> Result<Option<Offset>, StoreError> {
        let statement = sqlx::query("select eventflow.before_time_v1($1, $2) as before");
        let row = self.control.one("before_time", statement.bind(topic.0).bind(time.to_datetime())).await?;
        rows::get::<Option<i64>>(&row, "before")?.map(rows::to_offset).transpose()
    }

    async fn trim(&self, topic: TopicId, up_to: Offset) -> Result<Option<Bounds>, StoreError> {
        trim::trim(self, topic, up_to).await
    }

    async fn trim_preview(&self, topic: TopicId, up_to: Offset) -> Result<Option<Bounds>, StoreError> {
        let statement = sqlx::query(include_str!("sql/trim_preview.sql")).bind(topic.0).bind(up_to.get());
        let found = self.control.optional("trim_preview", statement).await?;
        found.as_ref().map(rows::bounds).transpose()
    }

    async fn retain(&self, topic: TopicId, after: Offset) -> Result<Removed, StoreError> {
        trim::retain(self, topic, after).await
    }
}
