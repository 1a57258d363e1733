//! `eventflow serve`.

use std::error::Error;

use super::failure::Failure;
use crate::{
    config::{LogFormat, ServeSettings},
    server, telemetry,
};

/// Runs a server until it is told to stop. What keeps it from starting is said in words.
pub(crate) async fn run(settings: ServeSettings) -> Result<(), Failure> {
    let json = settings.log_format.map(|format| format == LogFormat::Json);
    telemetry::start_logs(&settings.log, json).map_err(Failure::Usage)?;
    server::run(settings).await.map_err(|error| Failure::Local(with_causes(&error)))
}

/// An error, and each cause on a line of its own.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!("\n  because: {error}"));
        cause = error.source();
    }
    text
}
