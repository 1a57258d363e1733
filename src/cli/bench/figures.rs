//! What a run is given, and what it measured.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use hdrhistogram::Histogram;

use super::{Settings, target::Target};
use crate::cli::failure::Failure;

/// Nanoseconds in a microsecond, the unit of all latencies that are shown.
const MICROSECOND: f64 = 1e3;

/// What one run works with.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    /// The server.
    pub(super) target: &'a Target,
    /// How it is made.
    pub(super) settings: &'a Settings,
    /// How far it has got.
    pub(super) progress: &'a Counter,
}

/// Counts what is done, for the bar.
#[derive(Debug, Clone, Default)]
pub(super) struct Counter(std::sync::Arc<AtomicU64>);

impl Counter {
    pub(super) fn add(&self, events: u64) {
        self.0.fetch_add(events, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a run did, as it was checked at its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Verified {
    /// Events that were acknowledged or delivered as they must be.
    pub(super) events: u64,
    /// That of the texts that came back.
    pub(super) checksum: u64,
}

impl Verified {
    /// Both together.
    pub(super) fn plus(self, other: Self) -> Self {
        Self { events: self.events + other.events, checksum: self.checksum.wrapping_add(other.checksum) }
    }
}

/// One number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figure {
    /// What it is of the workload: a part of its own name, or nothing.
    pub(super) part: &'static str,
    pub(super) value: f64,
    pub(super) unit: &'static str,
}

/// The outcome of one run.
#[derive(Debug)]
pub(super) struct Measured {
    /// The first one is the one to look at.
    pub(super) figures: Vec<Figure>,
    pub(super) verified: Verified,
    /// How long each operation took, in nanoseconds, where that was measured.
    pub(super) latencies: Option<Histogram<u64>>,
}

impl Measured {
    /// So many events in this time.
    pub(super) fn rate(events: u64, elapsed: Duration, unit: &'static str, verified: Verified) -> Self {
        let value = events as f64 / elapsed.as_secs_f64();
        Self { figures: vec![Figure { part: "", value, unit }], verified, latencies: None }
    }

    /// The median and the 99th percentile of these.
    pub(super) fn latencies(latencies: Histogram<u64>, verified: Verified) -> Self {
        let at = |part, quantile| Figure { part, value: micros(&latencies, quantile), unit: "us" };
        Self { figures: vec![at("p50", 0.50), at("p99", 0.99)], verified, latencies: Some(latencies) }
    }
}

/// Counts times in nanoseconds, exact to a thousandth.
pub(super) fn histogram(nanos: impl IntoIterator<Item = u64>) -> Result<Histogram<u64>, Failure> {
    let mut histogram = Histogram::new(3).map_err(|error| Failure::Local(error.to_string()))?;
    for value in nanos {
        histogram.record(value).map_err(|error| Failure::Local(error.to_string()))?;
    }
    Ok(histogram)
}

/// The time, in microseconds, that this share of all did not exceed.
pub(super) fn micros(latencies: &Histogram<u64>, quantile: f64) -> f64 {
    latencies.value_at_quantile(quantile) as f64 / MICROSECOND
}

/// In ascending order.
pub(super) fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The middle one; of an even number the higher one of both in the middle.
pub(super) fn median(values: &[f64]) -> f64 {
    sorted(values).get(values.len() / 2).copied().unwrap_or_default()
}

/// A time in nanoseconds, as it is recorded.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
