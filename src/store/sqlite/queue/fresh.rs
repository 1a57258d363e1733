//! Dispatching events that were never delivered.

use std::collections::HashSet;

use sqlx::{Row, sqlite::SqliteConnection};

use super::{
    super::{error::failed, settings::json},
    give::Ready,
    state::Queue,
};
use crate::{
    domain::{Candidate, Offset, QueueClaim},
    store::{StoreError, WAITING_MAX},
};

/// What was dispatched.
pub(super) struct Fresh {
    /// What can be leased, at most as much as there is room for.
    pub(super) ready: Vec<Ready>,
    /// How many were noted as waiting for their keys.
    pub(super) waiting: usize,
    /// Everything up to here is dispatched now.
    pub(super) dispatched: Offset,
}

/// Takes candidates in order. Those whose key is not free are noted as waiting for it, as long as not too many
/// wait; from the first on that cannot be noted, nothing is taken. `due` is about to be leased.
pub(super) async fn take(
    queue: &Queue<'_>,
    conn: &mut SqliteConnection,
    claim: &QueueClaim,
    room: usize,
    due: &[Ready],
) -> Result<Fresh, StoreError> {
    let mut fresh = Fresh { ready: Vec::new(), waiting: 0, dispatched: queue.dispatched };
    if queue.dispatched < claim.after || queue.dispatched > claim.up_to {
        return Ok(fresh);
    }
    let first = claim.candidates.partition_point(|candidate| candidate.offset <= queue.dispatched);
    let candidates = &claim.candidates[first..];
    let mut busy = busy_keys(queue, conn, candidates).await?;
    let free = candidates.iter().all(|candidate| candidate.key.is_none());
    let waiting_room = if free { 0 } else { waiting_room(queue, conn, due).await? };
    let mut waiting = Vec::new();
    fresh.dispatched = claim.up_to;
    for Candidate { offset, key } in candidates {
        let key = key.map(|key| key.0);
        let waits = key.is_some_and(|key| !busy.insert(key));
        if fresh.ready.len() >= room || waits && waiting.len() >= waiting_room {
            fresh.dispatched = offset.previous();
            break;
        }
        if waits {
            waiting.push((offset.get(), key));
        } else {
            fresh.ready.push(Ready { offset: offset.get(), key, attempts: 0, waited: false });
        }
    }
    if !waiting.is_empty() {
        let query = queue.store.query("add_waiting", include_str!("../sql/add_waiting.sql"));
        query.bind(queue.consumer.0).bind(json(&waiting)).execute(conn).await.map_err(failed)?;
    }
    fresh.waiting = waiting.len();
    Ok(fresh)
}

/// The keys of candidates of which there are unsettled events already.
async fn busy_keys(
    queue: &Queue<'_>,
    conn: &mut SqliteConnection,
    candidates: &[Candidate],
) -> Result<HashSet<i64>, StoreError> {
    let keys: HashSet<_> = candidates.iter().filter_map(|candidate| candidate.key.map(|key| key.0)).collect();
    if keys.is_empty() {
        return Ok(keys);
    }
    let query = queue.store.query("busy_keys", include_str!("../sql/busy_keys.sql"));
    let rows = query.bind(queue.consumer.0).bind(json(&keys)).fetch_all(conn).await.map_err(failed)?;
    rows.iter().map(|row| row.try_get(0).map_err(failed)).collect()
}

/// How many more events may wait for their keys.
async fn waiting_room(queue: &Queue<'_>, conn: &mut SqliteConnection, due: &[Ready]) -> Result<usize, StoreError> {
    let sql = "select count(*) from queue_events where consumer_id = ? and waits = 1";
    let query = queue.store.query("count_waiting", sql).bind(queue.consumer.0);
    let waiting: i64 = query.fetch_one(conn).await.map_err(failed)?.try_get(0).map_err(failed)?;
    let leaving = due.iter().filter(|ready| ready.waited).count() as u64;
    let room = (WAITING_MAX + leaving).saturating_sub(waiting.unsigned_abs());
    Ok(usize::try_from(room).unwrap_or(usize::MAX))
}
