//! Statuses that were made below us, by tonic: they get a reason and details like all others.

use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{
    reason::Reason,
    status::{Problem, REASON_TRAILER},
};

/// Bytes of a message: it travels in the trailers, and reflection quotes in it what was asked.
const MESSAGE_BYTES: usize = 2048;

/// Gives a status a reason, if it has none, and the request's id.
pub(super) fn repair(status: Status, request_id: &str) -> Status {
    // Health and reflection say NOT_FOUND of names that they do not know, as their protocols want.
    // Cancelled calls and missed deadlines are the caller's own doing, and have no reason either.
    let ours = status.metadata().contains_key(REASON_TRAILER);
    let known = ours || matches!(status.code(), Code::NotFound | Code::Cancelled | Code::DeadlineExceeded);
    let status = if known { status } else { Status::from(foreign(&status)) };
    let mut details = status.get_error_details();
    details.set_request_info(request_id, "");
    let metadata = status.metadata().clone();
    let message = status.message();
    let message = &message[..message.floor_char_boundary(MESSAGE_BYTES)];
    Status::with_error_details_and_metadata(status.code(), message, details, metadata)
}

/// What a status of tonic's own means.
fn foreign(status: &Status) -> Problem {
    let text = status.message();
    match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => {
            Problem::new(Reason::MessageTooLarge, "the request is larger than 4 MiB; split it")
        }
        // Decoding fails so for bytes that are not the message, strings that are not UTF-8, and frames cut off.
        Code::Internal | Code::Unknown
            if ["decod", "message", "compress", "flag"].iter().any(|word| text.contains(word)) =>
        {
            Problem::new(Reason::MessageMalformed, "the bytes are not the message that this call takes")
        }
        // Reflection's, for a question that it does not know.
        Code::InvalidArgument => Problem::new(Reason::MessageMalformed, text),
        Code::Unimplemented if text.contains("compress") => {
            Problem::new(Reason::MessageMalformed, "compressed messages are not taken")
        }
        Code::Unimplemented => Problem::new(Reason::MethodNotFound, "there is no such method"),
        Code::Ok
        | Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Unknown
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => {
            tracing::error!(code = ?status.code(), text, "a status without a reason");
            Problem::new(Reason::Internal, "the server failed; report it with the request id")
        }
    }
}
