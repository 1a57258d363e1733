//! Streams: that they serve a consumer, and how they give up their leases.

use std::{collections::HashSet, time::Duration};

use serde_json::json;
use sqlx::Row;

use super::{
    super::{SqliteStore, error::failed},
    state::Queue,
};
use crate::{
    domain::{ConsumerId, Release, Timestamp},
    store::{Claim, StoreError},
};

/// See [`QueueStore::release`](crate::store::QueueStore::release).
pub(super) async fn release(store: &SqliteStore, release: &Release) -> Result<bool, StoreError> {
    let Release { consumer, stream, unsent, keep } = release;
    let mut tx = store.begin().await?;
    let sql = "delete from queue_connections where consumer_id = ? and subscription = ?";
    let query = store.query("delete_queue_connection", sql).bind(consumer.0).bind(stream.0);
    query.execute(&mut *tx).await.map_err(failed)?;
    let mut back = false;
    if let Some(queue) = Queue::find(store, &mut tx, *consumer).await? {
        let unsent: HashSet<_> = unsent.iter().map(|(lease, offset)| (lease.0, offset.get())).collect();
        let (mut not_sent, mut sent) = (Vec::new(), Vec::new());
        let query = store.query("streams_events", include_str!("../sql/streams_events.sql"));
        let query = query.bind(consumer.0).bind(stream.0);
        for row in query.fetch_all(&mut *tx).await.map_err(failed)? {
            let found: (i64, i64) = (row.try_get("lease_id").map_err(failed)?, row.try_get("offset").map_err(failed)?);
            let list = if unsent.contains(&found) { &mut not_sent } else { &mut sent };
            list.push(found.1);
        }
        back = queue.take_back(&mut tx, &not_sent, true).await?;
        if *keep {
            let sql = "update leases set server = null where consumer_id = ? and ended is null and stream = ?";
            let query = store.query("keep_leases", sql).bind(consumer.0).bind(stream.0);
            query.execute(&mut *tx).await.map_err(failed)?;
        } else {
            back |= queue.take_back(&mut tx, &sent, false).await?;
        }
    }
    tx.commit().await.map_err(failed)?;
    Ok(back)
}

/// See [`QueueStore::attend`](crate::store::QueueStore::attend).
pub(super) async fn attend(
    store: &SqliteStore,
    streams: &[(ConsumerId, Claim)],
    lease: Duration,
) -> Result<(), StoreError> {
    if streams.is_empty() {
        return Ok(());
    }
    let stream = |(consumer, claim): &(ConsumerId, Claim)| {
        let Claim { server: _, server_name, subscription, peer, take_over: _, lease: _ } = claim;
        json!([consumer.0, subscription.0.simple().to_string(), server_name, peer])
    };
    let list: serde_json::Value = streams.iter().map(stream).collect();
    let now = Timestamp::now();
    let mut tx = store.begin().await?;
    let query = store.query("attend", include_str!("../sql/attend.sql")).bind(list.to_string());
    let query = query.bind(now.micros()).bind(now.plus(lease).micros());
    query.execute(&mut *tx).await.map_err(failed)?;
    tx.commit().await.map_err(failed)
}
