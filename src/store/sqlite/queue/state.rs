//! A consumer in MODE_QUEUE within a transaction, and what its other methods have in common.

use std::time::Duration;

use serde::Serialize;
use sqlx::{Row, sqlite::SqliteConnection};

use super::super::{
    SqliteStore,
    error::failed,
    find_ids::hex_list,
    rows::{micros, offset, parsed},
    settings::{self, json},
};
use crate::{
    domain::{ConsumerId, DeadCause, Offset, QueuePolicy, Timestamp, TopicId},
    store::StoreError,
};

/// A consumer as it is in this transaction.
pub(super) struct Queue<'a> {
    pub(super) store: &'a SqliteStore,
    pub(super) consumer: ConsumerId,
    pub(super) now: Timestamp,
    pub(super) policy: QueuePolicy,
    pub(super) revision: u64,
    pub(super) paused: bool,
    pub(super) dispatched: Offset,
    topic: TopicId,
    pub(super) trimmed_to: Offset,
}

/// An event that was leased: its offset, its key, and its attempts without the one that was not made.
type TakenBack = (i64, Option<i64>, i64);

impl<'a> Queue<'a> {
    /// Reads a consumer; `None` if there is none, or it is in the other mode.
    pub(super) async fn find(
        store: &'a SqliteStore,
        conn: &mut SqliteConnection,
        consumer: ConsumerId,
    ) -> Result<Option<Self>, StoreError> {
        let query = store.query("find_queue", include_str!("../sql/find_queue.sql")).bind(consumer.0);
        let Some(row) = query.fetch_optional(conn).await.map_err(failed)? else { return Ok(None) };
        let revision: i64 = row.try_get("revision").map_err(failed)?;
        Ok(Some(Self {
            store,
            consumer,
            now: Timestamp::now(),
            policy: parsed(&row, "queue", settings::decode_queue)?,
            revision: revision.unsigned_abs(),
            paused: row.try_get("paused").map_err(failed)?,
            dispatched: offset(&row, "dispatched")?,
            topic: TopicId(row.try_get("topic_id").map_err(failed)?),
            trimmed_to: offset(&row, "trimmed_to")?,
        }))
    }

    /// When a lease ends that is given now.
    pub(super) fn lease_end(&self) -> i64 {
        self.now.plus(self.policy.lease).micros()
    }

    /// The pause after so many attempts, in microseconds.
    pub(super) fn pause(&self, attempts: i64) -> i64 {
        let last = self.policy.backoff.len().saturating_sub(1);
        let place = usize::try_from(attempts - 1).unwrap_or(0).min(last);
        micros(self.policy.backoff.get(place).copied().unwrap_or(Duration::ZERO))
    }

    /// Whether so many attempts are all that may be.
    pub(super) fn is_last(&self, attempts: i64) -> bool {
        attempts >= i64::from(self.policy.max_attempts)
    }

    /// Whether an event cannot be sent any more.
    pub(super) fn is_trimmed(&self, offset: i64) -> bool {
        offset <= self.trimmed_to.get()
    }

    /// Takes back what is over: the leases that ended by themselves, and those of servers that are not alive.
    /// Whether there were any.
    pub(super) async fn expire(&self, conn: &mut SqliteConnection) -> Result<bool, StoreError> {
        let query = self.store.query("over_events", include_str!("../sql/over_events.sql"));
        let query = query.bind(self.consumer.0).bind(self.now.micros()).bind(self.store.alive());
        let rows = query.fetch_all(&mut *conn).await.map_err(failed)?;
        let over = rows.iter().map(|row| row.try_get(0).map_err(failed)).collect::<Result<Vec<i64>, _>>()?;
        self.take_back(conn, &over, false).await
    }

