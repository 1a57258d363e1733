//! `eventflow metrics`.

use std::io::Write;

use super::failure::Failure;
use crate::telemetry;

/// Writes the page; no server is asked.
pub(super) fn run() -> Result<(), Failure> {
    std::io::stdout().write_all(telemetry::markdown().as_bytes()).map_err(|error| Failure::writing(&error))
}
