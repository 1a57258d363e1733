//! Users, keys and sessions as they stand now, a few seconds old at most.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use uuid::Uuid;

use super::{AuthError, cache::Cache};
use crate::{
    domain::{Caller, Timestamp, TopicPattern},
    store::{ApiKeyRecord, KeyOwner, SessionRecord, SharedStore, StoreError, User},
};

/// Entries of each cache: a few MiB when full.
const ENTRIES: usize = 10_000;
/// Ids of keys that do not exist, remembered so that a client with an old key does not cost a read
/// with each call.
const MISSING_ENTRIES: usize = 1_000;
/// How long a key that does not exist is remembered, at most.
const MISSING_AGE: Duration = Duration::from_secs(1);

/// The store's identities, through a cache.
///
/// A key and a session are remembered with their owner as it was at one moment: an owner that is deleted
/// takes them along, so that they never open what is created for its name later.
#[derive(Debug)]
pub(super) struct Identities {
    store: HiddenStore,
    keys: Cache<Arc<str>, Arc<KnownKey>>,
    missing_keys: Cache<Arc<str>, ()>,
    sessions: Cache<Uuid, Arc<KnownSession>>,
}

/// A store, which has nothing to show in `Debug`.
pub(super) struct HiddenStore(pub(super) SharedStore);

impl std::fmt::Debug for HiddenStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.kind())
    }
}

/// A key, and what its owner was when it was read.
#[derive(Debug)]
pub(super) struct KnownKey {
    pub(super) record: ApiKeyRecord,
    owner: Owner,
}

/// A session, and what its user was when it was read.
#[derive(Debug)]
pub(super) struct KnownSession {
    pub(super) record: SessionRecord,
    user: Option<User>,
}

/// What is cached with a key about its owner.
#[derive(Debug)]
enum Owner {
    User(User),
    Producer {
        topics: Arc<[TopicPattern]>,
        disabled: bool,
    },
    Consumer,
    /// It does not exist (any more).
    Gone,
}

impl Identities {
    /// Nothing remembered yet; nothing is answered that is older than `max_age`.
    pub(super) fn new(store: SharedStore, max_age: Duration) -> Self {
        Self {
            store: HiddenStore(store),
            keys: Cache::new(ENTRIES, max_age),
            missing_keys: Cache::new(MISSING_ENTRIES, max_age.min(MISSING_AGE)),
            sessions: Cache::new(ENTRIES, max_age),
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        self.keys.clear();
        self.missing_keys.clear();
        self.sessions.clear();
    }

    /// The key with this id.
    pub(super) async fn key(&self, id: &str) -> Result<Option<Arc<KnownKey>>, StoreError> {
        let id: Arc<str> = id.into();
        let now = Instant::now();
        let look = match self.keys.get(&id, now) {
            Ok(key) => return Ok(Some(key)),
            Err(look) => look,
        };
        let missing_look = match self.missing_keys.get(&id, now) {
            Ok(()) => return Ok(None),
            Err(look) => look,
        };
        let Some(record) = self.store.0.find_api_key(&id).await? else {
            self.missing_keys.put(id, (), missing_look);
            return Ok(None);
        };
        let owner = self.owner(&record.owner).await?;
        // Keys go with their owner: if this one is still there, that was its owner.
        let Some(record) = self.store.0.find_api_key(&id).await? else { return Ok(None) };
        let key = Arc::new(KnownKey { record, owner });
        self.keys.put(id, Arc::clone(&key), look);
        Ok(Some(key))
    }

    async fn owner(&self, owner: &KeyOwner) -> Result<Owner, StoreError> {
        Ok(match owner {
            KeyOwner::User(name) => self.store.0.find_user(name).await?.map_or(Owner::Gone, Owner::User),
            KeyOwner::Producer(name) => match self.store.0.find_producer(name).await? {
                Some(producer) => {
                    Owner::Producer { topics: producer.settings.topics.into(), disabled: producer.settings.disabled }
                }
                None => Owner::Gone,
            },
            KeyOwner::Consumer(name) => match self.store.0.find_consumer(name).await? {
                Some(_) => Owner::Consumer,
                None => Owner::Gone,
            },
        })
    }

    /// The session with this id, and whom it stands for at `now`, if it still stands. A session that
    /// is not there was removed with its user.
    pub(super) async fn caller_of_session(
        &self,
        id: Uuid,
        now: Timestamp,
    ) -> Result<(Arc<KnownSession>, Caller), AuthError> {
        let session = self.session(id).await?.ok_or(AuthError::Revoked)?;
        if session.record.end_time.is_some() {
            return Err(AuthError::Revoked);
        }
        if session.record.expire_time <= now {
            return Err(AuthError::Expired);
        }
        let caller = user_caller(session.user.as_ref().ok_or(AuthError::Revoked)?)?;
        Ok((session, caller))
    }

    async fn session(&self, id: Uuid) -> Result<Option<Arc<KnownSession>>, StoreError> {
        let look = match self.sessions.get(&id, Instant::now()) {
            Ok(session) => return Ok(Some(session)),
            Err(look) => look,
        };
        let Some(record) = self.store.0.find_session(id).await? else { return Ok(None) };
        let user = self.store.0.find_user(&record.user).await?;
        // As with keys: if the session is still there, that was its user.
        let Some(record) = self.store.0.find_session(id).await? else { return Ok(None) };
        let session = Arc::new(KnownSession { record, user });
        self.sessions.put(id, Arc::clone(&session), look);
        Ok(Some(session))
    }
}

impl KnownKey {
    /// Whom the key stands for at `now`, if it still stands.
    pub(super) fn caller(&self, now: Timestamp) -> Result<Caller, AuthError> {
        let Self { record, owner } = self;
        if record.revoked {
            return Err(AuthError::Revoked);
        }
        if record.expire_time.is_some_and(|end| end <= now) {
            return Err(AuthError::Expired);
        }
        match (owner, &record.owner) {
            (Owner::Producer { disabled: true, .. }, KeyOwner::Producer(name)) => {
                Err(AuthError::ProducerDisabled { producer: name.clone() })
            }
            (Owner::Producer { topics, .. }, KeyOwner::Producer(name)) => {
                Ok(Caller::Producer { name: name.clone(), topics: Arc::clone(topics) })
            }
            (Owner::Consumer, KeyOwner::Consumer(name)) => Ok(Caller::Consumer { name: name.clone() }),
            (Owner::User(user), KeyOwner::User(_)) => user_caller(user),
            (Owner::User(_) | Owner::Producer { .. } | Owner::Consumer | Owner::Gone, _) => Err(AuthError::Revoked),
        }
    }
}

/// The user as a caller, with the role that it has now.
fn user_caller(user: &User) -> Result<Caller, AuthError> {
    match user.disabled {
        true => Err(AuthError::Revoked),
        false => Ok(Caller::User { name: user.name.clone(), role: user.role }),
    }
}
