//! How much of a reading that has an end is printed.

use super::{
    place::Place,
    request::{Stop, Wanted},
};
use crate::cli::progress::Progress;

/// A bar over all streams of a tail; none if it goes on for ever.
#[derive(Debug, Default)]
pub(super) struct Bar {
    progress: Progress,
    /// The place at which the first stream began.
    origin: Option<i64>,
}

impl Bar {
    /// A stream began. The first one says how much there is to do.
    pub(super) fn begin(&mut self, wanted: &Wanted, place: &Place) {
        if self.origin.is_some() {
            return;
        }
        let origin = place.done().unwrap_or_default();
        self.origin = Some(origin);
        let total = match (wanted.stop, wanted.count) {
            (Stop::At(offset), _) => Some(distance(origin, offset)),
            (Stop::Never | Stop::Head, count) => count,
        };
        if total.is_some() {
            self.progress = Progress::of_printed(total);
        }
    }

    /// Shows how far it is.
    pub(super) fn show(&self, wanted: &Wanted, place: &Place, printed: u64) {
        self.progress.events(match (wanted.stop, self.origin, place.done()) {
            (Stop::At(_), Some(origin), Some(done)) => distance(origin, done),
            _ => printed,
        });
    }

    /// Does something that writes to the terminal, with the bar out of the way.
    pub(super) fn suspend(&self, write: impl FnOnce()) {
        self.progress.suspend(write);
    }
}

fn distance(from: i64, to: i64) -> u64 {
    u64::try_from(to.saturating_sub(from)).unwrap_or_default()
}
