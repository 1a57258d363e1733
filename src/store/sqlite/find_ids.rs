//! Looking for ids that a topic has.

use sqlx::{Row, sqlite::SqliteConnection};
use uuid::Uuid;

use super::{
    SqliteStore,
    error::failed,
    rows::{offset, time},
};
use crate::{
    domain::{ContentHash, IdKey, KnownId, TopicId},
    store::StoreError,
};

/// See [`LogStore::find_ids`](crate::store::LogStore::find_ids).
pub(super) async fn find_ids(
    store: &SqliteStore,
    conn: &mut SqliteConnection,
    topic: TopicId,
    keys: &[IdKey],
) -> Result<Vec<KnownId>, StoreError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let query = store
        .query("find_ids", include_str!("sql/find_ids.sql"))
        .bind(topic.0)
        .bind(hex_list(keys.iter().map(|key| key.0)));
    let rows = query.fetch_all(conn).await.map_err(failed)?;
    let known = |row| -> Result<KnownId, StoreError> {
        Ok(KnownId {
            key: IdKey(row_uuid(&row, "id_key")?),
            offset: offset(&row, "offset")?,
            content: ContentHash(row_uuid(&row, "content_hash")?),
            recorded_time: time(row.try_get("recorded_time").map_err(failed)?)?,
        })
    };
    rows.into_iter().map(known).collect()
}

/// A JSON array of hexadecimal text: SQLite has no other way to bind a list.
pub(super) fn hex_list(ids: impl IntoIterator<Item = Uuid>) -> String {
    let ids = ids.into_iter();
    let mut list = String::with_capacity(2 + ids.size_hint().0 * 35);
    let mut buffer = Uuid::encode_buffer();
    for id in ids {
        list.push(if list.is_empty() { '[' } else { ',' });
        list.push('"');
        list.push_str(id.simple().encode_lower(&mut buffer));
        list.push('"');
    }
    if list.is_empty() {
        list.push('[');
    }
    list.push(']');
    list
}

fn row_uuid(row: &sqlx::sqlite::SqliteRow, column: &str) -> Result<Uuid, StoreError> {
    row.try_get(column).map_err(failed)
}
