//! EventFlow.

pub mod auth;
pub mod config;
pub mod domain;
pub mod grpc;
pub mod notify;
pub mod proto;
pub mod shutdown;
pub mod store;
pub mod telemetry;
