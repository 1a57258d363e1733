//! API keys.

use async_trait::async_trait;

use super::{PostgresStore, identity_rows as identity, rows, topics::to_limit};
use crate::{
    domain::Timestamp,
    store::{ApiKeyRecord, KeyStore, StoreError, Whose},
};

#[async_trait]
impl KeyStore for PostgresStore {
    async fn create_api_key(&self, key: &ApiKeyRecord) -> Result<bool, StoreError> {
        let ApiKeyRecord { id, secret_hash, owner, create_time, expire_time, last_used_time: _, revoked: _ } = key;
        let (owner_kind, owner_name) = owner.columns();
        let statement = sqlx::query("select eventflow.create_api_key_v1($1, $2, $3, $4, $5, $6) as created")
            .bind(id)
            .bind(&secret_hash[..])
            .bind(owner_kind)
            .bind(owner_name)
            .bind(create_time.to_datetime())
            .bind(expire_time.map(Timestamp::to_datetime));
        rows::get(&self.control.one("create_api_key", statement).await?, "created")
    }

    async fn find_api_key(&self, id: &str) -> Result<Option<ApiKeyRecord>, StoreError> {
        let statement = sqlx::query(include_str!("sql/find_api_key.sql")).bind(id);
        self.control.optional("find_api_key", statement).await?.as_ref().map(identity::api_key).transpose()
    }

    async fn list_api_keys(&self, whose: &Whose, after: &str, limit: usize) -> Result<Vec<ApiKeyRecord>, StoreError> {
        let (owner_kind, owner_name) = match whose {
            Whose::Everybodys | Whose::Programs => (None, None),
            Whose::Owner(owner) => Some(owner.columns()).unzip(),
        };
        let statement = sqlx::query(include_str!("sql/list_api_keys.sql"))
            .bind(owner_kind)
            .bind(owner_name)
            .bind(*whose == Whose::Programs)
            .bind(after)
            .bind(to_limit(limit));
        self.control.all("list_api_keys", statement).await?.iter().map(identity::api_key).collect()
    }

    async fn rotate_api_key(
        &self,
        old: &str,
        old_expire_time: Timestamp,
        key: &ApiKeyRecord,
    ) -> Result<bool, StoreError> {
        let ApiKeyRecord { id, secret_hash, owner: _, create_time, expire_time, last_used_time: _, revoked: _ } = key;
        let statement = sqlx::query("select eventflow.rotate_api_key_v1($1, $2, $3, $4, $5, $6) as rotated")
            .bind(old)
            .bind(old_expire_time.to_datetime())
            .bind(id)
            .bind(&secret_hash[..])
            .bind(create_time.to_datetime())
            .bind(expire_time.map(Timestamp::to_datetime));
        rows::get(&self.control.one("rotate_api_key", statement).await?, "rotated")
    }

    async fn revoke_api_key(&self, id: &str) -> Result<Option<ApiKeyRecord>, StoreError> {
        let statement = sqlx::query(include_str!("sql/revoke_api_key.sql")).bind(id);
        self.control.optional("revoke_api_key", statement).await?.as_ref().map(identity::api_key).transpose()
    }

    async fn use_api_keys(&self, uses: &[(String, Timestamp)]) -> Result<(), StoreError> {
        let (ids, times): (Vec<_>, Vec<_>) = uses.iter().map(|(id, time)| (id.as_str(), time.to_datetime())).unzip();
        let statement = sqlx::query("select eventflow.use_api_keys_v1($1, $2)").bind(ids).bind(times);
        self.control.execute("use_api_keys", statement).await.map(drop)
    }
}
