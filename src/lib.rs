//! EventFlow.

pub mod config;
pub mod auth;
pub mod domain;
pub mod notify;
pub mod proto;
pub mod shutdown;
pub mod store;
pub mod telemetry;
/// The services.
pub mod grpc {
    /// A message of a stream.
    pub type SubscribeFrame = crate::proto::v1::SubscribeResponse;
}
