//! What is wrong with a request, all of it at once.

use std::fmt;

/// One field that is not acceptable, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field in the request, for example `events[3].attributes["a b"]`.
    pub field: String,
    /// What is wrong, in words for the person who sent it.
    pub description: String,
}

/// All violations of one request; it may be empty while they are being collected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Invalid {
    violations: Vec<Violation>,
    bytes: usize,
    omitted: usize,
}

/// Violations kept and reported; a request of 1,000 bad events need not be answered with megabytes.
const REPORTED: usize = 50;
/// Bytes of all violations kept: they travel in trailers, of which many clients take 8 KiB in all.
const REPORTED_BYTES: usize = 2560;
/// Bytes of one field or description; what was sent may be quoted in it.
const TEXT_BYTES: usize = 200;

impl Invalid {
    /// One violation alone.
    pub fn one(field: impl Into<String>, description: impl Into<String>) -> Self {
        let mut invalid = Self::default();
        invalid.add(field, description);
        invalid
    }

    /// Notes a violation.
    pub fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        let (field, description) = (cut(field.into()), cut(description.into()));
        let bytes = field.len() + description.len();
        if self.violations.len() < REPORTED && self.bytes + bytes <= REPORTED_BYTES {
            self.bytes += bytes;
            self.violations.push(Violation { field, description });
        } else {
            self.omitted += 1;
        }
    }

    /// The value of `result`, or `None` after noting its error under `field`.
    pub fn check<T>(&mut self, field: impl Into<String>, result: Result<T, String>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(description) => {
                self.add(field, description);
                None
            }
        }
    }

    /// Takes over what another collected, its fields under `prefix`.
    pub fn absorb(&mut self, prefix: &str, other: Invalid) {
        for Violation { field, description } in other.violations {
            let dot = if field.is_empty() || prefix.is_empty() { "" } else { "." };
            self.add(format!("{prefix}{dot}{field}"), description);
        }
        self.omitted += other.omitted;
    }

    /// `value` if nothing was noted.
    pub fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }

    /// Whether nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.violations.is_empty()
    }

    /// The violations, in the order of the request, at most 50, and 2.5 KiB.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }
}

/// A text, cut to [`TEXT_BYTES`] between two characters.
fn cut(mut text: String) -> String {
    if text.len() > TEXT_BYTES {
        text.truncate(text.floor_char_boundary(TEXT_BYTES));
        text.push('…');
    }
    text
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, Violation { field, description }) in self.violations.iter().take(3).enumerate() {
            let separator = if n == 0 { "" } else { "; " };
            write!(f, "{separator}{field}: {description}")?;
        }
        let more = self.violations.len().saturating_sub(3) + self.omitted;
        if more > 0 { write!(f, "; and {more} more") } else { Ok(()) }
    }
}

impl std::error::Error for Invalid {}
