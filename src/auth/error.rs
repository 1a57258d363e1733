//! Why a credential, a login or the start of authentication failed.

use std::time::Duration;

use crate::{
    domain::{ProducerName, Username},
    store::StoreError,
};

/// Why a call has no principal. Which part of a credential was wrong is never said.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The call carries no credential.
    #[error("the call carries no credential; send a token or an API key")]
    Missing,
    /// The credential is not one of this server.
    #[error("the credential is not valid here; log in, or use another key")]
    Invalid,
    /// Its time is over.
    #[error("the credential has expired; renew it")]
    Expired,
    /// It was revoked, its session ended, or its owner was disabled or deleted.
    #[error("the credential was revoked; log in anew, or ask for another key")]
    Revoked,
    /// The user may do less than when it began.
    #[error("the role of {user} was lowered since; ask again for what it still allows")]
    RoleLowered {
        /// The user.
        user: Username,
    },
    /// The key is good, but its producer is disabled.
    #[error("the producer {producer} is disabled; let an operator enable it")]
    ProducerDisabled {
        /// The producer whose key it is.
        producer: ProducerName,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a refresh token was not traded.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// It is not good (any more), or the store failed.
    #[error(transparent)]
    Credential(#[from] AuthError),
    /// It was traded before, and its session has ended by this.
    #[error("the refresh token was used before, which ends its session; log in again")]
    Reused,
    /// This server could not compute what it had to.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// Why nobody was logged in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Unknown user, wrong password, no password, or disabled user: which one is not said.
    #[error("the name or the password is wrong")]
    Invalid,
    /// Too many logins failed, or wait to be checked; nothing was looked at.
    #[error("too many logins failed lately; try again in {} s", .retry_in.as_secs_f32().ceil())]
    Throttled {
        /// How long to wait before the next attempt.
        retry_in: Duration,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// This server could not compute what it had to.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// This server could not make a key, a hash or a signature; no fault of the caller.
#[derive(Debug, thiserror::Error)]
pub enum CryptoError {
    /// The system gives no random bytes.
    #[error("there are no random bytes")]
    Random,
    /// A key pair could not be made.
    #[error("a key pair could not be made")]
    KeyPair,
    /// A password could not be hashed.
    #[error("a password could not be hashed: {0}")]
    Hash(String),
    /// A token could not be signed.
    #[error("a token could not be signed")]
    Sign(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The process is stopping.
    #[error("the process is stopping")]
    Stopping,
}

/// Why authentication could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No signing key could be made.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}
