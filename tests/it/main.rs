//! The one integration binary: everything that needs a server, a database or Redis.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]
#![expect(unreachable_pub, reason = "nothing is reached from outside a test binary")]

mod api;
mod auth;
mod authenticate;
mod bad_input;
mod bootstrap;
mod chance;
mod client;
mod cluster;
mod commands;
mod consumers;
mod contract;
mod crashes;
mod errors;
mod feed;
mod harness;
mod harness_works;
mod history;
mod idempotency;
mod identities;
mod login;
mod metrics;
mod notify_contract;
mod observe;
mod packing;
mod permissions;
mod polyglot;
mod postgres_faults;
mod publish_stream;
mod queue;
mod raw;
mod readers;
mod redis_faults;
mod service_config;
mod serving;
mod sql;
mod streams;
mod topics;
mod world;
