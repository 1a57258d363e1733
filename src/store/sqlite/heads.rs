//! What topics hold.

use sqlx::Row;

use super::{SqliteStore, error::failed, rows::offset};
use crate::{
    domain::{Bounds, LogId, TopicId},
    store::{StoreError, TopicHead},
};

/// See [`LogStore::heads`](crate::store::LogStore::heads).
pub(super) async fn heads(store: &SqliteStore, topics: &[TopicId]) -> Result<Vec<TopicHead>, StoreError> {
    let ids: Vec<String> = topics.iter().map(TopicId::to_string).collect();
    let query = store.query("heads", include_str!("sql/heads.sql")).bind(format!("[{}]", ids.join(",")));
    let rows = query.fetch_all(&mut *store.reader().await?).await.map_err(failed)?;
    let head = |row| -> Result<TopicHead, StoreError> {
        let bounds = Bounds { head: offset(&row, "head")?, trimmed_to: offset(&row, "trimmed_to")? };
        let topic = TopicId(row.try_get("id").map_err(failed)?);
        let log_id = LogId(row.try_get("log_id").map_err(failed)?);
        Ok(TopicHead { topic, log_id, bounds })
    };
    rows.into_iter().map(head).collect()
}
