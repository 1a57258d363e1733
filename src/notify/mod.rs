//! Wake-ups: telling readers, here and on other servers, that a topic grew.
//!
//! Everything here is a hint. Losing, delaying, repeating or forging every message costs latency, and
//! never an event: readers look at the store when woken, and poll it anyway.

mod hub;
mod local;
mod redis;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::domain::{ConsumerId, TopicId};

pub use hub::{Cause, Hub, Registration};
pub use local::LocalNotifier;
pub use redis::{InvalidRedisUrl, RedisCounts, RedisNotifier, RedisOptions};

/// Tells other servers, and hears them; what is heard goes to a [`Hub`].
#[async_trait]
pub trait Notifier: Send + Sync + std::fmt::Debug + 'static {
    /// Says that a topic grew. It never waits and never fails: a topic announced again before it was
    /// sent is sent once. The readers of this process are not woken by it.
    fn announce(&self, topic: TopicId);

    /// Tells all servers, this one included, that something changed. It never waits and never fails.
    fn control(&self, message: Control);

    /// As [`control`](Self::control), for the other servers only.
    fn tell_others(&self, message: Control);

    /// Whether wake-ups from other servers can be relied on.
    fn state(&self) -> watch::Receiver<NotifierState>;

    /// Sends what waits, for a moment at most, and ends. Cancelling it loses what waits.
    async fn shutdown(&self);
}

/// A notifier, shared.
pub type SharedNotifier = Arc<dyn Notifier>;

/// Something changed that servers remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Control {
    /// Topics were created, changed or deleted.
    TopicsChanged,
    /// Users, keys or sessions changed.
    IdentitiesChanged,
    /// A consumer was taken, given back, moved, changed or deleted.
    ConsumerChanged(ConsumerId),
    /// Messages may have been lost: anything may have changed.
    Everything,
}

/// Whether wake-ups from other servers can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotifierState {
    /// The notifier hears its own beat.
    Healthy,
    /// It does not: readers find events by polling alone.
    Degraded,
}
