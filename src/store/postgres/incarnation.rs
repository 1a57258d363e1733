//! Notices that the server behind the URL is not the one that it was.
//!
//! Every new connection says which server it leads to: the cluster's system identifier, its timeline
//! (raised by a failover) and when the server was started. When that changes, connections made before
//! are not used any more, and whoever remembers something of the old server is told by the incarnation.

use std::time::{Duration, Instant};

use metrics::counter;
use parking_lot::Mutex;
use sqlx::{Row, postgres::PgRow};
use tokio::sync::watch;
use tracing::warn;
use uuid::Uuid;

use crate::{domain::Incarnation, telemetry::metric};

/// The server that all lanes of a store lead to.
#[derive(Debug)]
pub(super) struct ServerWatch {
    cluster: Uuid,
    /// What the newest connection said, and since when older connections do not count.
    known: Mutex<Known>,
    incarnation: watch::Sender<Incarnation>,
}

#[derive(Debug)]
struct Known {
    server: Option<String>,
    since: Instant,
}

impl ServerWatch {
    /// A watch on the servers of this cluster of ours.
    pub(super) fn new(cluster: Uuid) -> Self {
        let known = Mutex::new(Known { server: None, since: Instant::now() });
        Self { cluster, known, incarnation: watch::Sender::new(Incarnation::default()) }
    }

    /// The incarnation served by now.
    pub(super) fn incarnation(&self) -> watch::Receiver<Incarnation> {
        self.incarnation.subscribe()
    }

    /// Whether statements may be sent for a caller who knows this incarnation.
    pub(super) fn is(&self, incarnation: Incarnation) -> bool {
        *self.incarnation.borrow() == incarnation
    }

    /// Takes in what a new connection said of its server, before anything else is sent on it. Refuses
    /// servers that cannot be written to, or that hold another store.
    pub(super) fn meet(&self, said: &PgRow) -> Result<(), sqlx::Error> {
        if said.try_get("in_recovery")? {
            let message = "the database is a replica; point --database-url at the primary";
            return Err(sqlx::Error::Configuration(message.into()));
        }
        let cluster: Uuid = said.try_get("cluster")?;
        if cluster != self.cluster {
            let message = format!("the database holds cluster {cluster} now, not {}; restart to use it", self.cluster);
            return Err(sqlx::Error::Configuration(message.into()));
        }
        self.compare(said.try_get("server")?);
        Ok(())
    }

    fn compare(&self, server: String) {
        let mut known = self.known.lock();
        match &known.server {
            Some(before) if *before == server => {}
            None => known.server = Some(server),
            Some(before) => {
                warn!(
                    before,
                    now = server,
                    "the database server was started again or replaced; looking at everything anew"
                );
                *known = Known { server: Some(server), since: Instant::now() };
                self.raise();
            }
        }
    }

    /// The server cannot be written to any more: all connections made so far are given up.
    pub(super) fn demoted(&self) {
        let mut known = self.known.lock();
        warn!("the database server became read-only; connecting anew");
        known.since = Instant::now();
        self.raise();
    }

    /// Whether a connection of this age was made to the server of now.
    pub(super) fn is_current(&self, age: Duration) -> bool {
        age <= self.known.lock().since.elapsed()
    }

    fn raise(&self) {
        counter!(metric::STORE_CHANGES).increment(1);
        self.incarnation.send_modify(|incarnation| incarnation.0 += 1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::ServerWatch;
    use crate::domain::Incarnation;

    #[test]
    fn another_server_is_another_incarnation_and_ends_older_connections() {
        let watch = ServerWatch::new(Uuid::nil());
        watch.compare("a".into());
        watch.compare("a".into());
        assert!(watch.is(Incarnation(0)));
        assert!(watch.is_current(Duration::ZERO));
        std::thread::sleep(Duration::from_millis(5));
        watch.compare("b".into());
        assert!(watch.is(Incarnation(1)) && !watch.is(Incarnation(0)));
        assert!(!watch.is_current(Duration::from_millis(5)), "it was made to a");
        assert!(watch.is_current(Duration::ZERO));
        watch.compare("b".into());
        assert!(watch.is(Incarnation(1)));
    }
}
