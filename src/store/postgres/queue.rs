//! Leases, retries and dead letters.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::{PostgresStore, errors::corrupt, rows, topics::to_limit};
use crate::{
    domain::{
        Attempt, Candidate, Claimed, ConsumerId, DeadCause, DeadLetter, DeadLetters, KeyHash, LeaseId, Leased, Moved,
        Offset, QueueClaim, QueueStatus, Release, Settled, Settlement, Unsettled, Verdict,
    },
    store::{Claim, ClaimError, QueueStore, SettleError, StoreError},
};

#[async_trait]
impl QueueStore for PostgresStore {
    async fn claim(&self, claim: &QueueClaim) -> Result<Claimed, ClaimError> {
        let (offsets, keys): (Vec<_>, Vec<_>) =
            claim.candidates.iter().map(|one| (one.offset.get(), one.key.map(|key| key.0))).unzip();
        // Without keys, the store need not look for those that are taken.
        let keys = keys.iter().any(Option::is_some).then_some(keys);
        let free =
            claim.known.as_ref().map(|known| known.free.iter().map(|&place| to_place(place)).collect::<Vec<_>>());
        let statement = sqlx::query(include_str!("sql/claim.sql"))
            .bind(claim.consumer.0)
            .bind(i64::try_from(claim.revision).unwrap_or(i64::MAX))
            .bind(claim.server.0)
            .bind(claim.after.get())
            .bind(claim.up_to.get())
            .bind(offsets)
            .bind(keys)
            .bind(claim.known.as_ref().map(|known| known.newest.0))
            .bind(free)
            .bind(claim.takers.iter().map(|taker| taker.token).collect::<Vec<_>>())
            .bind(claim.takers.iter().map(|taker| taker.stream.map(|stream| stream.0)).collect::<Vec<_>>())
            .bind(claim.takers.iter().map(|taker| i32::try_from(taker.max).unwrap_or(i32::MAX)).collect::<Vec<_>>())
            .bind(claim.repeated)
            .bind(claim.note);
        let row = self.queues.one("claim", statement).await?;
        match rows::get(&row, "outcome")? {
            "claimed" => Ok(claimed(&row)?),
            "changed" => Err(ClaimError::Changed),
            "paused" => Err(ClaimError::Paused),
            "not_found" => Err(ClaimError::NotFound),
            other => Err(corrupt(format!("a claim ended with {other:?}")).into()),
        }
    }

    async fn settle(&self, consumer: ConsumerId, settlements: &[Settlement]) -> Result<Settled, SettleError> {
        let batch = Batch::of(settlements);
        let statement = sqlx::query(include_str!("sql/settle.sql"))
            .bind(consumer.0)
            .bind(&batch.leases)
            .bind(&batch.counts)
            .bind(&batch.offsets)
            .bind(&batch.kinds)
            .bind(&batch.errors)
            .bind(&batch.delays);
        let row = self.queues.one("settle", statement).await?;
        match rows::get(&row, "outcome")? {
            "settled" => Ok(batch.settled(&row)?),
            "not_found" => Err(SettleError::NotFound),
            other => Err(corrupt(format!("a settlement ended with {other:?}")).into()),
        }
    }

    async fn release(&self, release: &Release) -> Result<bool, StoreError> {
        let (leases, offsets): (Vec<_>, Vec<_>) =
            release.unsent.iter().map(|(lease, offset)| (lease.0, offset.get())).unzip();
        let statement = sqlx::query("select eventflow.queue_release_v1($1, $2, $3, $4, $5) as back")
            .bind(release.consumer.0)
            .bind(release.stream.0)
            .bind(leases)
            .bind(offsets)
            .bind(release.keep);
        rows::get(&self.queues.one("release", statement).await?, "back")
    }

    async fn attend(&self, streams: &[(ConsumerId, Claim)], lease: Duration) -> Result<(), StoreError> {
        let Some((_, any)) = streams.first() else { return Ok(()) };
        let statement = sqlx::query("select eventflow.queue_attend_v1($1, $2, $3, $4, $5, $6)")
            .bind(streams.iter().map(|(consumer, _)| consumer.0).collect::<Vec<_>>())
            .bind(streams.iter().map(|(_, claim)| claim.subscription.0).collect::<Vec<_>>())
            .bind(any.server.0)
            .bind(&any.server_name)
            .bind(streams.iter().map(|(_, claim)| claim.peer.as_str()).collect::<Vec<_>>())
            .bind(rows::to_micros(lease));
        self.control.execute("attend", statement).await.map(drop)
    }

