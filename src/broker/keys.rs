//! API keys: creating, listing, rotating and revoking them.

use std::time::Duration;

use bytestring::ByteString;
use secrecy::SecretString;

use super::{Broker, Stopped};
use crate::{
    auth::{CryptoError, new_key},
    domain::{Permission, Principal, limits},
    store::{ApiKeyRecord, KeyOwner, StoreError, Whose},
};

/// A key that was just made, with its secret, which is shown this once.
#[derive(Debug)]
pub struct NewKey {
    /// The key as stored.
    pub record: ApiKeyRecord,
    /// The whole key.
    pub secret: SecretString,
}

/// Why something about a key was refused.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// There is no such key.
    #[error("key {id:?} does not exist; take its id from ListApiKeys")]
    NotFound {
        /// What was asked for.
        id: String,
    },
    /// The owner does not exist.
    #[error("{owner} does not exist")]
    OwnerNotFound {
        /// The owner.
        owner: KeyOwner,
    },
    /// The caller may not manage keys of this owner.
    #[error("{principal} may not manage keys of {owner}")]
    Denied {
        /// The caller.
        principal: ByteString,
        /// The owner.
        owner: KeyOwner,
    },
    /// No key could be made.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl Broker {
    /// Creates a further key for an owner, which ends after `ttl`.
    pub async fn create_api_key(
        &self,
        principal: &Principal,
        owner: KeyOwner,
        ttl: Option<Duration>,
    ) -> Result<NewKey, KeysError> {
        allow(principal, &owner)?;
        let (record, secret) = new_key(owner, ttl)?;
        let key = record.clone();
        let created = self.change(move |store| async move { store.create_api_key(&key).await }).await;
        match created.map_err(Stopped::store)?? {
            true => Ok(NewKey { record, secret }),
            false => Err(KeysError::OwnerNotFound { owner: record.owner }),
        }
    }

    /// Keys after `after`, in the order of ids: of one owner, or of all whose keys the caller may manage.
    pub async fn list_api_keys(
        &self,
        principal: &Principal,
        owner: Option<KeyOwner>,
        after: &str,
        limit: usize,
    ) -> Result<Vec<ApiKeyRecord>, KeysError> {
        let whose = match owner {
            None if principal.may(Permission::ManageUsers) => Whose::Everybodys,
            None => Whose::Programs,
            Some(owner) => {
                allow(principal, &owner)?;
                if !self.owner_exists(&owner).await? {
                    return Err(KeysError::OwnerNotFound { owner });
                }
                Whose::Owner(owner)
            }
        };
        Ok(self.store().list_api_keys(&whose, after, limit).await?)
    }

    /// Makes a key with the owner and the lifetime of another one, which goes on for `grace` (default 24 h).
    pub async fn rotate_api_key(
        &self,
        principal: &Principal,
        id: &str,
        grace: Option<Duration>,
    ) -> Result<NewKey, KeysError> {
        let old = self.managed_key(principal, id).await?;
        let ttl = old.expire_time.map(|end| end.since(old.create_time));
        let (record, secret) = new_key(old.owner, ttl)?;
        let old_end = record.create_time.plus(grace.unwrap_or(limits::KEY_GRACE_DEFAULT));
        let (store, key, old) = (self.store().clone(), record.clone(), id.to_owned());
        let rotated = self.change_identities(async move { store.rotate_api_key(&old, old_end, &key).await }).await;
        match rotated.map_err(Stopped::store)?? {
            true => Ok(NewKey { record, secret }),
            false => Err(KeysError::NotFound { id: id.to_owned() }),
        }
    }

    /// Revokes a key for good; one that was revoked before stays so.
    pub async fn revoke_api_key(&self, principal: &Principal, id: &str) -> Result<ApiKeyRecord, KeysError> {
        self.managed_key(principal, id).await?;
        let (store, wanted) = (self.store().clone(), id.to_owned());
        let revoked = self.change_identities(async move { store.revoke_api_key(&wanted).await }).await;
        revoked.map_err(Stopped::store)??.ok_or_else(|| KeysError::NotFound { id: id.to_owned() })
    }

    /// A key that the caller may manage. Its owner never changes.
    async fn managed_key(&self, principal: &Principal, id: &str) -> Result<ApiKeyRecord, KeysError> {
        let found = self.store().find_api_key(id).await?;
        let key = found.ok_or_else(|| KeysError::NotFound { id: id.to_owned() })?;
        allow(principal, &key.owner)?;
        Ok(key)
    }

    async fn owner_exists(&self, owner: &KeyOwner) -> Result<bool, StoreError> {
        Ok(match owner {
            KeyOwner::User(name) => self.store().find_user(name).await?.is_some(),
            KeyOwner::Producer(name) => self.store().find_producer(name).await?.is_some(),
            KeyOwner::Consumer(name) => self.store().find_consumer(name).await?.is_some(),
        })
    }
}

/// Refuses a caller who may not manage keys of this owner.
fn allow(principal: &Principal, owner: &KeyOwner) -> Result<(), KeysError> {
    let needed = match owner {
        KeyOwner::User(_) => Permission::ManageUsers,
        KeyOwner::Producer(_) | KeyOwner::Consumer(_) => Permission::ManageKeys,
    };
    match principal.may(needed) {
        true => Ok(()),
        false => Err(KeysError::Denied { principal: principal.name.clone(), owner: owner.clone() }),
    }
}
