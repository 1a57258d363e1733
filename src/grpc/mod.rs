//! The API over gRPC: what is between the wire and the use cases.

mod authenticate;
mod permissions;
mod status;

pub use authenticate::{Authenticate, AuthenticateLayer};
pub use permissions::access;

/// One frame of a stream.
pub type SubscribeFrame = crate::proto::v1::SubscribeResponse;
