//! `publish_pipelined` and its kin: connections that keep many requests under way on a stream each.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{
    Settings,
    figures::{Measured, Run, Verified},
    lane::{Acknowledged, Lane},
    load::{Dress, Ids, Load},
    verify::{joined, read_back},
};
use crate::cli::failure::Failure;

/// Events in a request of `publish_batched`.
pub(super) const BATCH: usize = 100;
/// Requests of several events that a connection has under way: with more, a stream's 4 MiB would be full.
const BATCHES_UNDER_WAY: u64 = 16;

/// One run: events a second.
pub(super) async fn run(run: &Run<'_>, name: &str, ids: Ids, batch: usize) -> Result<Measured, Failure> {
    let topic = run.target.create_topic(name).await?;
    let topics = [topic];
    let Settings { events, connections, depth, .. } = *run.settings;
    let load = Load::new(events, connections, Dress { ids, keyed: false }, &topics, batch);
    let depth = if batch > 1 { BATCHES_UNDER_WAY } else { depth };
    publish(run, load, depth).await?.checked(run, &topics).await
}

/// What was published, and how fast.
pub(super) struct Published {
    /// When the first event was sent.
    pub(super) started: Instant,
    elapsed: Duration,
    acknowledged: Acknowledged,
    expected: Verified,
}

/// Publishes a load: the clock starts when all streams are open, and stops with the last answer.
pub(super) async fn publish(run: &Run<'_>, load: Load, depth: u64) -> Result<Published, Failure> {
    let expected = Verified { events: load.events, checksum: load.checksum };
    let mut lanes = Vec::with_capacity(load.shares.len());
    for share in load.shares {
        lanes.push(Lane::open(run.target.channel().await?, &run.target.caller(), share, depth).await?);
    }
    let mut tasks = JoinSet::new();
    let started = Instant::now();
    for lane in lanes {
        tasks.spawn(lane.run(run.progress.clone()));
    }
    let parts = joined(&mut tasks).await?;
    let elapsed = started.elapsed();
    Ok(Published { started, elapsed, acknowledged: parts.concat(), expected })
}

impl Published {
    /// Events a second.
    pub(super) fn rate(&self) -> f64 {
        self.expected.events as f64 / self.elapsed.as_secs_f64()
    }

    /// What is there now.
    pub(super) fn expected(&self) -> Verified {
        self.expected
    }

    /// Reads it back.
    pub(super) async fn checked(self, run: &Run<'_>, topics: &[String]) -> Result<Measured, Failure> {
        let Self { elapsed, acknowledged, expected, .. } = self;
        let verified = read_back(run, topics, &acknowledged, expected).await?;
        Ok(Measured::rate(expected.events, elapsed, "events/s", verified))
    }
}
