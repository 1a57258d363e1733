//! The contract of users, producers, keys and sessions.

use async_trait::async_trait;
use uuid::Uuid;

use super::StoreError;
use crate::domain::{ConsumerName, ProducerName, Role, Timestamp, TopicPattern, Username};

/// Keeping who may call.
#[async_trait]
pub trait IdentityStore {
    /// Whether any user exists.
    async fn has_users(&self) -> Result<bool, StoreError>;

    /// Creates a user; false if the name is taken, and then nothing changes. Of two servers that
    /// create the same user at once, exactly one gets true.
    async fn create_user(&self, user: &User) -> Result<bool, StoreError>;

    /// The user of this name.
    async fn find_user(&self, name: &Username) -> Result<Option<User>, StoreError>;

    /// Registers a producer together with its first key, or nothing.
    ///
    /// [`RegisterProducerError::Exists`] carries the producer that has the name.
    async fn register_producer(
        &self,
        producer: &NewProducer,
        key: &ApiKeyRecord,
    ) -> Result<Producer, RegisterProducerError>;

    /// The producer of this name.
    async fn find_producer(&self, name: &ProducerName) -> Result<Option<Producer>, StoreError>;

    /// Producers whose names come after `after`, in the byte order of names.
    async fn list_producers(&self, after: &str, limit: usize) -> Result<Vec<Producer>, StoreError>;

    /// Keeps a key; its id is new.
    async fn create_api_key(&self, key: &ApiKeyRecord) -> Result<(), StoreError>;

    /// The key with this id.
    async fn find_api_key(&self, id: &str) -> Result<Option<ApiKeyRecord>, StoreError>;

    /// Keeps a session; its id is new.
    async fn create_session(&self, session: &SessionRecord) -> Result<(), StoreError>;

    /// The session with this id.
    async fn find_session(&self, id: Uuid) -> Result<Option<SessionRecord>, StoreError>;

    /// Ends a session; one that has ended, or never was, stays so.
    async fn end_session(&self, id: Uuid, time: Timestamp) -> Result<(), StoreError>;

    /// All signing keys, oldest first.
    async fn signing_keys(&self) -> Result<Vec<SigningKey>, StoreError>;

    /// Keeps `key` if there is none yet. Of two servers that do so at once, one wins, and both find
    /// the same key afterwards.
    async fn add_first_signing_key(&self, key: &SigningKey) -> Result<(), StoreError>;
}

/// A person, or a program with a role.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: Username,
    /// What it may do.
    pub role: Role,
    /// A disabled user's credentials are refused.
    pub disabled: bool,
    /// The password's argon2id hash in PHC format; `None`: it can only use keys.
    pub password_hash: Option<String>,
    /// When it was created.
    pub create_time: Timestamp,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("name", &self.name).field("role", &self.role).finish_non_exhaustive()
    }
}

/// A producer to be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewProducer {
    /// Its name.
    pub name: ProducerName,
    /// What it is, at most 1 KiB.
    pub description: String,
    /// Where it may publish.
    pub topics: Vec<TopicPattern>,
    /// A disabled producer's keys are refused.
    pub disabled: bool,
}

/// A producer as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    /// What its creator chose.
    pub settings: NewProducer,
    /// When it was registered.
    pub create_time: Timestamp,
}

/// Why a producer was not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterProducerError {
    /// The name is taken.
    #[error("the producer exists")]
    Exists(Box<Producer>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
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
    /// It is refused from then on.
    pub revoked: bool,
}

impl std::fmt::Debug for ApiKeyRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKeyRecord").field("id", &self.id).field("owner", &self.owner).finish_non_exhaustive()
    }
}

/// A login.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// The `sid` of its tokens.
    pub id: Uuid,
    /// Who logged in.
    pub user: Username,
    /// SHA-256 of the refresh token that works next.
    pub refresh_hash: [u8; 32],
    /// When it was opened.
    pub create_time: Timestamp,
    /// When it ends by itself.
    pub expire_time: Timestamp,
    /// When it was ended; `None`: it goes on.
    pub end_time: Option<Timestamp>,
}

impl std::fmt::Debug for SessionRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionRecord").field("id", &self.id).field("user", &self.user).finish_non_exhaustive()
    }
}

/// A key pair that signs tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// The `kid` of its tokens.
    pub id: String,
    /// The Ed25519 key pair in PKCS#8.
    pub pkcs8: Vec<u8>,
    /// When it was made.
    pub create_time: Timestamp,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}
