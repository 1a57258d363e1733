//! Settling deliveries.

use sqlx::{Row, sqlite::SqliteConnection};

use super::{
    super::{SqliteStore, error::failed, rows::micros, settings::json},
    state::Queue,
};
use crate::{
    domain::{ConsumerId, DeadCause, Settled, Settlement, Unsettled, Verdict},
    store::{SettleError, StoreError},
};

/// See [`QueueStore::settle`](crate::store::QueueStore::settle).
pub(super) async fn settle(
    store: &SqliteStore,
    consumer: ConsumerId,
    settlements: &[Settlement],
) -> Result<Settled, SettleError> {
    let mut tx = store.begin().await?;
    let queue = Queue::find(store, &mut tx, consumer).await?.ok_or(SettleError::NotFound)?;
    let mut settled = Settled { lease: queue.policy.lease, ..Settled::default() };
    settled.news = queue.expire(&mut tx).await? || is_full(&queue, &mut tx).await?;
    let places = find(&queue, &mut tx, settlements).await?;
    let mut change = Change::default();
    for (place, (settlement, found)) in settlements.iter().zip(places).enumerate() {
        match found {
            Ok(open) => change.add(&queue, settlement, &open),
            Err(cause) => settled.failures.push((place, cause)),
        }
    }
    settled.news |= change.apply(&queue, &mut tx).await?;
    tx.commit().await.map_err(failed)?;
    Ok(settled)
}

/// A delivery that is open.
struct Open {
    key: Option<i64>,
    attempts: i64,
}

/// Whether nothing more could be leased.
async fn is_full(queue: &Queue<'_>, conn: &mut SqliteConnection) -> Result<bool, StoreError> {
    let sql = "select count(*) from queue_events where consumer_id = ? and lease_id is not null";
    let query = queue.store.query("count_leased", sql).bind(queue.consumer.0);
    let leased: i64 = query.fetch_one(conn).await.map_err(failed)?.try_get(0).map_err(failed)?;
    Ok(leased >= i64::from(queue.policy.max_in_flight))
}

/// What became of each of the deliveries.
async fn find(
    queue: &Queue<'_>,
    conn: &mut SqliteConnection,
    settlements: &[Settlement],
) -> Result<Vec<Result<Open, Unsettled>>, StoreError> {
    let query = queue.store.query("newest_lease", "select last_lease from cluster");
    let newest: i64 = query.fetch_one(&mut *conn).await.map_err(failed)?.try_get(0).map_err(failed)?;
    let wanted: Vec<_> = settlements.iter().map(|one| (one.lease.0, one.offset.get())).collect();
    let query = queue.store.query("find_deliveries", include_str!("../sql/find_deliveries.sql"));
    let rows = query.bind(queue.consumer.0).bind(json(&wanted)).fetch_all(conn).await.map_err(failed)?;
    let found = |(row, settlement): (&sqlx::sqlite::SqliteRow, &Settlement)| {
        let (settled, known): (Option<bool>, bool) = (row.try_get("settled")?, row.try_get("known")?);
        Ok(match settled {
            _ if row.try_get("open")? => Ok(Open { key: row.try_get("key")?, attempts: row.try_get("attempts")? }),
            Some(true) => Err(Unsettled::AlreadySettled),
            Some(false) => Err(Unsettled::Lost),
            None if !known && settlement.lease.0 <= newest => Err(Unsettled::Lost),
            None => Err(Unsettled::Unknown),
        })
    };
    rows.iter().zip(settlements).map(found).collect::<Result<_, sqlx::Error>>().map_err(failed)
}

/// A delivery that failed: its offset, the pause that was asked for, that of the consumer, the error, and
/// whether it was not sent.
type Back<'a> = (i64, Option<i64>, i64, Option<&'a str>, i32);

/// What is to be done.
#[derive(Default)]
struct Change<'a> {
    /// Leave their leases.
    gone: Vec<i64>,
    keys: Vec<i64>,
    acks: Vec<i64>,
    extends: Vec<i64>,
    back: Vec<Back<'a>>,
    dead: Vec<(i64, DeadCause)>,
}

impl<'a> Change<'a> {
    fn add(&mut self, queue: &Queue<'_>, settlement: &'a Settlement, open: &Open) {
        let offset = settlement.offset.get();
        if settlement.verdict == Verdict::Extend {
            return self.extends.push(offset);
        }
        self.gone.push(offset);
        self.keys.extend(open.key);
        let (error, delay, cause) = match &settlement.verdict {
            Verdict::Ack | Verdict::Extend => return self.acks.push(offset),
            Verdict::Nack { error, delay } if queue.is_last(open.attempts) => {
                (error.as_str(), *delay, Some(DeadCause::MaxAttempts))
            }
            Verdict::Nack { error, delay } => {
                (error.as_str(), *delay, queue.is_trimmed(offset).then_some(DeadCause::Trimmed))
            }
            Verdict::Reject { error } => (error.as_str(), None, Some(DeadCause::Rejected)),
            Verdict::Trimmed => ("", None, Some(DeadCause::Trimmed)),
        };
        let error = Some(error).filter(|error| !error.is_empty());
        let unsent = i32::from(settlement.verdict == Verdict::Trimmed);
        self.back.push((offset, delay.map(micros), queue.pause(open.attempts), error, unsent));
        self.dead.extend(cause.map(|cause| (offset, cause)));
    }

    /// Whether others have to know.
    async fn apply(self, queue: &Queue<'_>, conn: &mut SqliteConnection) -> Result<bool, StoreError> {
        let Self { gone, keys, acks, extends, back, dead } = self;
        if !extends.is_empty() {
            let sql = "update queue_events set until = ?3
                where consumer_id = ?1 and \"offset\" in (select value from json_each(?2))";
            let query = queue.store.query("extend", sql).bind(queue.consumer.0).bind(json(&extends));
            query.bind(queue.lease_end()).execute(&mut *conn).await.map_err(failed)?;
        }
        if gone.is_empty() {
            return Ok(false);
        }
        queue.note_gone(conn, &json(&gone), true).await?;
        if !acks.is_empty() {
            queue.forget(conn, &acks).await?;
        }
        if !back.is_empty() {
            let query = queue.store.query("put_back", include_str!("../sql/put_back.sql"));
            let query = query.bind(queue.consumer.0).bind(json(&back)).bind(queue.now.micros());
            query.execute(&mut *conn).await.map_err(failed)?;
            queue.bury(conn, &dead).await?;
        }
        let freed = queue.free(conn, keys.into_iter()).await?;
        queue.end_leases(conn).await?;
        Ok(freed > 0 || !back.is_empty())
    }
}