    async fn queue_status(&self, consumers: &[ConsumerId]) -> Result<Vec<QueueStatus>, StoreError> {
        let consumers: Vec<_> = consumers.iter().map(|consumer| consumer.0).collect();
        let statement = sqlx::query(include_str!("sql/queue_status.sql")).bind(consumers);
        let status = |row| {
            Ok(QueueStatus {
                consumer: ConsumerId(rows::get(row, "consumer_id")?),
                position: rows::offset(row, "position")?,
                in_flight: rows::number(rows::get(row, "in_flight")?, "number of deliveries")?,
                retrying: rows::number(rows::get(row, "retrying")?, "number of retries")?,
                dead_letters: rows::number(rows::get(row, "dead_letters")?, "number of dead letters")?,
            })
        };
        self.control.all("queue_status", statement).await?.iter().map(status).collect()
    }

    async fn dead_letters(
        &self,
        consumer: ConsumerId,
        after: Offset,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let statement = sqlx::query(include_str!("sql/dead_letters.sql"));
        let statement = statement.bind(consumer.0).bind(after.get()).bind(to_limit(limit));
        self.control.all("dead_letters", statement).await?.iter().map(dead_letter).collect()
    }

    async fn redrive(
        &self,
        consumer: ConsumerId,
        which: &DeadLetters,
        limit: usize,
        validate_only: bool,
    ) -> Result<Moved, StoreError> {
        let statement = sqlx::query("select changed, remaining from eventflow.queue_redrive_v1($1, $2, $3, $4)")
            .bind(consumer.0)
            .bind(offsets(which))
            .bind(i32::try_from(limit).unwrap_or(i32::MAX))
            .bind(validate_only);
        moved(&self.control.one("redrive", statement).await?)
    }

    async fn discard(
        &self,
        consumer: ConsumerId,
        which: &DeadLetters,
        limit: usize,
        validate_only: bool,
    ) -> Result<Moved, StoreError> {
        let statement = sqlx::query("select changed, remaining from eventflow.queue_discard_v1($1, $2, $3, $4)")
            .bind(consumer.0)
            .bind(offsets(which))
            .bind(i32::try_from(limit).unwrap_or(i32::MAX))
            .bind(validate_only);
        moved(&self.control.one("discard", statement).await?)
    }

    async fn sweep_queues(&self, limit: usize) -> Result<bool, StoreError> {
        let statement = sqlx::query("select eventflow.queue_sweep_v1($1) as more");
        let row = self.control.one("sweep_queues", statement.bind(i32::try_from(limit).unwrap_or(i32::MAX))).await?;
        rows::get(&row, "more")
    }
}

fn claimed(row: &PgRow) -> Result<Claimed, StoreError> {
    let tokens: Vec<Uuid> = rows::get(row, "tokens")?;
    let lease_ids: Vec<i64> = rows::get(row, "lease_ids")?;
    let remaining: Vec<i64> = rows::get(row, "remaining_us")?;
    let alones: Vec<bool> = rows::get(row, "alones")?;
    let counts: Vec<i32> = rows::get(row, "counts")?;
    let offsets: Vec<i64> = rows::get(row, "offsets")?;
    let attempts: Vec<i32> = rows::get(row, "attempts")?;
    let sizes = [lease_ids.len(), remaining.len(), alones.len(), counts.len()];
    let total: i64 = counts.iter().map(|&count| i64::from(count)).sum();
    if sizes.iter().any(|&size| size != tokens.len())
        || offsets.len() != attempts.len()
        || usize::try_from(total).ok() != Some(offsets.len())
    {
        return Err(corrupt("the columns of a claim differ in length"));
    }
    let mut deliveries = offsets.into_iter().zip(attempts).map(|(offset, number)| {
        let number = rows::number(i64::from(number), "attempt")?;
        Ok(Attempt { offset: rows::to_offset(offset)?, number })
    });
    let mut leases = Vec::with_capacity(tokens.len());
    for (place, token) in tokens.into_iter().enumerate() {
        let count = usize::try_from(counts[place]).unwrap_or(0);
        leases.push(Leased {
            token,
            lease: LeaseId(lease_ids[place]),
            remaining: rows::to_duration(remaining[place])?,
            alone: alones[place],
            deliveries: deliveries.by_ref().take(count).collect::<Result<_, StoreError>>()?,
        });
    }
    let in_flight: Vec<i32> = rows::get(row, "in_flight")?;
    let next: Option<i64> = rows::get(row, "next_us")?;
    let busy: Option<Vec<i64>> = rows::get(row, "busy")?;
    Ok(Claimed {
        newest: rows::get::<Option<i64>>(row, "newest")?.map(LeaseId),
        judged: rows::get(row, "judged")?,
        busy: busy.map(|busy| busy.into_iter().map(KeyHash).collect()),
        held: held(row)?,
        dispatched: rows::offset(row, "dispatched")?,
        leases,
        in_flight: in_flight.into_iter().map(|open| usize::try_from(open).unwrap_or(0)).collect(),
        alone_waiting: usize::try_from(rows::get::<i32>(row, "alone_waiting")?).unwrap_or(0),
        full: rows::get(row, "is_full")?,
        next: next.map(|micros| rows::to_duration(micros.max(0))).transpose()?,
    })
}

