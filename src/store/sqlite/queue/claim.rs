//! Leasing events.

use std::collections::HashMap;

use sqlx::{Row, sqlite::SqliteConnection};
use uuid::Uuid;

use super::{
    super::{SqliteStore, error::failed, find_ids::hex_list, rows},
    fresh,
    give::{self, Gift, Ready},
    state::Queue,
};
use crate::{
    domain::{Attempt, Claimed, DeadCause, LeaseId, Leased, QueueClaim, Taker},
    store::{ClaimError, StoreError},
};

/// See [`QueueStore::claim`](crate::store::QueueStore::claim).
pub(super) async fn claim(store: &SqliteStore, claim: &QueueClaim) -> Result<Claimed, ClaimError> {
    let mut tx = store.begin().await?;
    let mut queue = Queue::find(store, &mut tx, claim.consumer).await?.ok_or(ClaimError::NotFound)?;
    queue.expire(&mut tx).await?;
    let found = if claim.repeated { find_claimed(&queue, &mut tx, &claim.takers).await? } else { Vec::new() };
    skip_trimmed(&mut queue, &mut tx).await?;
    let outcome = if !found.is_empty() {
        let offer = Offer::of(&queue, &mut tx, &claim.takers).await?;
        offer.claimed(&queue, &mut tx, found).await.map_err(ClaimError::from)
    } else if queue.revision != claim.revision {
        Err(ClaimError::Changed)
    } else if queue.paused {
        Err(ClaimError::Paused)
    } else {
        lease(&mut queue, &mut tx, claim).await.map_err(ClaimError::from)
    };
    if !matches!(outcome, Err(ClaimError::Store(_))) {
        tx.commit().await.map_err(failed)?;
    }
    outcome
}

/// Leases what can be leased now.
async fn lease(queue: &mut Queue<'_>, conn: &mut SqliteConnection, claim: &QueueClaim) -> Result<Claimed, StoreError> {
    let mut offer = Offer::of(queue, conn, &claim.takers).await?;
    let mut gifts = alone(queue, conn, &mut offer).await?;
    // Then what is due, and what was never delivered.
    let room = offer.room();
    let mut ready = find_due(queue, conn, false, room).await?;
    let fresh = fresh::take(queue, conn, claim, room - ready.len(), &ready).await?;
    ready.extend(fresh.ready);
    ready.sort_unstable_by_key(|ready| ready.offset);
    gifts.extend(offer.share(ready));
    if !gifts.is_empty() || fresh.waiting > 0 || claim.note {
        if fresh.dispatched > queue.dispatched {
            queue.note_dispatched(conn, fresh.dispatched).await?;
        }
        queue.dispatched = fresh.dispatched;
    }
    let leases = give::give(queue, conn, claim, gifts).await?;
    offer.claimed(queue, conn, leases).await
}

/// First what must be delivered alone, to those that have nothing.
async fn alone(queue: &Queue<'_>, conn: &mut SqliteConnection, offer: &mut Offer) -> Result<Vec<Gift>, StoreError> {
    let takers: Vec<_> =
        (0..offer.rooms.len()).filter(|&place| offer.rooms[place] > 0 && offer.open[place] == 0).collect();
    let due = find_due(queue, conn, true, takers.len().min(offer.left)).await?;
    let mut gifts = Vec::with_capacity(due.len());
    for (taker, ready) in takers.into_iter().zip(due) {
        offer.rooms[taker] = 0;
        offer.open[taker] += 1;
        offer.left -= 1;
        gifts.push(Gift { taker, alone: true, events: vec![ready] });
    }
    Ok(gifts)
}

/// What is due, oldest first.
async fn find_due(
    queue: &Queue<'_>,
    conn: &mut SqliteConnection,
    alone: bool,
    limit: usize,
) -> Result<Vec<Ready>, StoreError> {
    let query = queue.store.query("due_events", include_str!("../sql/due_events.sql"));
    let query = query.bind(queue.consumer.0).bind(alone).bind(queue.now.micros());
    let found = query.bind(i64::try_from(limit).unwrap_or(i64::MAX)).fetch_all(conn).await.map_err(failed)?;
    let ready = |row: &sqlx::sqlite::SqliteRow| -> Result<Ready, sqlx::Error> {
        Ok(Ready {
            offset: row.try_get("offset")?,
            key: row.try_get("key")?,
            attempts: row.try_get("attempts")?,
            waited: row.try_get("waits")?,
        })
    };
    found.iter().map(ready).collect::<Result<_, _>>().map_err(failed)
}

/// What was trimmed before it was dispatched is counted; what is pending can never be sent.
async fn skip_trimmed(queue: &mut Queue<'_>, conn: &mut SqliteConnection) -> Result<(), StoreError> {
    let trimmed_to = queue.trimmed_to;
    if trimmed_to > queue.dispatched {
        let query = queue.store.query("count_skipped", include_str!("../sql/count_skipped.sql"));
        let query = query.bind(queue.consumer.0).bind(queue.dispatched.get()).bind(trimmed_to.get());
        query.execute(&mut *conn).await.map_err(failed)?;
        queue.note_dispatched(conn, trimmed_to).await?;
        queue.dispatched = trimmed_to;
    }
    let query = queue.store.query("trimmed_pending", include_str!("../sql/trimmed_pending.sql"));
    let query = query.bind(queue.consumer.0).bind(trimmed_to.get());
    let rows = query.fetch_all(&mut *conn).await.map_err(failed)?;
    let (mut dead, mut keys) = (Vec::new(), Vec::new());
    for row in rows {
        dead.push((row.try_get("offset").map_err(failed)?, DeadCause::Trimmed));
        keys.extend(row.try_get::<Option<i64>, _>("key").map_err(failed)?);
    }
    queue.bury(conn, &dead).await?;
    queue.free(conn, keys.into_iter()).await.map(drop)
}

