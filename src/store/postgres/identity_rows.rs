//! Rows into users, producers, keys and sessions.

use sqlx::postgres::PgRow;

use super::{
    errors::corrupt,
    rows::{get, optional_time, parsed, time},
};
use crate::{
    domain::{ProducerName, Role, TopicPattern, Username},
    store::{ApiKeyRecord, KeyOwner, NewProducer, Producer, SessionRecord, SigningKey, StoreError, User},
};

/// A row of `users`.
pub(super) fn user(row: &PgRow) -> Result<User, StoreError> {
    Ok(User {
        name: parsed(row, "name", Username::parse)?,
        role: parsed(row, "role", |name| Role::from_name(name).ok_or_else(|| "is no role".to_owned()))?,
        disabled: get(row, "disabled")?,
        password_hash: get(row, "password_hash")?,
        create_time: time(row, "create_time")?,
    })
}

/// A row of `producers`.
pub(super) fn producer(row: &PgRow) -> Result<Producer, StoreError> {
    let patterns: Vec<String> = get(row, "topics")?;
    let pattern = |text: &String| {
        TopicPattern::parse(text).map_err(|error| corrupt(format!("the topic pattern {text:?} {error}")))
    };
    Ok(Producer {
        settings: NewProducer {
            name: parsed(row, "name", ProducerName::parse)?,
            description: get(row, "description")?,
            topics: patterns.iter().map(pattern).collect::<Result<_, _>>()?,
            disabled: get(row, "disabled")?,
        },
        create_time: time(row, "create_time")?,
    })
}

/// A row of `api_keys`.
pub(super) fn api_key(row: &PgRow) -> Result<ApiKeyRecord, StoreError> {
    Ok(ApiKeyRecord {
        id: get(row, "id")?,
        secret_hash: hash(row, "secret_hash")?,
        owner: KeyOwner::from_columns(get(row, "owner_kind")?, get(row, "owner_name")?).map_err(corrupt)?,
        create_time: time(row, "create_time")?,
        expire_time: optional_time(row, "expire_time")?,
        last_used_time: optional_time(row, "last_used_time")?,
        revoked: get(row, "revoked")?,
    })
}

/// A row of `sessions`.
pub(super) fn session(row: &PgRow) -> Result<SessionRecord, StoreError> {
    Ok(SessionRecord {
        id: get(row, "id")?,
        user: parsed(row, "username", Username::parse)?,
        family_hash: hash(row, "family_hash")?,
        refresh_hash: hash(row, "refresh_hash")?,
        create_time: time(row, "create_time")?,
        refresh_expire_time: time(row, "refresh_expire_time")?,
        expire_time: time(row, "expire_time")?,
        end_time: optional_time(row, "end_time")?,
    })
}

/// A row of `signing_keys`.
pub(super) fn signing_key(row: &PgRow) -> Result<SigningKey, StoreError> {
    Ok(SigningKey { id: get(row, "id")?, pkcs8: get(row, "pkcs8")?, create_time: time(row, "create_time")? })
}

fn hash(row: &PgRow, column: &str) -> Result<[u8; 32], StoreError> {
    let bytes: &[u8] = get(row, column)?;
    bytes.try_into().map_err(|_| corrupt(format!("the {column} has {} bytes instead of 32", bytes.len())))
}
