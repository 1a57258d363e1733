//! The two stores, and tests that run on both.

use super::{
    databases::Database,
    redis::Redis,
    server::{Server, Start},
};

/// What a server keeps its data in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Embedded: a file in the data folder.
    Sqlite,
    /// A fresh database of the run's Postgres, and the run's Redis.
    Postgres,
}

impl Backend {
    /// A server to be started, on an empty store of this kind.
    pub async fn server(self) -> Start {
        match self {
            Self::Sqlite => Server::embedded(),
            Self::Postgres => Server::cluster(&Database::fresh().await, Redis::shared().await),
        }
    }
}

/// Makes the tests `name::sqlite` and `name::postgres` of each `async fn name(backend: Backend)`.
macro_rules! on_both_stores {
    ($($(#[$meta:meta])* async fn $name:ident($backend:ident: Backend) $body:block)+) => {$(
        $(#[$meta])*
        mod $name {
            use super::*;

            async fn holds($backend: Backend) $body

            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                holds(Backend::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                holds(Backend::Postgres).await;
            }
        }
    )+};
}
pub(crate) use on_both_stores;
