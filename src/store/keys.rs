//! The contract of API keys.

use std::fmt;

use async_trait::async_trait;

use super::StoreError;
use crate::domain::{ConsumerName, ProducerName, Timestamp, Username};

/// Keeping API keys. They go with their owner, and never work for another owner of its name.
#[async_trait]
pub trait KeyStore {
    /// Keeps a key, whose id is new and which was neither used nor revoked; false if its owner does not
    /// exist (any more), and then nothing changes.
    async fn create_api_key(&self, key: &ApiKeyRecord) -> Result<bool, StoreError>;

    /// The key with this id.
    async fn find_api_key(&self, id: &str) -> Result<Option<ApiKeyRecord>, StoreError>;

    /// Keys whose ids come after `after`, in the byte order of ids.
    async fn list_api_keys(&self, whose: &Whose, after: &str, limit: usize) -> Result<Vec<ApiKeyRecord>, StoreError>;

    /// Keeps `key`, which has the same owner as the key `old`, and lets that one work until
    /// `old_expire_time` at most. False if there is no such key, and then nothing changes.
    async fn rotate_api_key(
        &self,
        old: &str,
        old_expire_time: Timestamp,
        key: &ApiKeyRecord,
    ) -> Result<bool, StoreError>;

    /// Revokes a key for good and returns it; `None` if there is none with this id.
    async fn revoke_api_key(&self, id: &str) -> Result<Option<ApiKeyRecord>, StoreError>;

    /// Notes when keys were last used, each id once; times never go back, and missing keys are skipped.
    async fn use_api_keys(&self, uses: &[(String, Timestamp)]) -> Result<(), StoreError>;
}

/// Whose key it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeyOwner {
    /// A user.
    User(Username),
    /// A producer.
    Producer(ProducerName),
    /// A consumer.
    Consumer(ConsumerName),
}

impl KeyOwner {
    /// Its kind and its name, as stores keep them.
    pub(super) fn columns(&self) -> (&'static str, &str) {
        match self {
            Self::User(name) => ("user", name.as_str()),
            Self::Producer(name) => ("producer", name.as_str()),
            Self::Consumer(name) => ("consumer", name.as_str()),
        }
    }

    /// From its kind and its name; the error says which of them is none.
    pub(super) fn from_columns(kind: &str, name: &str) -> Result<Self, String> {
        match kind {
            "user" => Username::parse(name).map(Self::User),
            "producer" => ProducerName::parse(name).map(Self::Producer),
            "consumer" => ConsumerName::parse(name).map(Self::Consumer),
            other => Err(format!("a {other:?} owns no keys")),
        }
    }
}

impl fmt::Display for KeyOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "users/{name}"),
            Self::Producer(name) => write!(f, "producers/{name}"),
            Self::Consumer(name) => write!(f, "consumers/{name}"),
        }
    }
}

/// Which keys are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// Those of all owners.
    Everybodys,
    /// Those of producers and consumers.
    Programs,
    /// Those of one owner.
    Owner(KeyOwner),
}

/// An API key as stored: its secret is not in it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKeyRecord {
    /// The public part.
    pub id: String,
    /// SHA-256 of the secret part.
    pub secret_hash: [u8; 32],
    /// Whose key it is.
    pub owner: KeyOwner,
    /// When it was created.
    pub create_time: Timestamp,
    /// When it ends; `None`: never.
    pub expire_time: Option<Timestamp>,
    /// When it was last used, about; `None`: not yet.
    pub last_used_time: Option<Timestamp>,
    /// It is refused from then on.
    pub revoked: bool,
}

impl fmt::Debug for ApiKeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeyRecord").field("id", &self.id).field("owner", &self.owner).finish_non_exhaustive()
    }
}
