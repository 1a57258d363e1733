//! Refusals on the wire: codes and reasons.

use tonic::{Code, Status};

use crate::auth::AuthError;

/// Why a call has no principal, for its caller.
pub(crate) fn from_auth_error(error: &AuthError) -> Status {
    let (code, reason) = match error {
        AuthError::Missing => (Code::Unauthenticated, "CREDENTIAL_MISSING"),
        AuthError::Invalid => (Code::Unauthenticated, "CREDENTIAL_INVALID"),
        AuthError::Expired => (Code::Unauthenticated, "CREDENTIAL_EXPIRED"),
        AuthError::Revoked => (Code::Unauthenticated, "CREDENTIAL_REVOKED"),
        AuthError::ProducerDisabled { .. } => (Code::FailedPrecondition, "PRODUCER_DISABLED"),
        AuthError::Store(error) if error.is_retryable() => {
            return Status::unavailable("STORAGE_UNAVAILABLE: the store cannot be reached; try again");
        }
        AuthError::Store(_) => return Status::internal("INTERNAL: a fault of the server"),
    };
    Status::new(code, format!("{reason}: {error}"))
}

/// The credential is good, but does not allow the call.
pub(crate) fn permission_denied() -> Status {
    Status::permission_denied("PERMISSION_DENIED: the credential does not allow this call; use one that does")
}

/// There is no such RPC.
pub(crate) fn method_not_found() -> Status {
    Status::unimplemented("METHOD_NOT_FOUND: the server knows no such RPC; check its name and the server's version")
}
