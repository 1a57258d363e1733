//! Postgres gives events that wait for their keys rows of their own when there are many. Few are enough here.

use std::sync::Arc;

use eventflow::store::{
    SharedStore,
    postgres::{PostgresOptions, PostgresStore},
};
use sqlx::{AssertSqlSafe, Executor};

use super::histories::random_histories_keep_the_contract;
use crate::harness::databases::Database;

/// The function that decides it, and what is replaced in it so that every event that waits gets a row.
const FUNCTION: &str = "eventflow.queue_fresh_v1";
const REPLACEMENTS: [(&str, &str); 3] = [
    ("max_held constant int := 2048", "max_held constant int := 0"),
    ("and (has_pending or exists (", "and (true or exists ("),
    ("where s.k is not null or has_pending", "where true or has_pending"),
];

#[tokio::test(flavor = "multi_thread")]
async fn random_histories_keep_the_contract_with_rows() {
    let database = Database::fresh().await;
    let store = PostgresStore::connect(&PostgresOptions::new(database.url().into())).await.unwrap();
    let mut connection = database.connect().await;
    let mut function: String = sqlx::query_scalar("select pg_get_functiondef($1::regproc)")
        .bind(FUNCTION)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    for (before, after) in REPLACEMENTS {
        assert_eq!(function.matches(before).count(), 1, "{before}");
        function = function.replace(before, after);
    }
    connection.execute(AssertSqlSafe(function)).await.unwrap();
    let store: SharedStore = Arc::new(store);
    random_histories_keep_the_contract(store.clone()).await;
    let waited: i64 =
        sqlx::query_scalar("select max(waiting) from eventflow.leases").fetch_one(&mut connection).await.unwrap();
    assert!(waited > 0, "no event had a row");
    store.close().await;
}
