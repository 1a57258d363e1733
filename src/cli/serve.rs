//! `eventflow serve`.

use std::error::Error;

use super::failure::Failure;
use crate::{
    config::{LogFormat, ServeSettings},
    server::{self, StartError},
    telemetry,
};

/// Runs a server until it is told to stop. What keeps it from starting is said in words.
pub(crate) async fn run(settings: ServeSettings) -> Result<(), Failure> {
    let json = settings.log_format.map(|format| format == LogFormat::Json);
    telemetry::start_logs(&settings.log, json).map_err(Failure::Usage)?;
    server::run(settings).await.map_err(|error| refused(&error))
}

/// Why a server does not start, or a store is not migrated: the settings, or what they lead to.
pub(super) fn refused(error: &StartError) -> Failure {
    let text = with_causes(error);
    match error {
        StartError::Settings(_) | StartError::Notifier(_) => Failure::Usage(text),
        _ => Failure::Local(text),
    }
}

/// An error, and each cause on a line of its own.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!("\n  because: {error}"));
        cause = error.source();
    }
    text
}
