//! The signing keys as the store has them, with those that other servers add.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};
use tokio::{sync::Mutex, time::Instant};

use super::{
    AuthError, AuthOptions, CryptoError, SetupError,
    cache::Cache,
    jwt::{Claims, TokenError, TokenKeys, new_signing_key},
};
use crate::{
    domain::Timestamp,
    store::{SharedStore, SigningKey, StoreError},
};

/// Shortest time between two looks for keys that tokens name and nobody knows: tokens are free to make.
const REREAD_INTERVAL: Duration = Duration::from_secs(1);
/// Tokens whose signatures are remembered: a few MiB when full.
const VERIFIED: usize = 10_000;

/// The signing keys of the store.
pub(super) struct Keyring {
    store: SharedStore,
    options: AuthOptions,
    keys: ArcSwap<TokenKeys>,
    /// When the store was last asked for unknown keys. Locked during the look, so that one caller asks
    /// and those that came meanwhile find what it brought.
    reread: Mutex<Option<Instant>>,
    /// What tokens say whose signatures were found to be good, by their SHA-256: an Ed25519 signature takes longer
    /// than all else that an RPC without a store does.
    verified: Cache<[u8; 32], Arc<Claims>>,
}

impl Keyring {
    /// Reads the keys of the store, after making the first one if there is none.
    pub(super) async fn open(store: SharedStore, options: AuthOptions) -> Result<Self, SetupError> {
        let mut stored = store.signing_keys().await?;
        if stored.is_empty() {
            // Another server may do the same: the store keeps one of them, and both read that one.
            store.add_first_signing_key(&new_signing_key()?).await?;
            stored = store.signing_keys().await?;
        }
        let keys = ArcSwap::from_pointee(TokenKeys::parse(store.cluster_id(), &stored, options.key_notice)?);
        let verified = Cache::new(VERIFIED, options.cache_age);
        Ok(Self { store, options, keys, reread: Mutex::new(None), verified })
    }

    /// The token that says this.
    pub(super) fn sign(&self, claims: &Claims) -> Result<String, CryptoError> {
        self.keys.load().sign(claims)
    }

    /// What a token says, if it is good now. A key that is not known may be new: the store is asked,
    /// at most once in [`REREAD_INTERVAL`].
    pub(super) async fn verify(&self, token: &str) -> Result<Arc<Claims>, AuthError> {
        let hash = Sha256::digest(token).into();
        let look = match self.verified.get(&hash, Instant::now()) {
            Ok(claims) if claims.is_over(Timestamp::now()) => return Err(AuthError::Expired),
            Ok(claims) => return Ok(claims),
            Err(look) => look,
        };
        let claims = Arc::new(self.verify_signature(token).await?);
        self.verified.put(hash, claims.clone(), look);
        Ok(claims)
    }

    async fn verify_signature(&self, token: &str) -> Result<Claims, AuthError> {
        let first = self.keys.load().verify(token, Timestamp::now());
        let outcome = match first {
            Err(TokenError::UnknownKey) => {
                self.reread().await?;
                self.keys.load().verify(token, Timestamp::now())
            }
            known => known,
        };
        outcome.map_err(|error| match error {
            TokenError::Expired => AuthError::Expired,
            TokenError::Invalid | TokenError::UnknownKey => AuthError::Invalid,
        })
    }

    /// Reads the keys anew; if the newest is due for another one to follow it, or an old one to be
    /// forgotten, has the store do that first. Says whether the new key is this server's.
    pub(super) async fn rotate(&self) -> Result<bool, SetupError> {
        let AuthOptions { token_ttl, key_age, key_notice, key_kept, .. } = self.options;
        let mut last = self.reread.lock().await;
        let stored = self.store.signing_keys().await?;
        let now = Timestamp::now();
        let due = now.minus(key_age);
        // Whoever has followed a key for so long signed all tokens that are good now.
        let forget = now.minus(key_notice).minus(token_ttl).minus(key_kept);
        let is_due = stored.iter().all(|key| key.create_time <= due);
        let is_over = stored.iter().skip(1).any(|key| key.create_time <= forget);
        let added = match is_due || is_over {
            true => self.store.rotate_signing_key(&new_signing_key()?, due, forget).await?,
            false => false,
        };
        let stored = if is_due || is_over { self.store.signing_keys().await? } else { stored };
        self.keep(&stored)?;
        *last = Some(Instant::now());
        Ok(added)
    }

    /// Reads the keys anew, unless that was done just now.
    async fn reread(&self) -> Result<(), StoreError> {
        let mut last = self.reread.lock().await;
        if last.is_some_and(|last| last.elapsed() < REREAD_INTERVAL) {
            return Ok(());
        }
        self.keep(&self.store.signing_keys().await?)?;
        *last = Some(Instant::now());
        Ok(())
    }

    fn keep(&self, stored: &[SigningKey]) -> Result<(), StoreError> {
        let keys = TokenKeys::parse(self.store.cluster_id(), stored, self.options.key_notice)?;
        self.keys.store(Arc::new(keys));
        // A key may be gone.
        self.verified.clear();
        Ok(())
    }
}
