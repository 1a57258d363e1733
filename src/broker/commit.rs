//! Storing how far a consumer is.

use std::sync::Arc;

use metrics::counter;

use super::{Broker, CommitOffsetError, Stopped, frame::Position};
use crate::{
    domain::{Bounds, ConsumerName, Epoch, Mode, Offset, Permission, Principal},
    store::CommitError,
    telemetry::metric,
};

impl Broker {
    /// Stores the last offset done, and what the filter left out after it; at or below the stored one
    /// nothing changes. Cancelling it may or may not store it.
    pub async fn commit_offset(
        &self,
        principal: &Principal,
        name: &ConsumerName,
        epoch: Epoch,
        offset: Offset,
    ) -> Result<Position, CommitOffsetError> {
        if !principal.may_on_consumer(Permission::Consume, name) {
            return Err(CommitOffsetError::Denied { principal: principal.name.clone(), consumer: name.clone() });
        }
        let failed = |error| CommitOffsetError::Store(Arc::new(error));
        let missing = || CommitOffsetError::NotFound { consumer: name.clone() };
        let consumer = self.store().find_consumer(name).await.map_err(failed)?.ok_or_else(missing)?;
        if consumer.settings.mode == Mode::Queue {
            return Err(CommitOffsetError::WrongMode { consumer: name.clone() });
        }
        let id = consumer.id;
        let offset = self.holds().reach(id, epoch, offset);
        let committed = self.change(move |store| async move { store.commit_offset(id, epoch, offset).await }).await;
        let stored = match committed.map_err(|stopped| failed(Stopped::store(stopped)))? {
            Ok(stored) => stored,
            Err(CommitError::Fenced) => return Err(CommitOffsetError::Fenced { consumer: name.clone() }),
            Err(CommitError::BeyondHead { head }) => return Err(CommitOffsetError::BeyondHead { offset, head }),
            Err(CommitError::NotFound) => return Err(missing()),
            Err(CommitError::Store(error)) => return Err(failed(error)),
        };
        self.holds().stored(id, epoch, stored);
        counter!(metric::COMMITS).increment(1);
        // What is stored is stored, whatever becomes of this look.
        let heads = self.store().heads(&[consumer.topic_id]).await.unwrap_or_default();
        let bounds = heads.first().map_or(Bounds { head: stored, trimmed_to: Offset::ZERO }, |head| head.bounds);
        Ok(Position { offset: stored, bounds })
    }
}
