//! The API over gRPC: each RPC reads its caller, converts, calls the broker, and converts back.

mod auth_service;
mod authenticate;
mod call;
mod consumer_service;
mod convert;
mod end;
mod event_service;
mod frames;
mod health;
mod permissions;
mod producer_service;
mod publish_stream;
mod reason;
mod reflection;
mod repair;
mod routes;
mod status;
mod topic_service;

pub use authenticate::{Authenticate, AuthenticateLayer};
pub use frames::SubscribeFrame;
pub use health::{Health, Readiness};
pub use routes::{GrpcOptions, routes};

pub(crate) use call::CallLayer;
