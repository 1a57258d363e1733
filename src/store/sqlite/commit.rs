//! Storing a consumer's offset.

use sqlx::Row;

use super::{SqliteStore, error::failed, rows::offset as stored_offset};
use crate::{
    domain::{ConsumerId, Epoch, Offset},
    store::CommitError,
};

/// See [`ConsumerStore::commit_offset`](crate::store::ConsumerStore::commit_offset).
pub(super) async fn commit_offset(
    store: &SqliteStore,
    consumer: ConsumerId,
    epoch: Epoch,
    offset: Offset,
) -> Result<Offset, CommitError> {
    let mut tx = store.begin().await?;
    let query = store.query("find_position", include_str!("sql/find_position.sql")).bind(consumer.0);
    let row = query.fetch_optional(&mut *tx).await.map_err(failed)?.ok_or(CommitError::NotFound)?;
    let newest: i64 = row.try_get("epoch").map_err(failed)?;
    let stored = stored_offset(&row, "stored")?;
    let head = stored_offset(&row, "head")?;
    if epoch.0 != newest {
        return Err(CommitError::Fenced);
    }
    if offset > head {
        return Err(CommitError::BeyondHead { head });
    }
    if offset <= stored {
        return Ok(stored);
    }
    let query = store.query("commit_offset", "update consumers set stored = ? where id = ?");
    query.bind(offset.get()).bind(consumer.0).execute(&mut *tx).await.map_err(failed)?;
    tx.commit().await.map_err(failed)?;
    Ok(offset)
}
