//! Counts how often each statement ran, so that tests can tell that none is untested.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter for each statement of a store, by name.
#[derive(Debug)]
pub(crate) struct Statements {
    names: &'static [&'static str],
    counts: Box<[AtomicU64]>,
}

impl Statements {
    /// Counters at zero for these names, each of which occurs once.
    pub(crate) fn new(names: &'static [&'static str]) -> Self {
        Self { names, counts: names.iter().map(|_| AtomicU64::new(0)).collect() }
    }

    /// Notes that a statement was sent. A name that was not given to [`new`](Self::new) panics in
    /// debug builds, and is not counted in others.
    pub(crate) fn ran(&self, name: &'static str) {
        let place = self.names.iter().position(|&known| known == name);
        debug_assert!(place.is_some(), "the statement {name} is not registered");
        if let Some(count) = place.and_then(|place| self.counts.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All names with their counts, in the order in which they were given.
    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        self.names.iter().zip(&self.counts).map(|(&name, count)| (name, count.load(Ordering::Relaxed))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Statements;

    #[test]
    fn every_statement_is_counted_by_itself() {
        let statements = Statements::new(&["append", "read"]);
        statements.ran("read");
        statements.ran("read");
        assert_eq!(statements.counts(), [("append", 0), ("read", 2)]);
    }
}