    /// Takes back leased events. Each is delivered alone next, or, if it was sent as often as may be, is a dead
    /// letter; what was not sent is as if it had never been leased. Whether there were any.
    pub(super) async fn take_back(
        &self,
        conn: &mut SqliteConnection,
        offsets: &[i64],
        unsent: bool,
    ) -> Result<bool, StoreError> {
        if offsets.is_empty() {
            return Ok(false);
        }
        let list = json(&offsets);
        self.note_gone(conn, &list, false).await?;
        let query = self.store.query("take_back", include_str!("../sql/take_back.sql"));
        let query = query.bind(self.consumer.0).bind(&list).bind(self.now.micros()).bind(unsent);
        let rows = query.fetch_all(&mut *conn).await.map_err(failed)?;
        let taken = |row: &sqlx::sqlite::SqliteRow| -> Result<TakenBack, sqlx::Error> {
            Ok((row.try_get("offset")?, row.try_get("key")?, row.try_get("attempts")?))
        };
        let taken = rows.iter().map(taken).collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let mut dead = Vec::new();
        for (offset, _, attempts) in &taken {
            if !unsent && self.is_last(*attempts) {
                dead.push((*offset, DeadCause::MaxAttempts));
            } else if self.is_trimmed(*offset) {
                dead.push((*offset, DeadCause::Trimmed));
            }
        }
        self.bury(conn, &dead).await?;
        self.free(conn, taken.iter().filter_map(|(_, key, _)| *key)).await?;
        self.end_leases(conn).await?;
        Ok(true)
    }

    /// Notes what leases have no more; `offsets` is a list in JSON of events that are leased.
    pub(super) async fn note_gone(
        &self,
        conn: &mut SqliteConnection,
        offsets: &str,
        settled: bool,
    ) -> Result<(), StoreError> {
        let query = self.store.query("note_gone", include_str!("../sql/note_gone.sql"));
        let query = query.bind(self.consumer.0).bind(offsets.to_owned()).bind(settled);
        query.execute(conn).await.map_err(failed)?;
        Ok(())
    }

    /// Notes which leases have nothing any more.
    pub(super) async fn end_leases(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        let query = self.store.query("end_leases", include_str!("../sql/end_leases.sql"));
        query.bind(self.consumer.0).bind(self.now.micros()).execute(conn).await.map_err(failed)?;
        Ok(())
    }

    /// The lowest event of each of these keys is due, unless one of its key is leased. How many are.
    pub(super) async fn free(
        &self,
        conn: &mut SqliteConnection,
        keys: impl Iterator<Item = i64>,
    ) -> Result<u64, StoreError> {
        let keys: Vec<_> = keys.collect();
        if keys.is_empty() {
            return Ok(0);
        }
        let query = self.store.query("free_keys", include_str!("../sql/free_keys.sql"));
        let query = query.bind(self.consumer.0).bind(json(&keys)).bind(self.now.micros());
        Ok(query.execute(conn).await.map_err(failed)?.rows_affected())
    }

    /// Makes dead letters of pending events.
    pub(super) async fn bury(&self, conn: &mut SqliteConnection, dead: &[(i64, DeadCause)]) -> Result<(), StoreError> {
        if dead.is_empty() {
            return Ok(());
        }
        let list: Vec<_> = dead.iter().map(|(offset, cause)| (offset, cause_name(*cause))).collect();
        let query = self.store.query("bury", include_str!("../sql/bury.sql"));
        let query = query.bind(self.consumer.0).bind(json(&list)).bind(self.now.micros()).bind(self.topic.0);
        query.execute(&mut *conn).await.map_err(failed)?;
        let offsets: Vec<_> = dead.iter().map(|(offset, _)| offset).collect();
        self.forget(conn, &offsets).await
    }

    /// Forgets events that are settled.
    pub(super) async fn forget(&self, conn: &mut SqliteConnection, offsets: &impl Serialize) -> Result<(), StoreError> {
        let sql = "delete from queue_events where consumer_id = ?1 and \"offset\" in (select value from json_each(?2))";
        let query = self.store.query("forget_events", sql).bind(self.consumer.0).bind(json(offsets));
        query.execute(conn).await.map_err(failed)?;
        Ok(())
    }

    /// Notes how far the consumer is.
    pub(super) async fn note_dispatched(&self, conn: &mut SqliteConnection, to: Offset) -> Result<(), StoreError> {
        let sql = "insert into queues (consumer_id, dispatched) values (?, ?)
            on conflict (consumer_id) do update set dispatched = excluded.dispatched";
        let query = self.store.query("note_dispatched", sql).bind(self.consumer.0).bind(to.get());
        query.execute(conn).await.map_err(failed)?;
        Ok(())
    }
}

impl SqliteStore {
    /// The servers that live, as a list in JSON.
    pub(super) fn alive(&self) -> String {
        hex_list(self.servers.lock().alive())
    }
}

fn cause_name(cause: DeadCause) -> &'static str {
    match cause {
        DeadCause::MaxAttempts => "max_attempts",
        DeadCause::Rejected => "rejected",
        DeadCause::Trimmed => "trimmed",
    }
}
