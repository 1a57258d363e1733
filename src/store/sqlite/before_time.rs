//! Finding the place of a time, by halving: recorded time never decreases along a topic.

use super::{SqliteStore, error::failed, rows::offset};
use crate::{
    domain::{Offset, Timestamp, TopicId},
    store::StoreError,
};

/// See [`LogStore::before_time`](crate::store::LogStore::before_time).
pub(super) async fn before_time(
    store: &SqliteStore,
    topic: TopicId,
    time: Timestamp,
) -> Result<Option<Offset>, StoreError> {
    let query = store.query("before_time", include_str!("sql/before_time.sql")).bind(topic.0).bind(time.micros());
    let row = query.fetch_optional(&mut *store.reader().await?).await.map_err(failed)?;
    row.map(|row| offset(&row, "low")).transpose()
}
