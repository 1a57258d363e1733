//! EventFlow.

pub mod domain;
pub mod proto;
pub mod store;
/// x
pub mod grpc {
    /// x
    pub type SubscribeFrame = crate::proto::v1::SubscribeResponse;
}
