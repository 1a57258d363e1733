//! The signing keys as the store has them, with those that other servers add.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{sync::Mutex, time::Instant};

use super::{
    AuthError, CryptoError, SetupError,
    jwt::{Claims, TokenError, TokenKeys, new_signing_key},
};
use crate::{
    domain::Timestamp,
    store::{SharedStore, StoreError},
};

/// Shortest time between two looks for keys that tokens name and nobody knows: tokens are free to make.
const REREAD_INTERVAL: Duration = Duration::from_secs(1);

/// The signing keys of the store.
pub(super) struct Keyring {
    store: SharedStore,
    keys: ArcSwap<TokenKeys>,
    /// When the store was last asked for unknown keys. Locked during the look, so that one caller asks
    /// and those that came meanwhile find what it brought.
    reread: Mutex<Option<Instant>>,
}

impl Keyring {
    /// Reads the keys of the store, after making the first one if there is none.
    pub(super) async fn open(store: SharedStore) -> Result<Self, SetupError> {
        let mut stored = store.signing_keys().await?;
        if stored.is_empty() {
            // Another server may do the same: the store keeps one of them, and both read that one.
            store.add_first_signing_key(&new_signing_key()?).await?;
            stored = store.signing_keys().await?;
        }
        let keys = ArcSwap::from_pointee(TokenKeys::parse(store.cluster_id(), &stored)?);
        Ok(Self { store, keys, reread: Mutex::new(None) })
    }

    /// The token that says this.
    pub(super) fn sign(&self, claims: &Claims) -> Result<String, CryptoError> {
        self.keys.load().sign(claims)
    }

    /// What a token says, if it is good now. A key that is not known may be new: the store is asked,
    /// at most once in [`REREAD_INTERVAL`].
    pub(super) async fn verify(&self, token: &str) -> Result<Claims, AuthError> {
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

    /// Reads the keys anew, unless that was done just now.
    async fn reread(&self) -> Result<(), StoreError> {
        let mut last = self.reread.lock().await;
        if last.is_some_and(|last| last.elapsed() < REREAD_INTERVAL) {
            return Ok(());
        }
        let stored = self.store.signing_keys().await?;
        self.keys.store(Arc::new(TokenKeys::parse(self.store.cluster_id(), &stored)?));
        *last = Some(Instant::now());
        Ok(())
    }
}
