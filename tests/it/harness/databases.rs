//! A fresh database for each test, copied from a template that has the migrations.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering},
};

use eventflow::store::{
    Store,
    postgres::{PostgresOptions, PostgresStore},
};
use sqlx::{Connection, Executor, PgConnection};
use tokio::sync::OnceCell;

use super::postgres::{Postgres, SUPERUSER};

/// The database that all others are copied from.
const TEMPLATE: &str = "eventflow_template";

/// A database of the run's Postgres that belongs to one test; it goes when the run ends.
pub struct Database {
    name: String,
    postgres: &'static Postgres,
}

impl Database {
    /// A new database with the schema of this build.
    pub async fn fresh() -> Database {
        let postgres = Postgres::shared().await;
        static PREPARED: OnceCell<()> = OnceCell::const_new();
        PREPARED
            .get_or_init(|| async {
                create(postgres, TEMPLATE, "template1").await;
                prepare_template(&postgres.url(TEMPLATE)).await;
            })
            .await;
        let database = Database::copy_of(postgres, TEMPLATE).await;
        // With the template's id, the servers of all tests would be one cluster on Redis, and wake each other.
        let mut connection = database.connect().await;
        connection.execute("update eventflow.cluster set id = gen_random_uuid()").await.expect("a cluster has an id");
        connection.close().await.expect("a connection can be closed");
        database
    }

    /// A new database without any schema.
    pub async fn empty() -> Database {
        Database::copy_of(Postgres::shared().await, "template1").await
    }

    async fn copy_of(postgres: &'static Postgres, template: &str) -> Database {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        create(postgres, &name, template).await;
        Database { name, postgres }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        self.postgres.url(&self.name)
    }

    /// Its URL by way of a proxy before [`Postgres::socket`].
    pub fn url_through(&self, proxy: SocketAddr) -> String {
        format!("postgres://{SUPERUSER}@{proxy}/{}?sslmode=disable", self.name)
    }

    /// A connection of the superuser, to look and to meddle.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url()).await.expect("the tests' Postgres accepts connections")
    }
}

/// Brings the template to the schema of this build; nobody may stay connected to it.
async fn prepare_template(url: &str) {
    let store = PostgresStore::connect(&PostgresOptions::new(url.into())).await.expect("the schema can be made");
    store.close().await;
}

async fn create(postgres: &Postgres, name: &str, template: &str) {
    let mut connection = PgConnection::connect(&postgres.url("postgres")).await.expect("Postgres accepts connections");
    let statement = format!("create database {name} template {template}");
    connection.execute(sqlx::AssertSqlSafe(statement)).await.expect("a database can be created");
    connection.close().await.expect("a connection can be closed");
}
