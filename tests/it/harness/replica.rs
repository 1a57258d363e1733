//! A second Postgres that follows the first one, and takes its place.

use std::time::Duration;

use sqlx::{Connection, PgConnection};

use super::{
    patience::eventually,
    postgres::{Postgres, SUPERUSER, new_folder, run_tool},
};

impl Postgres {
    /// A replica of it, which streams from it, and which can be read.
    pub async fn replica(&self) -> Postgres {
        let primary = self.folder().to_owned();
        let replica = tokio::task::spawn_blocking(move || {
            let folder = new_folder();
            let data = folder.path().join("data").display().to_string();
            let host = primary.display().to_string();
            let from = ["-h", &host, "-p", "5432", "-U", SUPERUSER];
            let how = ["-D", &data, "--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"];
            run_tool(folder.path(), "pg_basebackup", &[from.as_slice(), &how].concat());
            Postgres::start_in(folder)
        });
        let replica = replica.await.expect("a replica starts");
        self.until("a streaming replica", "select exists (select from pg_stat_replication where state = 'streaming')")
            .await;
        replica
    }

    /// From now on, commits wait until the replica has them on disk.
    pub async fn commit_on_replica(&self) {
        self.set("synchronous_standby_names = '*'").await;
        let synchronous = "select exists (select from pg_stat_replication where sync_state = 'sync')";
        self.until("a synchronous replica", synchronous).await;
    }

    /// Waits until a replica of it has everything that it has now.
    pub async fn is_copied_to(&self, replica: &Postgres) {
        let mut primary = self.connect().await;
        let end: String = scalar(&mut primary, "select pg_current_wal_flush_lsn()::text").await;
        let mut connection = replica.connect().await;
        eventually("a replica to have everything", async || {
            let query = sqlx::query_scalar("select pg_last_wal_replay_lsn() >= $1::pg_lsn").bind(&end);
            let there: bool = query.fetch_one(&mut connection).await.expect("a replica can be read");
            there.then_some(())
        })
        .await;
    }

    /// This replica gets nothing any more.
    pub async fn detach(&self) {
        self.set("primary_conninfo = ''").await;
        self.until("a replica that gets nothing", "select not exists (select from pg_stat_wal_receiver)").await;
    }

    /// Makes this replica a primary.
    pub async fn promote(&self) {
        let promoted: bool = scalar(&mut self.connect().await, "select pg_promote(true, 60)").await;
        assert!(promoted, "the replica was not promoted in time");
        self.until("a primary", "select not pg_is_in_recovery()").await;
    }

    /// Changes a setting for all sessions, those there are too.
    pub async fn set(&self, setting: &str) {
        let mut connection = self.connect().await;
        let statement = sqlx::AssertSqlSafe(format!("alter system set {setting}"));
        sqlx::raw_sql(statement).execute(&mut connection).await.expect("a setting can be changed");
        let _reloaded: bool = scalar(&mut connection, "select pg_reload_conf()").await;
        // Sessions take it in between two statements.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    async fn until(&self, wanted: &str, query: &'static str) {
        let mut connection = self.connect().await;
        eventually(wanted, async || scalar::<bool>(&mut connection, query).await.then_some(())).await;
        connection.close().await.expect("a connection can be closed");
    }
}

/// The one value of a query.
async fn scalar<T>(connection: &mut PgConnection, query: &'static str) -> T
where
    T: sqlx::Type<sqlx::Postgres> + for<'r> sqlx::Decode<'r, sqlx::Postgres> + Send + Unpin,
{
    sqlx::query_scalar(query).fetch_one(connection).await.expect("the superuser may look")
}
