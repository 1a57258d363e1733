//! Why a command failed, how that is told, and with which exit code.

use std::{error::Error, fmt::Write, io};

use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Exit code of a failure that has no better one.
pub(super) const FAILED: u8 = 1;
/// Exit code of a wrong command line.
pub(super) const USAGE: u8 = 2;
const NOT_FOUND: u8 = 3;
const CREDENTIAL: u8 = 4;
const UNAVAILABLE: u8 = 5;
const CONFLICT: u8 = 6;

/// Why a command ended without success.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line or the environment is not acceptable.
    #[error("{0}")]
    Usage(String),
    /// Something on this machine went wrong.
    #[error("{0}")]
    Local(String),
    /// There is no credential that the server would accept.
    #[error("{0}")]
    Credential(String),
    /// The server says that it does not serve.
    #[error("{0}")]
    NotServing(String),
    /// Standard output was closed by its reader, who has seen enough.
    #[error("standard output is closed")]
    PipeClosed,
    /// The server refused the call, or was not reached.
    #[error("the call failed")]
    Refused(#[source] Box<Status>),
    /// The server was not reached, or not heard any more.
    #[error("the call failed")]
    Unreached {
        /// The address that was tried.
        server: String,
        /// What became of it.
        #[source]
        status: Box<Status>,
    },
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

impl Failure {
    /// A failure to write results.
    pub(super) fn writing(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::PipeClosed,
            _ => Self::Local(format!("standard output cannot be written: {error}")),
        }
    }

    /// Adds which server the commands talk to, if it is the way there that failed.
    pub(super) fn at(self, server: &str) -> Self {
        match self {
            // A status comes with a source when it was made here.
            Self::Refused(status) if status.source().is_some() => Self::Unreached { server: server.to_owned(), status },
            other => other,
        }
    }

    /// What the process ends with.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::PipeClosed => 0,
            Self::Usage(_) => USAGE,
            Self::Local(_) => FAILED,
            Self::Credential(_) => CREDENTIAL,
            Self::NotServing(_) => UNAVAILABLE,
            Self::Refused(status) | Self::Unreached { status, .. } => status_exit_code(status),
        }
    }

    /// What is printed on standard error: the reason and the message, each violation, and the request id.
    pub(super) fn report(&self) -> String {
        let status = match self {
            Self::Refused(status) => status,
            Self::Unreached { server, status } => {
                return format!("error: {}\n  server: {server}; is it running there?\n", headline(status));
            }
            _ => return format!("error: {self}\n"),
        };
        let mut text = format!("error: {}\n", headline(status));
        let details = status.get_error_details();
        let violations = details.bad_request().map_or(&[][..], |bad| &bad.field_violations);
        let lines = violations.iter().map(|violation| format!("{}: {}", violation.field, violation.description));
        // A single one is the message itself, which need not be told twice.
        let lines: Vec<_> = lines.filter(|line| violations.len() > 1 || !text.contains(line)).collect();
        for line in lines {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {line}");
        }
        if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
            let _ = writeln!(text, "  try again in: {delay:.1?}");
        }
        if let Some(request) = details.request_info().filter(|request| !request.request_id.is_empty()) {
            let _ = writeln!(text, "  request id: {}", request.request_id);
        }
        text
    }
}

/// The reason of an error, as ErrorInfo says it.
pub(super) fn reason(status: &Status) -> Option<String> {
    let from_details = status.get_details_error_info().map(|info| info.reason);
    let from_trailer = || status.metadata().get("eventflow-reason")?.to_str().ok().map(str::to_owned);
    from_details.or_else(from_trailer).filter(|reason| !reason.is_empty())
}

/// Whether the server could not be reached or asks to come again, so that a safe call may be repeated.
pub(super) fn is_unavailable(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable => true,
        // These come with a source when the connection broke, and without one when the server said so.
        Code::Unknown | Code::Internal | Code::Cancelled => status.source().is_some(),
        _ => false,
    }
}

fn status_exit_code(status: &Status) -> u8 {
    if is_unavailable(status) {
        return UNAVAILABLE;
    }
    match status.code() {
        Code::NotFound => NOT_FOUND,
        Code::Unauthenticated | Code::PermissionDenied => CREDENTIAL,
        Code::DeadlineExceeded => UNAVAILABLE,
        Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => CONFLICT,
        _ => FAILED,
    }
}

fn headline(status: &Status) -> String {
    let message = status.message();
    let mut text = match reason(status) {
        Some(reason) if message.starts_with(&reason) => message.to_owned(),
        Some(reason) => format!("{reason}: {message}"),
        None if message.is_empty() => code_name(status.code()).to_owned(),
        None => format!("{}: {message}", code_name(status.code())),
    };
    let mut cause = status.source();
    while let Some(error) = cause {
        let detail = error.to_string();
        if !text.contains(&detail) {
            text.push_str(": ");
            text.push_str(&detail);
        }
        cause = error.source();
    }
    text
}

/// The name of a code as the gRPC documentation writes it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use tonic::{Code, Status};
    use tonic_types::{ErrorDetails, StatusExt};

    use super::Failure;

    #[test]
    fn codes_become_exit_codes() {
        for (code, exit) in [
            (Code::InvalidArgument, 1),
            (Code::NotFound, 3),
            (Code::Unauthenticated, 4),
            (Code::PermissionDenied, 4),
            (Code::Unavailable, 5),
            (Code::DeadlineExceeded, 5),
            (Code::AlreadyExists, 6),
            (Code::Aborted, 6),
            (Code::FailedPrecondition, 6),
            (Code::Internal, 1),
        ] {
            assert_eq!(Failure::from(Status::new(code, "x")).exit_code(), exit, "{code:?}");
        }
        assert_eq!(Failure::Usage(String::new()).exit_code(), 2);
        assert_eq!(Failure::PipeClosed.exit_code(), 0);
    }

    #[test]
    fn a_report_names_reason_violations_and_request() {
        let mut details = ErrorDetails::with_error_info(
            "EVENT_INVALID",
            "eventflow",
            std::collections::HashMap::<String, String>::new(),
        );
        details.add_bad_request_violation("events[0].type", "is required").set_request_info("r-1", "");
        let status = Status::with_error_details(Code::InvalidArgument, "EVENT_INVALID: 1 field is wrong", details);
        let report = Failure::from(status).report();
        let wanted = "error: EVENT_INVALID: 1 field is wrong\n  events[0].type: is required\n  request id: r-1\n";
        assert_eq!(report, wanted);
    }

    #[test]
    fn a_single_violation_is_not_told_twice() {
        let details = ErrorDetails::with_bad_request_violation("wait", "61s is longer than 60 s");
        let status = Status::with_error_details(Code::InvalidArgument, "wait: 61s is longer than 60 s", details);
        assert_eq!(Failure::from(status).report(), "error: INVALID_ARGUMENT: wait: 61s is longer than 60 s\n");
    }

    #[test]
    fn a_report_says_when_to_come_again() {
        let details = ErrorDetails::with_retry_info(Some(std::time::Duration::from_secs(30)));
        let status = Status::with_error_details(Code::ResourceExhausted, "x", details);
        assert!(Failure::from(status).report().ends_with("\n  try again in: 30.0s\n"));
    }

    #[test]
    fn without_a_reason_the_code_is_named() {
        let report = Failure::from(Status::unavailable("nobody is there")).report();
        assert_eq!(report, "error: UNAVAILABLE: nobody is there\n");
    }
}
