//! The log: each method has a file of its own.

use async_trait::async_trait;

use super::{SqliteStore, append, before_time, find_ids, heads, read, retain, trim};
use crate::{
    domain::{AppendBatch, Bounds, IdKey, KnownId, Offset, ReadCap, Timestamp, TopicId},
    store::{AppendError, Appended, Fetched, LogRead, LogStore, Picked, Removed, StoreError, TopicHead},
};

#[async_trait]
impl LogStore for SqliteStore {
    async fn append(&self, topic: TopicId, batch: &AppendBatch) -> Result<Appended, AppendError> {
        append::append(self, topic, batch).await
    }

    async fn find_ids(&self, topic: TopicId, keys: &[IdKey]) -> Result<Vec<KnownId>, StoreError> {
        let mut conn = self.reader().await?;
        find_ids::find_ids(self, &mut conn, topic, keys).await
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
        heads::heads(self, topics).await
    }

    async fn before_time(&self, topic: TopicId, time: Timestamp) -> Result<Option<Offset>, StoreError> {
        before_time::before_time(self, topic, time).await
    }

    async fn trim(&self, topic: TopicId, up_to: Offset) -> Result<Option<Bounds>, StoreError> {
        trim::trim(self, topic, up_to).await
    }

    async fn trim_preview(&self, topic: TopicId, up_to: Offset) -> Result<Option<Bounds>, StoreError> {
        trim::preview(self, topic, up_to).await
    }

    async fn retain(&self, topic: TopicId, _after: Offset) -> Result<Removed, StoreError> {
        retain::retain(self, topic).await
    }
}
