//! Removing the oldest events of a topic that lives.

use sqlx::sqlite::SqliteConnection;

use super::{SqliteStore, error::failed, heads::heads, remove::remove_up_to, rows::offset};
use crate::{
    domain::{Bounds, Offset, TopicId},
    store::StoreError,
};

/// Events removed by one transaction: appends wait meanwhile, about 20 ms.
const STEP: usize = 4096;

/// See [`LogStore::trim`](crate::store::LogStore::trim).
pub(super) async fn trim(store: &SqliteStore, topic: TopicId, up_to: Offset) -> Result<Option<Bounds>, StoreError> {
    let mut before = None;
    loop {
        let Some(bounds) = trim_step(store, topic, up_to).await? else { return Ok(None) };
        // In the middle of a link there is no further step.
        if bounds.trimmed_to >= up_to.min(bounds.head) || before == Some(bounds.trimmed_to) {
            return Ok(Some(bounds));
        }
        before = Some(bounds.trimmed_to);
    }
}

/// See [`LogStore::trim_preview`](crate::store::LogStore::trim_preview).
pub(super) async fn preview(store: &SqliteStore, topic: TopicId, up_to: Offset) -> Result<Option<Bounds>, StoreError> {
    let found = heads(store, &[topic]).await?;
    let Some(Bounds { head, trimmed_to }) = found.first().map(|found| found.bounds) else { return Ok(None) };
    let up_to = whole_links(store, &mut *store.reader().await?, topic, up_to.min(head)).await?;
    Ok(Some(Bounds { head, trimmed_to: trimmed_to.max(up_to) }))
}

/// The last offset up to `up_to` that is not in the middle of a link: events that share one go together.
pub(super) async fn whole_links(
    store: &SqliteStore,
    conn: &mut SqliteConnection,
    topic: TopicId,
    up_to: Offset,
) -> Result<Offset, StoreError> {
    let query = store.query("whole_links", include_str!("sql/whole_links.sql")).bind(topic.0).bind(up_to.get());
    offset(&query.fetch_one(conn).await.map_err(failed)?, "up_to")
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
