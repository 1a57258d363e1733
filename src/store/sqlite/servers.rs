//! The servers on an embedded store: this process alone, so that memory is enough.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use uuid::Uuid;

use super::SqliteStore;
use crate::{
    domain::{RunningServer, ServerId, Timestamp},
    store::{ServerStore, StoreError},
};

/// The servers that live, and what they do for all.
#[derive(Debug, Default)]
pub(super) struct Servers {
    alive: Vec<Lease>,
    duties: HashMap<String, (ServerId, Instant)>,
}

/// A server, and until when it is taken for alive.
#[derive(Debug)]
struct Lease {
    server: RunningServer,
    until: Instant,
}

impl Servers {
    /// The servers whose lease lasts.
    pub(super) fn alive(&self) -> impl Iterator<Item = Uuid> {
        let now = Instant::now();
        self.alive.iter().filter(move |lease| lease.until > now).map(|lease| lease.server.id.0)
    }
}

#[async_trait]
impl ServerStore for SqliteStore {
    async fn beat(&self, server: ServerId, name: &str, version: &str, lease: Duration) -> Result<(), StoreError> {
        let now = Instant::now();
        let servers = &mut self.servers.lock().alive;
        servers.retain(|lease| lease.until > now);
        let until = now + lease;
        match servers.iter_mut().find(|lease| lease.server.id == server) {
            Some(lease) => lease.until = until,
            None => {
                let (name, version, start_time) = (name.to_owned(), version.to_owned(), Timestamp::now());
                servers.push(Lease { server: RunningServer { id: server, name, version, start_time }, until });
            }
        }
        Ok(())
    }

    async fn leave(&self, server: ServerId) -> Result<(), StoreError> {
        self.servers.lock().alive.retain(|lease| lease.server.id != server);
        Ok(())
    }

    async fn take_duty(&self, duty: &str, server: ServerId, lease: Duration) -> Result<bool, StoreError> {
        let now = Instant::now();
        let duties = &mut self.servers.lock().duties;
        let free = duties.get(duty).is_none_or(|(holder, until)| *holder == server || *until < now);
        if free {
            duties.insert(duty.to_owned(), (server, now + lease));
        }
        Ok(free)
    }

    async fn servers(&self, limit: usize) -> Result<Vec<RunningServer>, StoreError> {
        let now = Instant::now();
        let servers = self.servers.lock();
        let alive = servers.alive.iter().filter(|lease| lease.until > now);
        Ok(alive.take(limit).map(|lease| lease.server.clone()).collect())
    }
}
