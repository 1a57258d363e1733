//! What has to be done after a backup was restored.

use sqlx::{Row, SqlitePool};
use uuid::Uuid;

use crate::domain::{LogId, TopicName};

/// Gives every topic a new log, and every consumer a new epoch beyond all that may have been given since the
/// backup, and frees it; leases that were given since are beyond all that will be. Returns the topics in the order of names.
pub(super) async fn after_restore(writer: &SqlitePool) -> Result<Vec<(TopicName, LogId)>, sqlx::Error> {
    let mut tx = writer.begin_with("begin immediate").await?;
    for change in [
        "update cluster set last_epoch = last_epoch + 4294967296",
        "update consumers set held_until = null, epoch = (select last_epoch from cluster) + id",
        "update cluster set last_epoch = last_epoch + 4294967296",
        "delete from connections",
        "update cluster set last_lease = last_lease + 4294967296",
    ] {
        sqlx::query(change).execute(&mut *tx).await?;
    }
    let topics = sqlx::query("select id, name from topics order by name").fetch_all(&mut *tx).await?;
    let mut replaced = Vec::with_capacity(topics.len());
    for topic in topics {
        let (id, log_id): (i32, _) = (topic.try_get("id")?, Uuid::new_v4());
        sqlx::query("update topics set log_id = ? where id = ?").bind(log_id).bind(id).execute(&mut *tx).await?;
        let name = TopicName::parse(topic.try_get("name")?).map_err(|error| sqlx::Error::Decode(error.into()))?;
        replaced.push((name, LogId(log_id)));
    }
    tx.commit().await?;
    Ok(replaced)
}
