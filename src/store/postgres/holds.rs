//! Who holds a consumer, and which streams serve it.

use std::time::Duration;

use super::{PostgresStore, errors::corrupt, rows, topics::to_limit};
use crate::{
    domain::{Connection, ConsumerId, Epoch, RenewedHold, SubscriptionId},
    store::{Claim, Hold, HoldError, StoreError},
};

/// Takes a consumer: see [`ConsumerStore::take_hold`](crate::store::ConsumerStore::take_hold).
pub(super) async fn take(store: &PostgresStore, consumer: ConsumerId, claim: &Claim) -> Result<Hold, HoldError> {
    let Claim { server, server_name, subscription, peer, take_over, lease } = claim;
    let statement = sqlx::query(include_str!("sql/take_hold.sql"))
        .bind(consumer.0)
        .bind(subscription.0)
        .bind(server.0)
        .bind(server_name)
        .bind(peer)
        .bind(take_over)
        .bind(rows::to_micros(*lease));
    let row = store.control.one("take_hold", statement).await?;
    match rows::get(&row, "outcome")? {
        "taken" => Ok(Hold { consumer: rows::consumer(&row)? }),
        "busy" => Err(HoldError::Busy { remaining: rows::to_duration(rows::get(&row, "remaining_us")?)? }),
        "not_found" => Err(HoldError::NotFound),
        other => Err(corrupt(format!("a hold ended with {other:?}")).into()),
    }
}

/// Renews holds: see [`ConsumerStore::renew_holds`](crate::store::ConsumerStore::renew_holds).
pub(super) async fn renew(
    store: &PostgresStore,
    held: &[(ConsumerId, Epoch)],
    lease: Duration,
) -> Result<Vec<RenewedHold>, StoreError> {
    let (consumers, epochs): (Vec<i32>, Vec<i64>) = held.iter().map(|(consumer, epoch)| (consumer.0, epoch.0)).unzip();
    let statement =
        sqlx::query("select consumer_id, epoch, revision, paused from eventflow.renew_holds_v2($1, $2, $3)");
    let statement = statement.bind(consumers).bind(epochs).bind(rows::to_micros(lease));
    let renewed = store.control.all("renew_holds", statement).await?;
    renewed
        .iter()
        .map(|row| {
            Ok(RenewedHold {
                consumer: ConsumerId(rows::get(row, "consumer_id")?),
                epoch: Epoch(rows::get(row, "epoch")?),
                revision: rows::number(rows::get(row, "revision")?, "revision")?,
                paused: rows::get(row, "paused")?,
            })
        })
        .collect()
}

/// Lists streams: see [`ConsumerStore::connections`](crate::store::ConsumerStore::connections).
pub(super) async fn connections(
    store: &PostgresStore,
    consumer: ConsumerId,
    limit: usize,
) -> Result<(Vec<Connection>, usize), StoreError> {
    // Each row carries how many there are, so that one is needed even if none is wanted.
    let statement = sqlx::query(include_str!("sql/connections.sql")).bind(consumer.0).bind(to_limit(limit.max(1)));
    let found = store.control.all("connections", statement).await?;
    let total = match found.first() {
        Some(row) => rows::number(rows::get(row, "total")?, "number of connections")?,
        None => 0,
    };
    let connection = |row| {
        Ok(Connection {
            subscription: SubscriptionId(rows::get(row, "subscription")?),
            peer: rows::get(row, "peer")?,
            server: rows::get(row, "server_name")?,
            connect_time: rows::time(row, "connect_time")?,
        })
    };
    let listed: Result<_, StoreError> = found.iter().take(limit).map(connection).collect();
    Ok((listed?, total))
}
