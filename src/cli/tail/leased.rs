//! What was printed of a queue and is leased.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::follow::COMMIT_INTERVAL;
use crate::proto::v1::DeliveryBatch;

/// Offsets in one call.
const OFFSETS: usize = 1000;

/// Printed events by their lease.
#[derive(Debug, Default)]
pub(super) struct Leased {
    leases: HashMap<String, Lease>,
}

#[derive(Debug)]
struct Lease {
    offsets: Vec<i64>,
    /// When half of it is over.
    renew_at: Instant,
}

impl Leased {
    /// These events of a frame were printed; whether their lease is too short to wait for the next commit.
    pub(super) fn printed(&mut self, batch: &DeliveryBatch, offsets: Vec<i64>, received: Instant) -> bool {
        let half = half(batch.lease_remaining.as_ref());
        let fresh = || Lease { offsets: Vec::new(), renew_at: received + half };
        self.leases.entry(batch.lease_id.clone()).or_insert_with(fresh).offsets.extend(offsets);
        half <= COMMIT_INTERVAL
    }

    /// What is to be acknowledged, which is all of it, or what needs more time before the next commit.
    pub(super) fn due(&self, acknowledge: bool) -> Vec<(String, Vec<i64>)> {
        let soon = Instant::now() + COMMIT_INTERVAL;
        let due = self.leases.iter().filter(|(_, lease)| acknowledge || lease.renew_at <= soon);
        due.flat_map(|(id, lease)| lease.offsets.chunks(OFFSETS).map(|part| (id.clone(), part.to_vec()))).collect()
    }

    /// These were acknowledged.
    pub(super) fn settled(&mut self, id: &str, offsets: &[i64]) {
        if let Some(lease) = self.leases.get_mut(id) {
            lease.offsets.retain(|offset| !offsets.contains(offset));
        }
        self.leases.retain(|_, lease| !lease.offsets.is_empty());
    }

    /// More time was asked for at this moment, and those that were lost got none.
    pub(super) fn extended(
        &mut self,
        id: &str,
        lost: &[i64],
        asked: Instant,
        remaining: Option<&prost_types::Duration>,
    ) {
        self.settled(id, lost);
        if let Some(lease) = self.leases.get_mut(id) {
            lease.renew_at = asked + half(remaining);
        }
    }
}

/// Half of what is left of a lease.
fn half(remaining: Option<&prost_types::Duration>) -> Duration {
    let length = remaining
        .and_then(|length| Some(Duration::new(u64::try_from(length.seconds).ok()?, u32::try_from(length.nanos).ok()?)));
    length.unwrap_or_default() / 2
}