fn held(row: &PgRow) -> Result<Vec<Candidate>, StoreError> {
    let offsets = rows::get::<Option<Vec<i64>>>(row, "held")?.unwrap_or_default();
    let keys = rows::get::<Option<Vec<i64>>>(row, "held_keys")?.unwrap_or_default();
    if offsets.len() != keys.len() {
        return Err(corrupt("events that are held have no keys"));
    }
    let candidate = |(offset, key)| Ok(Candidate { offset: rows::to_offset(offset)?, key: Some(KeyHash(key)) });
    offsets.into_iter().zip(keys).map(candidate).collect()
}

/// Arrays begin with 1 in SQL.
fn to_place(place: usize) -> i32 {
    i32::try_from(place).unwrap_or(i32::MAX).saturating_add(1)
}

/// Settlements, lease by lease.
struct Batch<'a> {
    /// The places of the settlements among those that were asked for.
    places: Vec<usize>,
    leases: Vec<i64>,
    counts: Vec<i32>,
    offsets: Vec<i64>,
    kinds: Vec<i32>,
    errors: Vec<Option<&'a str>>,
    delays: Vec<Option<i64>>,
}

impl<'a> Batch<'a> {
    fn of(settlements: &'a [Settlement]) -> Self {
        let mut places: Vec<_> = (0..settlements.len()).collect();
        // In the order of offsets, as the lease has them.
        places.sort_by_key(|&place| (settlements[place].lease, settlements[place].offset));
        let (mut leases, mut counts): (Vec<i64>, Vec<i32>) = (Vec::new(), Vec::new());
        let (mut offsets, mut kinds) = (Vec::new(), Vec::new());
        let (mut errors, mut delays) = (Vec::new(), Vec::new());
        for &place in &places {
            let Settlement { lease, offset, verdict } = &settlements[place];
            match (leases.last(), counts.last_mut()) {
                (Some(last), Some(count)) if *last == lease.0 => *count += 1,
                _ => {
                    leases.push(lease.0);
                    counts.push(1);
                }
            }
            offsets.push(offset.get());
            let (kind, error, delay) = match verdict {
                Verdict::Ack => (0, None, None),
                Verdict::Nack { error, delay } => (1, Some(error.as_str()), delay.map(rows::to_micros)),
                Verdict::Reject { error } => (2, Some(error.as_str()), None),
                Verdict::Extend => (3, None, None),
                Verdict::Trimmed => (4, None, None),
            };
            kinds.push(kind);
            errors.push(error);
            delays.push(delay);
        }
        Self { places, leases, counts, offsets, kinds, errors, delays }
    }

    fn settled(&self, row: &PgRow) -> Result<Settled, StoreError> {
        let failed: Vec<i32> = rows::get(row, "failed")?;
        let causes: Vec<i32> = rows::get(row, "causes")?;
        let failure = |(place, cause): (i32, i32)| {
            let place = usize::try_from(place).ok().and_then(|place| self.places.get(place.checked_sub(1)?));
            let cause = match cause {
                1 => Unsettled::Lost,
                2 => Unsettled::AlreadySettled,
                3 => Unsettled::Unknown,
                other => return Err(corrupt(format!("a settlement failed with {other}"))),
            };
            place.map(|&place| (place, cause)).ok_or_else(|| corrupt("a settlement failed that was not asked for"))
        };
        let mut failures: Vec<_> = failed.into_iter().zip(causes).map(failure).collect::<Result<_, _>>()?;
        failures.sort_unstable_by_key(|(place, _)| *place);
        Ok(Settled { failures, lease: rows::to_duration(rows::get(row, "lease_us")?)?, news: rows::get(row, "news")? })
    }
}

fn dead_letter(row: &PgRow) -> Result<DeadLetter, StoreError> {
    let cause = match rows::get(row, "cause")? {
        "max_attempts" => DeadCause::MaxAttempts,
        "rejected" => DeadCause::Rejected,
        "trimmed" => DeadCause::Trimmed,
        other => return Err(corrupt(format!("{other:?} is no cause of a dead letter"))),
    };
    Ok(DeadLetter {
        offset: rows::offset(row, "offset")?,
        key: rows::get(row, "key")?,
        attempts: rows::number(i64::from(rows::get::<i32>(row, "attempts")?), "number of attempts")?,
        error: rows::get(row, "error")?,
        cause,
        first_sent: rows::optional_time(row, "first_sent")?,
        last_sent: rows::optional_time(row, "last_sent")?,
        dead_time: rows::time(row, "dead_time")?,
    })
}

fn offsets(which: &DeadLetters) -> Option<Vec<i64>> {
    match which {
        DeadLetters::All => None,
        DeadLetters::Of(offsets) => Some(offsets.iter().map(|offset| offset.get()).collect()),
    }
}

fn moved(row: &PgRow) -> Result<Moved, StoreError> {
    Ok(Moved {
        changed: rows::number(rows::get(row, "changed")?, "number of dead letters")?,
        remaining: rows::number(rows::get(row, "remaining")?, "number of dead letters")?,
    })
}
