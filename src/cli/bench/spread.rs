//! `publish_spread`: pipelined traffic over many topics.

use super::{
    Settings,
    figures::{Measured, Run},
    load::{Dress, Load},
    publish::publish,
};
use crate::cli::failure::Failure;

/// One run: events a second over all topics.
pub(super) async fn run(run: &Run<'_>, name: &str) -> Result<Measured, Failure> {
    let Settings { events, connections, depth, topics, .. } = *run.settings;
    let topics = run.target.create_topics(name, topics).await?;
    let load = Load::new(events, connections, Dress::PLAIN, &topics, 1);
    publish(run, load, depth).await?.checked(run, &topics).await
}
