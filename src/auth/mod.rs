//! Who is calling: credentials are turned into a [`Principal`], and asked again while they are in use.
//!
//! People log in and get tokens, programs use API keys. What the store says of users, keys and sessions
//! is remembered for a few seconds, and for less when [`Auth::clear`] is called.

mod api_key;
mod bootstrap;
mod cache;
mod error;
mod identities;
mod jwt;
mod key_uses;
mod keyring;
mod login;
mod password;
mod private_file;
mod random;
mod refresh;
mod session;
mod throttle;

use std::{fmt, sync::Arc, time::Duration};

use secrecy::SecretString;
use uuid::Uuid;

pub use api_key::new_key;
pub use bootstrap::{
    ADMIN_PASSWORD_FILE, Bootstrap, BootstrapError, EMBEDDED_KEY_FILE, EmbeddedKey, bootstrap, embedded_key,
};
pub use error::{AuthError, CryptoError, LoginError, RefreshError, SetupError};
pub use password::check_password;
pub use session::Tokens;

use self::{
    api_key::PresentedKey, identities::Identities, key_uses::KeyUses, keyring::Keyring, password::Passwords,
    throttle::Throttle,
};
use crate::{
    domain::{Caller, CredentialRef, Principal, Timestamp},
    store::SharedStore,
};

/// Bytes in a credential, at most: no token or key of ours comes near.
const CREDENTIAL_BYTES: usize = 4096;

/// How credentials are issued and remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthOptions {
    /// How long an access token works.
    pub token_ttl: Duration,
    /// How long a refresh token works, though not beyond its session.
    pub refresh_ttl: Duration,
    /// How long a session lasts, whatever is renewed meanwhile.
    pub session_ttl: Duration,
    /// How old a signing key gets before another one follows it.
    pub key_age: Duration,
    /// How old a signing key is before it signs, so that every server knows it by then.
    pub key_notice: Duration,
    /// How long a signing key is kept after the last token that it can have signed has expired.
    pub key_kept: Duration,
    /// How long what the store said of a user, key or session is taken for true.
    pub cache_age: Duration,
}

impl Default for AuthOptions {
    fn default() -> Self {
        Self {
            token_ttl: Duration::from_secs(15 * 60),
            refresh_ttl: Duration::from_secs(30 * 24 * 3600),
            session_ttl: Duration::from_secs(90 * 24 * 3600),
            key_age: Duration::from_secs(30 * 24 * 3600),
            key_notice: Duration::from_secs(600),
            key_kept: Duration::from_secs(24 * 3600),
            cache_age: Duration::from_secs(5),
        }
    }
}

/// Answers who is calling. A cheap clone; all clones share one cache.
#[derive(Clone)]
pub struct Auth {
    inner: Arc<Inner>,
}

struct Inner {
    store: SharedStore,
    options: AuthOptions,
    passwords: Passwords,
    keyring: Keyring,
    identities: Identities,
    throttle: Throttle,
    key_uses: KeyUses,
}

