//! What the tests stand on: a private Postgres and Redis, real servers, and faults to order.
//!
//! Postgres and Redis are started once for the run, when a test first asks for them. Statics of a test
//! binary are never dropped, and the binary may be killed, so every process runs under a [`guard`], which
//! ends it when this process is gone, and every file lies in one [`folder`] that goes the same way.

pub mod backend;
pub mod backup;
pub mod chaos;
pub mod databases;
pub mod folder;
pub mod guard;
pub mod patience;
pub mod place;
pub mod postgres;
pub mod redis;
pub mod replica;
pub mod resp;
pub mod server;
