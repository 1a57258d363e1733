//! How far a tail has got, over all of its streams.

use crate::proto::v1;

/// What is done: printed, or left out for good by the filter or by retention.
#[derive(Debug, Default)]
pub(super) struct Place {
    done: Option<i64>,
    committed: i64,
    epoch: i64,
    log_id: String,
}

/// What is to be stored for a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Commit {
    /// The last offset done.
    pub(super) offset: i64,
    /// Of the stream.
    pub(super) epoch: i64,
}

impl Place {
    /// The last offset done; `None` before the first stream.
    pub(super) fn done(&self) -> Option<i64> {
        self.done
    }

    /// The incarnation of the log that the offsets belong to.
    pub(super) fn log_id(&self) -> &str {
        &self.log_id
    }

    /// A stream began. One that begins before what was stored was moved back, and is printed again.
    pub(super) fn start(&mut self, started: &v1::Started) {
        let offset = started.position.unwrap_or_default().offset;
        let moved_back = offset < self.committed;
        self.done = Some(self.done.filter(|_| !moved_back).map_or(offset, |done| done.max(offset)));
        self.committed = offset;
        self.epoch = started.epoch;
        self.log_id.clone_from(&started.log_id);
    }

    /// Whether this event was done before.
    pub(super) fn is_done(&self, offset: i64) -> bool {
        self.done.is_some_and(|done| offset <= done)
    }

    /// Everything up to this offset is done.
    pub(super) fn advance(&mut self, offset: i64) {
        self.done = Some(self.done.map_or(offset, |done| done.max(offset)));
    }

    /// What is done and not stored yet.
    pub(super) fn to_commit(&self) -> Option<Commit> {
        let offset = self.done.filter(|&done| done > self.committed)?;
        Some(Commit { offset, epoch: self.epoch })
    }

    /// The server stored it.
    pub(super) fn committed(&mut self, commit: Commit) {
        self.committed = self.committed.max(commit.offset);
    }
}

#[cfg(test)]
mod tests {
    use super::{Commit, Place, v1};

    fn started(offset: i64, epoch: i64) -> v1::Started {
        let position = v1::Position { offset, ..v1::Position::default() };
        v1::Started { position: Some(position), epoch, ..v1::Started::default() }
    }

    #[test]
    fn only_what_is_new_is_committed() {
        let mut place = Place::default();
        assert_eq!(place.to_commit(), None);
        place.start(&started(5, 1));
        assert_eq!(place.to_commit(), None);
        place.advance(7);
        let commit = place.to_commit().expect("two events are new");
        assert_eq!(commit, Commit { offset: 7, epoch: 1 });
        place.committed(commit);
        assert_eq!(place.to_commit(), None);
    }

    #[test]
    fn what_was_printed_but_not_stored_is_not_printed_again() {
        let mut place = Place::default();
        place.start(&started(5, 1));
        place.advance(7);
        place.start(&started(5, 2));
        assert!(place.is_done(7) && !place.is_done(8));
        assert_eq!(place.to_commit(), Some(Commit { offset: 7, epoch: 2 }));
    }

    #[test]
    fn a_consumer_that_was_moved_back_is_printed_again() {
        let mut place = Place::default();
        place.start(&started(5, 1));
        place.advance(9);
        place.committed(Commit { offset: 9, epoch: 1 });
        place.start(&started(2, 2));
        assert!(place.is_done(2) && !place.is_done(3));
    }
}
