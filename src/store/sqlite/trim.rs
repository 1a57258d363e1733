//! Removing the oldest events of a topic that lives.

use super::{SqliteStore, error::failed, remove::remove_up_to, rows::offset};
use crate::{
    domain::{Bounds, Offset, TopicId},
    store::StoreError,
};

/// Events removed by one transaction: appends wait meanwhile, about 20 ms.
const STEP: usize = 4096;

/// See [`LogStore::trim`](crate::store::LogStore::trim).
pub(super) async fn trim(store: &SqliteStore, topic: TopicId, up_to: Offset) -> Result<Option<Bounds>, StoreError> {
    loop {
        let Some(bounds) = trim_step(store, topic, up_to).await? else { return Ok(None) };
        if bounds.trimmed_to >= up_to.min(bounds.head) {
            return Ok(Some(bounds));
        }
    }
}

/// Removes the oldest events, at most [`STEP`] of them.
async fn trim_step(store: &SqliteStore, topic: TopicId, up_to: Offset) -> Result<Option<Bounds>, StoreError> {
    let mut tx = store.begin().await?;
    let query = store.query("raise_trimmed", include_str!("sql/raise_trimmed.sql"));
    let query = query.bind(topic.0).bind(up_to.get()).bind(STEP as i64);
    let Some(row) = query.fetch_optional(&mut *tx).await.map_err(failed)? else { return Ok(None) };
    let bounds = Bounds { head: offset(&row, "head")?, trimmed_to: offset(&row, "trimmed_to")? };
    remove_up_to(store, &mut tx, topic, bounds.trimmed_to).await?;
    tx.commit().await.map_err(failed)?;
    Ok(Some(bounds))
}
