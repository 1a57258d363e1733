//! Places in a topic's log.

use std::fmt;

/// The place of an event in its topic: 1, 2, 3, … without gaps; 0 is before the first.
///
/// A position is the last offset done, and reads go after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Offset(i64);

impl Offset {
    /// Before the first event.
    pub const ZERO: Offset = Offset(0);
    /// Behind every event.
    pub const MAX: Offset = Offset(i64::MAX);

    /// An offset from a database or a request; `None` if it is negative.
    pub const fn new(value: i64) -> Option<Self> {
        if value < 0 { None } else { Some(Self(value)) }
    }

    /// An offset from a request; the error says what to change.
    pub fn parse(value: i64) -> Result<Self, String> {
        Self::new(value)
            .ok_or_else(|| format!("{value} is not an offset; offsets begin at 1, and 0 is before the first"))
    }

    /// The number itself.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The offset after this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The offset before this one; 0 stays 0.
    pub const fn previous(self) -> Self {
        Self(if self.0 == 0 { 0 } else { self.0 - 1 })
    }

    /// The offset of the `index`-th of the events that begin here.
    pub const fn plus(self, index: usize) -> Self {
        Self(self.0.saturating_add(index as i64))
    }

    /// How many offsets lie after `other`, up to this one.
    pub const fn since(self, other: Self) -> u64 {
        if self.0 > other.0 { self.0.abs_diff(other.0) } else { 0 }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a topic holds: everything after `trimmed_to`, up to `head`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The newest offset; 0 if there never was one.
    pub head: Offset,
    /// The last offset that retention removed; 0 if none.
    pub trimmed_to: Offset,
}

impl Bounds {
    /// The oldest offset still kept, or the next to come if none is.
    pub fn earliest(self) -> Offset {
        self.trimmed_to.next()
    }
}
