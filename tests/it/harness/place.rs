//! A store that a test changes behind the servers' backs.

use std::path::PathBuf;

use sqlx::{Connection, SqliteConnection};

use super::{
    backend::Backend,
    databases::Database,
    server::{Server, Start},
};

/// Where the store is.
pub enum Place {
    /// In this data folder.
    Sqlite(PathBuf),
    Postgres(Database),
}

impl Place {
    /// A server to be started, without Redis, and the place of its store.
    pub async fn of(backend: Backend) -> (Start, Place) {
        match backend {
            Backend::Sqlite => {
                let start = Server::embedded();
                let place = Place::Sqlite(start.data_dir());
                (start, place)
            }
            Backend::Postgres => {
                let database = Database::fresh().await;
                let start = Server::embedded().environment("EVENTFLOW_DATABASE_URL", &database.url());
                (start, Place::Postgres(database))
            }
        }
    }

    /// Changes rows, which no server is told of: it is seen when what is remembered has aged.
    pub async fn change(&self, sqlite: &'static str, postgres: &'static str) {
        let rows = match self {
            Self::Sqlite(folder) => {
                let url = format!("sqlite:{}", folder.join("eventflow.db").display());
                let mut connection = SqliteConnection::connect(&url).await.expect("the file of the store opens");
                let done = sqlx::query(sqlite).execute(&mut connection).await.expect("a change of rows");
                connection.close().await.expect("a connection can be closed");
                done.rows_affected()
            }
            Self::Postgres(database) => {
                let done = sqlx::query(postgres).execute(&mut database.connect().await).await;
                done.expect("a change of rows").rows_affected()
            }
        };
        assert!(rows > 0, "{sqlite} changed nothing");
    }
}
