//! When keys were last used, to be noted in the store now and then.

use std::{collections::HashMap, mem, sync::Arc, time::Duration};

use parking_lot::Mutex;

use crate::{
    domain::Timestamp,
    store::{ApiKeyRecord, StoreError},
};

use super::Auth;

/// A use is not noted if the store knows of one so short a time before.
const PRECISION: Duration = Duration::from_secs(60);
/// Uses that wait to be noted, at most; further ones are noted by a later use.
const WAITING: usize = 10_000;

/// Uses that the store does not know of yet, by the key's id.
#[derive(Debug, Default)]
pub(super) struct KeyUses(Mutex<HashMap<Arc<str>, Timestamp>>);

impl KeyUses {
    /// A key was used, if the store is to hear of it. The record may be a few seconds old.
    pub(super) fn used(&self, key: &ApiKeyRecord, now: Timestamp) {
        if key.last_used_time.is_some_and(|last| now.since(last) < PRECISION) {
            return;
        }
        let mut waiting = self.0.lock();
        if waiting.len() < WAITING || waiting.contains_key(key.id.as_str()) {
            waiting.insert(key.id.as_str().into(), now);
        }
    }

    fn take(&self) -> Vec<(String, Timestamp)> {
        let waiting = mem::take(&mut *self.0.lock());
        waiting.into_iter().map(|(id, time)| (id.to_string(), time)).collect()
    }
}

impl Auth {
    /// Notes in the store which keys were used since the last time, by one statement, if any were.
    pub async fn note_key_uses(&self) -> Result<(), StoreError> {
        let uses = self.inner.key_uses.take();
        if uses.is_empty() {
            return Ok(());
        }
        self.inner.store.use_api_keys(&uses).await
    }
}
