//! Inserting many rows by few statements.

use std::{fmt::Write, sync::Arc};

use sqlx::{AssertSqlSafe, sqlite::SqliteConnection};

use super::{Query, SqliteStore, error::failed};
use crate::store::StoreError;

/// Rows in a statement: the driver is crossed once for each statement, and prepares each once.
const ROWS: [usize; 3] = [128, 16, 1];

/// `insert into …  values (…), (…)` of one table, for several numbers of rows.
pub(super) struct Values {
    statements: [(usize, Arc<str>); ROWS.len()],
}

impl Values {
    /// Statements that insert these columns.
    pub(super) fn new(table: &str, columns: &str) -> Self {
        let row = format!("({})", vec!["?"; columns.split(',').count()].join(", "));
        Self { statements: ROWS.map(|rows| (rows, statement(table, columns, &row, rows))) }
    }

    /// Inserts a row for each item; `bind` is given the item's index and binds its columns.
    pub(super) async fn insert<'q, T>(
        &self,
        store: &SqliteStore,
        name: &'static str,
        conn: &mut SqliteConnection,
        items: &'q [T],
        bind: impl Fn(Query<'q>, usize, &'q T) -> Query<'q>,
    ) -> Result<(), StoreError> {
        let mut done = 0;
        for (rows, sql) in &self.statements {
            while items.len() - done >= *rows {
                store.statements.ran(name);
                let query = sqlx::query(AssertSqlSafe(Arc::clone(sql)));
                let chunk = items.iter().enumerate().skip(done).take(*rows);
                let query = chunk.fold(query, |query, (index, item)| bind(query, index, item));
                query.execute(&mut *conn).await.map_err(failed)?;
                done += rows;
            }
        }
        Ok(())
    }
}

/// Only names written in this program go into the text.
fn statement(table: &str, columns: &str, row: &str, rows: usize) -> Arc<str> {
    let mut sql = format!("insert into {table} ({columns}) values {row}");
    for _ in 1..rows {
        // Writing into a string cannot fail.
        let _ = write!(sql, ", {row}");
    }
    sql.into()
}