impl Auth {
    /// Over a store, whose signing key is made if it has none yet.
    pub async fn new(store: SharedStore, options: AuthOptions) -> Result<Self, SetupError> {
        let inner = Inner {
            options,
            passwords: Passwords::new(),
            keyring: Keyring::open(Arc::clone(&store), options).await?,
            identities: Identities::new(Arc::clone(&store), options.cache_age),
            throttle: Throttle::default(),
            key_uses: KeyUses::default(),
            store,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The principal of a credential: an access token, or an API key.
    ///
    /// Its role and its topics are those that its owner has now, not those of the time it was issued.
    pub async fn authenticate(&self, credential: &str) -> Result<Principal, AuthError> {
        if credential.is_empty() {
            return Err(AuthError::Missing);
        }
        if credential.len() > CREDENTIAL_BYTES {
            return Err(AuthError::Invalid);
        }
        if PresentedKey::is_meant_by(credential) {
            self.authenticate_key(credential).await
        } else {
            self.authenticate_token(credential).await
        }
    }

    async fn authenticate_key(&self, credential: &str) -> Result<Principal, AuthError> {
        let presented = PresentedKey::parse(credential).ok_or(AuthError::Invalid)?;
        let key = self.inner.identities.key(presented.id).await?.ok_or(AuthError::Invalid)?;
        // The secret first: without it nobody learns how a key stands.
        if !presented.matches(&key.record) {
            return Err(AuthError::Invalid);
        }
        let now = Timestamp::now();
        let caller = key.caller(now)?;
        self.inner.key_uses.used(&key.record, now);
        let credential = CredentialRef::Key { id: key.record.id.as_str().into() };
        Ok(Principal::new(caller, credential, key.record.expire_time))
    }

    async fn authenticate_token(&self, credential: &str) -> Result<Principal, AuthError> {
        let claims = self.inner.keyring.verify(credential).await?;
        let id = Uuid::parse_str(&claims.sid).map_err(|_| AuthError::Invalid)?;
        let expires = Timestamp::parse(claims.exp, 0).map_err(|_| AuthError::Invalid)?;
        let (session, caller) = self.inner.identities.caller_of_session(id, Timestamp::now()).await?;
        let session = &session.record;
        if session.user.as_str() != claims.sub {
            return Err(AuthError::Invalid);
        }
        Ok(Principal::new(caller, CredentialRef::Session { id }, Some(expires.min(session.expire_time))))
    }

    /// The principal as it stands now: with the role, topics and end that its credential has now.
    ///
    /// For streams, which ask again and again; answered from the cache, so that it costs little and is
    /// at most [`AuthOptions::cache_age`] behind. [`AuthError::Store`] says nothing about the credential.
    pub async fn current(&self, principal: &Principal) -> Result<Principal, AuthError> {
        let now = Timestamp::now();
        let identities = &self.inner.identities;
        let (caller, expires) = match &principal.credential {
            CredentialRef::Key { id } => {
                let key = identities.key(id).await?.ok_or(AuthError::Revoked)?;
                let caller = key.caller(now)?;
                self.inner.key_uses.used(&key.record, now);
                (caller, key.record.expire_time)
            }
            CredentialRef::Session { id } => {
                if principal.expires.is_some_and(|end| end <= now) {
                    return Err(AuthError::Expired);
                }
                let (_, caller) = identities.caller_of_session(*id, now).await?;
                (caller, principal.expires)
            }
        };
        Ok(Principal { caller, expires, name: principal.name.clone(), credential: principal.credential.clone() })
    }

    /// Whether the principal may go on with what it was allowed to begin.
    ///
    /// As [`Auth::current`]; a user whose role was lowered since is [`AuthError::RoleLowered`], so that
    /// what the lower role may do has to be asked for anew. Does not look at a producer's topics.
    pub async fn recheck(&self, principal: &Principal) -> Result<(), AuthError> {
        let current = self.current(principal).await?;
        match (&principal.caller, &current.caller) {
            (Caller::User { role: then, name }, Caller::User { role: now, .. }) if now < then => {
                Err(AuthError::RoleLowered { user: name.clone() })
            }
            (Caller::User { .. } | Caller::Producer { .. } | Caller::Consumer { .. }, _) => Ok(()),
        }
    }

    /// Forgets what the store said of users, keys and sessions, since some of it changed.
    pub fn clear(&self) {
        self.inner.identities.clear();
    }

    /// Reads the signing keys anew, and adds one if the newest is old; says whether this server did. Of
    /// several servers at once, one does.
    pub async fn rotate_signing_keys(&self) -> Result<bool, SetupError> {
        self.inner.keyring.rotate().await
    }

    /// The hash to store for a new password, which [`check_password`] has accepted.
    pub async fn hash_password(&self, password: &SecretString) -> Result<String, CryptoError> {
        self.inner.passwords.hash(password).await
    }

    /// How often a password was hashed in this process, for metrics and for tests that compare paths.
    pub fn hashes_run(&self) -> u64 {
        self.inner.passwords.hashes_run()
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { store: _, options, passwords: _, keyring: _, identities, throttle: _, key_uses: _ } = &*self.inner;
        f.debug_struct("Auth").field("options", options).field("identities", identities).finish_non_exhaustive()
    }
}
