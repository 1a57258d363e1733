//! API keys, and the keys that sign tokens.

use sqlx::{
    Row,
    sqlite::{SqliteConnection, SqliteRow},
};

use super::{
    SqliteStore,
    error::{corrupt, failed},
    rows::{optional_time, parsed, time_of},
};
use crate::{
    domain::{ConsumerName, ProducerName, Timestamp, Username},
    store::{ApiKeyRecord, KeyOwner, SigningKey, StoreError},
};

/// See [`IdentityStore::create_api_key`](crate::store::IdentityStore::create_api_key).
pub(super) async fn create(
    store: &SqliteStore,
    conn: &mut SqliteConnection,
    key: &ApiKeyRecord,
) -> Result<(), StoreError> {
    let ApiKeyRecord { id, secret_hash, owner, create_time, expire_time, revoked } = key;
    let (owner_kind, owner) = match owner {
        KeyOwner::User(name) => ("user", name.as_str()),
        KeyOwner::Producer(name) => ("producer", name.as_str()),
        KeyOwner::Consumer(name) => ("consumer", name.as_str()),
    };
    let query = store.query("create_api_key", "insert into api_keys values (?, ?, ?, ?, ?, ?, ?)");
    let query = query
        .bind(id)
        .bind(secret_hash.as_slice())
        .bind(owner_kind)
        .bind(owner)
        .bind(create_time.micros())
        .bind(expire_time.map(Timestamp::micros))
        .bind(revoked);
    query.execute(conn).await.map_err(failed)?;
    Ok(())
}

/// See [`IdentityStore::find_api_key`](crate::store::IdentityStore::find_api_key).
pub(super) async fn find(store: &SqliteStore, id: &str) -> Result<Option<ApiKeyRecord>, StoreError> {
    let query = store.query("find_api_key", "select * from api_keys where id = ?").bind(id);
    let row = query.fetch_optional(&mut *store.reader().await?).await.map_err(failed)?;
    row.as_ref().map(api_key).transpose()
}

/// See [`IdentityStore::signing_keys`](crate::store::IdentityStore::signing_keys).
pub(super) async fn signing_keys(store: &SqliteStore) -> Result<Vec<SigningKey>, StoreError> {
    let query = store.query("signing_keys", "select * from signing_keys order by create_time, id");
    let rows = query.fetch_all(&mut *store.reader().await?).await.map_err(failed)?;
    let key = |row: &SqliteRow| -> Result<SigningKey, StoreError> {
        Ok(SigningKey {
            id: row.try_get("id").map_err(failed)?,
            pkcs8: row.try_get("pkcs8").map_err(failed)?,
            create_time: time_of(row, "create_time")?,
        })
    };
    rows.iter().map(key).collect()
}

/// See [`IdentityStore::add_first_signing_key`](crate::store::IdentityStore::add_first_signing_key).
pub(super) async fn add_first_signing_key(store: &SqliteStore, key: &SigningKey) -> Result<(), StoreError> {
    let SigningKey { id, pkcs8, create_time } = key;
    let mut tx = store.begin().await?;
    let sql = "insert into signing_keys select ?, ?, ? where not exists (select 1 from signing_keys)";
    let query = store.query("add_first_signing_key", sql).bind(id).bind(pkcs8).bind(create_time.micros());
    query.execute(&mut *tx).await.map_err(failed)?;
    tx.commit().await.map_err(failed)
}

/// A SHA-256 hash.
pub(super) fn hash(row: &SqliteRow, column: &str) -> Result<[u8; 32], StoreError> {
    let bytes: &[u8] = row.try_get(column).map_err(failed)?;
    bytes.try_into().map_err(|_| corrupt(format!("{column} has {} bytes", bytes.len())))
}

fn api_key(row: &SqliteRow) -> Result<ApiKeyRecord, StoreError> {
    let owner = match row.try_get("owner_kind").map_err(failed)? {
        "user" => KeyOwner::User(parsed(row, "owner", Username::parse)?),
        "producer" => KeyOwner::Producer(parsed(row, "owner", ProducerName::parse)?),
        "consumer" => KeyOwner::Consumer(parsed(row, "owner", ConsumerName::parse)?),
        other => return Err(corrupt(format!("{other:?} owns no keys"))),
    };
    Ok(ApiKeyRecord {
        id: row.try_get("id").map_err(failed)?,
        secret_hash: hash(row, "secret_hash")?,
        owner,
        create_time: time_of(row, "create_time")?,
        expire_time: optional_time(row, "expire_time")?,
        revoked: row.try_get("revoked").map_err(failed)?,
    })
}