/// The leases that the same request got before.
async fn find_claimed(
    queue: &Queue<'_>,
    conn: &mut SqliteConnection,
    takers: &[Taker],
) -> Result<Vec<Leased>, StoreError> {
    let query = queue.store.query("find_claimed", include_str!("../sql/find_claimed.sql"));
    let query = query.bind(queue.consumer.0).bind(hex_list(takers.iter().map(|taker| taker.token)));
    let mut leases: Vec<Leased> = Vec::new();
    for row in query.fetch_all(conn).await.map_err(failed)? {
        let lease = LeaseId(row.try_get("lease_id").map_err(failed)?);
        let remaining = rows::time_of(&row, "until")?.since(queue.now);
        if leases.last().is_none_or(|last| last.lease != lease) {
            let (token, alone) = (row.try_get("token").map_err(failed)?, row.try_get("alone").map_err(failed)?);
            leases.push(Leased { token, lease, remaining, alone, deliveries: Vec::new() });
        }
        let delivery =
            Attempt { offset: rows::offset(&row, "offset")?, number: row.try_get("attempts").map_err(failed)? };
        if let Some(last) = leases.last_mut() {
            last.remaining = last.remaining.min(remaining);
            last.deliveries.push(delivery);
        }
    }
    Ok(leases)
}

/// What the takers have, and may have.
struct Offer {
    /// Deliveries that each of them has.
    open: Vec<usize>,
    /// More that it may have.
    rooms: Vec<usize>,
    /// More that the consumer may have.
    left: usize,
}

impl Offer {
    async fn of(queue: &Queue<'_>, conn: &mut SqliteConnection, takers: &[Taker]) -> Result<Self, StoreError> {
        let query = queue.store.query("open_leases", include_str!("../sql/open_leases.sql")).bind(queue.consumer.0);
        let mut streams: HashMap<Uuid, (usize, bool)> = HashMap::new();
        let mut total = 0;
        for row in query.fetch_all(conn).await.map_err(failed)? {
            let open = usize::try_from(row.try_get::<i64, _>("open").map_err(failed)?).unwrap_or(0);
            total += open;
            if let Some(stream) = row.try_get("stream").map_err(failed)? {
                streams.insert(stream, (open, row.try_get("alone").map_err(failed)?));
            }
        }
        let mut offer = Self { open: Vec::new(), rooms: Vec::new(), left: 0 };
        offer.left = usize::try_from(queue.policy.max_in_flight).unwrap_or(usize::MAX).saturating_sub(total);
        for taker in takers {
            let (open, alone) = taker.stream.and_then(|stream| streams.get(&stream.0).copied()).unwrap_or_default();
            offer.open.push(open);
            offer.rooms.push(if alone { 0 } else { taker.max.saturating_sub(open) });
        }
        Ok(offer)
    }

    /// How many deliveries there is room for.
    fn room(&self) -> usize {
        self.rooms.iter().fold(0_usize, |sum, room| sum.saturating_add(*room)).min(self.left)
    }

    /// Shares events evenly; there must be room for them. Those with the least room come first, so that the
    /// others can take what is left.
    fn share(&mut self, mut events: Vec<Ready>) -> Vec<Gift> {
        let mut takers: Vec<_> = (0..self.rooms.len()).filter(|&place| self.rooms[place] > 0).collect();
        takers.sort_by_key(|&place| self.rooms[place]);
        let mut gifts = Vec::new();
        for (done, &taker) in takers.iter().enumerate() {
            let share = self.rooms[taker].min(events.len().div_ceil(takers.len() - done));
            if share == 0 {
                break;
            }
            let rest = events.split_off(share);
            gifts.push(Gift { taker, alone: false, events });
            self.open[taker] += share;
            self.left -= share;
            events = rest;
        }
        gifts
    }

    async fn claimed(
        self,
        queue: &Queue<'_>,
        conn: &mut SqliteConnection,
        leases: Vec<Leased>,
    ) -> Result<Claimed, StoreError> {
        let alone_waiting = find_due(queue, conn, true, self.open.len()).await?.len();
        let query = queue.store.query("next_due", include_str!("../sql/next_due.sql"));
        let row = query.bind(queue.consumer.0).bind(queue.now.micros()).fetch_one(conn).await.map_err(failed)?;
        let next = rows::optional_time(&row, "next")?.map(|next| next.since(queue.now));
        let Self { open: in_flight, rooms: _, left } = self;
        let (dispatched, full) = (queue.dispatched, left == 0);
        Ok(Claimed { dispatched, leases, in_flight, alone_waiting, full, next, ..Claimed::default() })
    }
}
