//! `eventflow serve`.

use super::failure::Failure;
use crate::config::ServeSettings;

/// Runs the server until it is told to stop.
pub(crate) async fn run(_settings: ServeSettings) -> Result<(), Failure> {
    Err(Failure::Local("this version cannot serve yet".to_owned()))
}
