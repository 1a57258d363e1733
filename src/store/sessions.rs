//! The contract of logins, and of the keys that sign their tokens.

use async_trait::async_trait;
use uuid::Uuid;

use super::StoreError;
use crate::domain::{Timestamp, Username};

/// Keeping logins.
#[async_trait]
pub trait SessionStore {
    /// Keeps a session, whose id is new and which has not ended, if its user is enabled and has this
    /// password; false if not, and then nothing changes. Sessions of the user that are over for a day
    /// are forgotten.
    async fn create_session(&self, session: &SessionRecord, password_hash: &str) -> Result<bool, StoreError>;

    /// The session with this id.
    async fn find_session(&self, id: Uuid) -> Result<Option<SessionRecord>, StoreError>;

    /// Ends a session; one that has ended, or never was, stays so.
    async fn end_session(&self, id: Uuid, time: Timestamp) -> Result<(), StoreError>;

    /// Trades the session's refresh token for the next one.
    ///
    /// Of several trades of one token, exactly one is [`Refreshed::Renewed`], and the next one ends the
    /// session.
    async fn refresh_session(&self, id: Uuid, trade: &RefreshTrade) -> Result<Refreshed, StoreError>;
}

/// Keeping the keys that sign tokens.
#[async_trait]
pub trait SigningKeyStore {
    /// All signing keys, oldest first.
    async fn signing_keys(&self) -> Result<Vec<SigningKey>, StoreError>;

    /// Keeps `key` if there is none yet. Of two servers that do so at once, one wins, and both find
    /// the same key afterwards.
    async fn add_first_signing_key(&self, key: &SigningKey) -> Result<(), StoreError>;

    /// Keeps `key` if none is younger than `due`, and says whether it did; of several servers at once,
    /// one does. Forgets each key that has a younger one as old as `forget`.
    async fn rotate_signing_key(&self, key: &SigningKey, due: Timestamp, forget: Timestamp)
    -> Result<bool, StoreError>;
}

/// A login.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// The `sid` of its tokens.
    pub id: Uuid,
    /// Who logged in.
    pub user: Username,
    /// SHA-256 of what all its refresh tokens have in common.
    pub family_hash: [u8; 32],
    /// SHA-256 of the refresh token that works next.
    pub refresh_hash: [u8; 32],
    /// When it was opened.
    pub create_time: Timestamp,
    /// When the refresh token that works next ends by itself.
    pub refresh_expire_time: Timestamp,
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

/// A refresh token, and the one to be had for it.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshTrade {
    /// SHA-256 of what all refresh tokens of the session have in common.
    pub family_hash: [u8; 32],
    /// SHA-256 of the token that is given.
    pub old_hash: [u8; 32],
    /// SHA-256 of the next one.
    pub new_hash: [u8; 32],
    /// When that one ends by itself.
    pub new_expire_time: Timestamp,
    /// When this is.
    pub now: Timestamp,
}

impl std::fmt::Debug for RefreshTrade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RefreshTrade").field("now", &self.now).finish_non_exhaustive()
    }
}

/// What became of a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refreshed {
    /// The next one works now.
    Renewed,
    /// It was traded before: the session has ended by this.
    Reused,
    /// The session had ended.
    Ended,
    /// The token or its session is over.
    Expired,
    /// There is no such session, or it never had such a token.
    Unknown,
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
