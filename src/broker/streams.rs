//! How many streams are open, in all and for each principal.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytestring::ByteString;
use metrics::{counter, gauge};
use parking_lot::Mutex;

use super::Broker;
use crate::{domain::Principal, telemetry::metric};

/// The streams of a process, counted.
#[derive(Debug)]
pub(super) struct Streams {
    limit: usize,
    principal_limit: usize,
    open: AtomicUsize,
    /// Only principals with open streams, so never more than those.
    by_principal: Mutex<HashMap<ByteString, usize>>,
}

/// Room for one stream; dropping it gives it back.
#[derive(Debug)]
pub struct StreamRoom {
    streams: Arc<Streams>,
    principal: ByteString,
}

/// There is no room for another stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// As many streams are open as this server has room for.
    #[error("{limit} streams are open, as many as this server takes; close some, or use another server")]
    Server {
        /// How many that is.
        limit: usize,
    },
    /// The caller has as many streams open as anybody may have.
    #[error("{principal} has {limit} streams open, as many as one principal may have; close some")]
    Principal {
        /// The caller.
        principal: ByteString,
        /// How many that is.
        limit: usize,
    },
}

impl Streams {
    pub(super) fn new(limit: usize, principal_limit: usize) -> Arc<Self> {
        let (open, by_principal) = (AtomicUsize::new(0), Mutex::default());
        Arc::new(Self { limit, principal_limit, open, by_principal })
    }

    /// Room for one more stream of a principal.
    pub(super) fn open(self: &Arc<Self>, principal: &ByteString) -> Result<StreamRoom, NoRoom> {
        let mut by_principal = self.by_principal.lock();
        if self.open.load(Ordering::Relaxed) >= self.limit {
            return Err(NoRoom::Server { limit: self.limit });
        }
        let own = by_principal.entry(principal.clone()).or_default();
        if *own >= self.principal_limit {
            return Err(NoRoom::Principal { principal: principal.clone(), limit: self.principal_limit });
        }
        *own += 1;
        self.open.fetch_add(1, Ordering::Relaxed);
        gauge!(metric::SUBSCRIPTIONS).increment(1.0);
        Ok(StreamRoom { streams: self.clone(), principal: principal.clone() })
    }
}

impl Broker {
    /// Room for one more stream of a principal; a refusal is counted.
    pub(super) fn room_for_stream(&self, principal: &Principal) -> Result<StreamRoom, NoRoom> {
        let room = self.streams().open(&principal.name);
        if room.is_err() {
            counter!(metric::STREAMS_REFUSED).increment(1);
        }
        room
    }
}

impl Drop for StreamRoom {
    fn drop(&mut self) {
        let mut by_principal = self.streams.by_principal.lock();
        if let Some(own) = by_principal.get_mut(&self.principal) {
            *own -= 1;
            if *own == 0 {
                by_principal.remove(&self.principal);
            }
        }
        self.streams.open.fetch_sub(1, Ordering::Relaxed);
        gauge!(metric::SUBSCRIPTIONS).decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::{NoRoom, Streams};

    #[test]
    fn room_is_limited_for_each_principal_and_in_all_and_given_back() {
        let streams = Streams::new(3, 2);
        let first = streams.open(&"ada".into()).unwrap();
        let _second = streams.open(&"ada".into()).unwrap();
        assert_eq!(streams.open(&"ada".into()).unwrap_err(), NoRoom::Principal { principal: "ada".into(), limit: 2 });
        let _third = streams.open(&"bob".into()).unwrap();
        assert_eq!(streams.open(&"bob".into()).unwrap_err(), NoRoom::Server { limit: 3 });
        drop(first);
        drop(streams.open(&"ada".into()).unwrap());
        assert_eq!(streams.by_principal.lock().len(), 2);
    }
}
