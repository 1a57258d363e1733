//! What a status says about trying again.

use std::error::Error;

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::backoff::pushback;

/// Whether the same call may succeed later: the server is away, has no room, or asks to come again.
pub fn is_transient(status: &Status) -> bool {
    if pushback(status).is_some_and(|millis| millis < 0) {
        return false;
    }
    match status.code() {
        Code::Unavailable => true,
        Code::ResourceExhausted | Code::FailedPrecondition => status.get_details_retry_info().is_some(),
        // tonic's words for a connection that broke, which have a source; those that a server sent have none.
        Code::Unknown | Code::Internal | Code::Cancelled => status.source().is_some(),
        _ => false,
    }
}

/// Why a call was refused: the reason in the details, or that in the trailer, or else the name of the code.
pub fn reason(status: &Status) -> String {
    let from_details = status.get_details_error_info().map(|info| info.reason);
    let from_trailer = || status.metadata().get("eventflow-reason")?.to_str().ok().map(str::to_owned);
    from_details.or_else(from_trailer).unwrap_or_else(|| code_name(status.code()))
}

/// The name of a code as the gRPC documentation writes it: `NOT_FOUND` for `NotFound`.
pub fn code_name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}
