//! Remarks on standard error, for people who watch.

use std::io::{IsTerminal, Write};

/// Prints remarks, or keeps them to itself when nobody watches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Notes {
    wanted: bool,
}

impl Notes {
    /// Remarks are wanted on a terminal and with `--verbose`.
    pub(super) fn new(verbose: bool) -> Self {
        Self { wanted: verbose || std::io::stderr().is_terminal() }
    }

    /// Prints one remark.
    pub(super) fn say(self, text: impl std::fmt::Display) {
        if self.wanted {
            // A remark that cannot be printed changes nothing about the work.
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }
}
