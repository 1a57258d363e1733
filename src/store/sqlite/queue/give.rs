//! Writing new leases.

use serde_json::json;
use sqlx::{Row, sqlite::SqliteConnection};
use uuid::Uuid;

use super::{
    super::{error::failed, rows::to_offset},
    state::Queue,
};
use crate::{
    domain::{Attempt, LeaseId, Leased, QueueClaim},
    store::StoreError,
};

/// An event that can be leased.
pub(super) struct Ready {
    pub(super) offset: i64,
    pub(super) key: Option<i64>,
    /// Before this one.
    pub(super) attempts: u32,
    /// It is counted among those that wait for their keys.
    pub(super) waited: bool,
}

/// What a taker gets.
pub(super) struct Gift {
    /// Its place.
    pub(super) taker: usize,
    pub(super) alone: bool,
    /// In order.
    pub(super) events: Vec<Ready>,
}

/// Makes a lease of each gift.
pub(super) async fn give(
    queue: &Queue<'_>,
    conn: &mut SqliteConnection,
    claim: &QueueClaim,
    gifts: Vec<Gift>,
) -> Result<Vec<Leased>, StoreError> {
    if gifts.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "update cluster set last_lease = last_lease + ? returning last_lease";
    let query = queue.store.query("next_leases", sql).bind(gifts.len() as i64);
    let last: i64 = query.fetch_one(&mut *conn).await.map_err(failed)?.try_get(0).map_err(failed)?;
    let ids = (last - gifts.len() as i64 + 1)..;
    let (mut leases, mut rows, mut events) = (Vec::new(), Vec::new(), Vec::new());
    for (id, gift) in ids.zip(gifts) {
        let taker = &claim.takers[gift.taker];
        let stream = taker.stream.map(|stream| hex(stream.0));
        let server = taker.stream.map(|_| hex(claim.server.0));
        rows.push(json!([id, hex(taker.token), stream, server, i32::from(gift.alone)]));
        let mut deliveries = Vec::with_capacity(gift.events.len());
        for event in gift.events {
            events.push(json!([event.offset, event.key, id]));
            deliveries.push(Attempt { offset: to_offset(event.offset)?, number: event.attempts + 1 });
        }
        let remaining = queue.policy.lease;
        leases.push(Leased { token: taker.token, lease: LeaseId(id), remaining, alone: gift.alone, deliveries });
    }
    let query = queue.store.query("add_leases", include_str!("../sql/add_leases.sql"));
    let query = query.bind(queue.consumer.0).bind(serde_json::Value::Array(rows).to_string());
    query.execute(&mut *conn).await.map_err(failed)?;
    let query = queue.store.query("lease_events", include_str!("../sql/lease_events.sql"));
    let query = query.bind(queue.consumer.0).bind(serde_json::Value::Array(events).to_string());
    query.bind(queue.lease_end()).bind(queue.now.micros()).execute(conn).await.map_err(failed)?;
    Ok(leases)
}

fn hex(id: Uuid) -> String {
    id.simple().to_string()
}
