//! Changes of who may call, and telling all servers of them.

use std::future::Future;

use tracing::Instrument;

use super::{Broker, Stopped};
use crate::notify::Control;

impl Broker {
    /// Runs a change of identities in a task of its own and tells all servers, so that a caller who leaves
    /// cuts off neither. When it returns, this server has forgotten what it remembered.
    pub(super) async fn change_identities<F, T>(&self, change: F) -> Result<T, Stopped>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let broker = self.clone();
        let told = async move {
            let outcome = change.await;
            // Also after a failure, which the change may have come before.
            broker.inner.auth.clear();
            broker.notifier().control(Control::IdentitiesChanged);
            outcome
        };
        self.shutdown().spawn(told.in_current_span()).await.map_err(Stopped)
    }
}
