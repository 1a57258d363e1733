//! Users, producers, keys and sessions.

use async_trait::async_trait;
use sqlx::{Postgres, postgres::PgArguments, query::Query};
use uuid::Uuid;

use super::{
    PostgresStore,
    errors::unavailable,
    identity_rows as identity, rows,
    topics::{CREATE_ATTEMPTS, to_limit},
};
use crate::{
    domain::{ProducerName, Timestamp, Username},
    store::{
        ApiKeyRecord, IdentityStore, NewProducer, Producer, RegisterProducerError, SessionRecord, SigningKey,
        StoreError, User,
    },
};

#[async_trait]
impl IdentityStore for PostgresStore {
    async fn has_users(&self) -> Result<bool, StoreError> {
        let statement = sqlx::query("select exists (select from eventflow.users) as has_users");
        rows::get(&self.control.one("has_users", statement).await?, "has_users")
    }

    async fn create_user(&self, user: &User) -> Result<bool, StoreError> {
        let User { name, role, disabled, password_hash, create_time } = user;
        let statement = sqlx::query(include_str!("sql/create_user.sql"))
            .bind(name.as_str())
            .bind(role.as_str())
            .bind(disabled)
            .bind(password_hash)
            .bind(create_time.to_datetime());
        Ok(self.control.execute("create_user", statement).await? == 1)
    }

    async fn find_user(&self, name: &Username) -> Result<Option<User>, StoreError> {
        let statement = sqlx::query(include_str!("sql/find_user.sql")).bind(name.as_str());
        self.control.optional("find_user", statement).await?.as_ref().map(identity::user).transpose()
    }

    async fn register_producer(
        &self,
        producer: &NewProducer,
        key: &ApiKeyRecord,
    ) -> Result<Producer, RegisterProducerError> {
        let NewProducer { name, description, topics, disabled } = producer;
        for _ in 0..CREATE_ATTEMPTS {
            let statement = sqlx::query(include_str!("sql/register_producer.sql"))
                .bind(name.as_str())
                .bind(description)
                .bind(topics.iter().map(|pattern| pattern.to_string()).collect::<Vec<_>>())
                .bind(disabled);
            if let Some(row) = self.control.optional("register_producer", bind_key(statement, key)).await? {
                let create_time = rows::time(&row, "create_time")?;
                return Ok(Producer { settings: producer.clone(), create_time });
            }
            if let Some(producer) = self.find_producer(name).await? {
                return Err(RegisterProducerError::Exists(Box::new(producer)));
            }
        }
        Err(unavailable("others register and delete the producer all the time").into())
    }

    async fn find_producer(&self, name: &ProducerName) -> Result<Option<Producer>, StoreError> {
        let statement = sqlx::query(include_str!("sql/find_producer.sql")).bind(name.as_str());
        self.control.optional("find_producer", statement).await?.as_ref().map(identity::producer).transpose()
    }

    async fn list_producers(&self, after: &str, limit: usize) -> Result<Vec<Producer>, StoreError> {
        let statement = sqlx::query(include_str!("sql/list_producers.sql")).bind(after).bind(to_limit(limit));
        self.control.all("list_producers", statement).await?.iter().map(identity::producer).collect()
    }

    async fn create_api_key(&self, key: &ApiKeyRecord) -> Result<(), StoreError> {
        let statement = bind_key(sqlx::query(include_str!("sql/create_api_key.sql")), key);
        self.control.execute("create_api_key", statement).await.map(drop)
    }

    async fn find_api_key(&self, id: &str) -> Result<Option<ApiKeyRecord>, StoreError> {
        let statement = sqlx::query(include_str!("sql/find_api_key.sql")).bind(id);
        self.control.optional("find_api_key", statement).await?.as_ref().map(identity::api_key).transpose()
    }

    async fn create_session(&self, session: &SessionRecord) -> Result<(), StoreError> {
        let SessionRecord { id, user, refresh_hash, create_time, expire_time, end_time } = session;
        let statement = sqlx::query(include_str!("sql/create_session.sql"))
            .bind(id)
            .bind(user.as_str())
            .bind(&refresh_hash[..])
            .bind(create_time.to_datetime())
            .bind(expire_time.to_datetime())
            .bind(end_time.map(Timestamp::to_datetime));
        self.control.execute("create_session", statement).await.map(drop)
    }

    async fn find_session(&self, id: Uuid) -> Result<Option<SessionRecord>, StoreError> {
        let statement = sqlx::query(include_str!("sql/find_session.sql")).bind(id);
        self.control.optional("find_session", statement).await?.as_ref().map(identity::session).transpose()
    }

    async fn end_session(&self, id: Uuid, time: Timestamp) -> Result<(), StoreError> {
        let statement = sqlx::query("update eventflow.sessions set end_time = $2 where id = $1 and end_time is null");
        self.control.execute("end_session", statement.bind(id).bind(time.to_datetime())).await.map(drop)
    }

    async fn signing_keys(&self) -> Result<Vec<SigningKey>, StoreError> {
        let statement = sqlx::query(include_str!("sql/signing_keys.sql"));
        self.control.all("signing_keys", statement).await?.iter().map(identity::signing_key).collect()
    }

    async fn add_first_signing_key(&self, key: &SigningKey) -> Result<(), StoreError> {
        let SigningKey { id, pkcs8, create_time } = key;
        let statement = sqlx::query("select eventflow.add_first_signing_key_v1($1, $2, $3)");
        let statement = statement.bind(id).bind(pkcs8).bind(create_time.to_datetime());
        self.control.execute("add_first_signing_key", statement).await.map(drop)
    }
}

/// Binds a key's columns after what is bound already.
fn bind_key<'q>(
    statement: Query<'q, Postgres, PgArguments>,
    key: &'q ApiKeyRecord,
) -> Query<'q, Postgres, PgArguments> {
    let ApiKeyRecord { id, secret_hash, owner, create_time, expire_time, revoked } = key;
    let (owner_kind, owner_name) = identity::owner_columns(owner);
    statement
        .bind(id)
        .bind(&secret_hash[..])
        .bind(owner_kind)
        .bind(owner_name)
        .bind(create_time.to_datetime())
        .bind(expire_time.map(Timestamp::to_datetime))
        .bind(revoked)
}
