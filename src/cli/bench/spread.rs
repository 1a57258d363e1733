//! `publish_spread`: pipelined traffic over many topics.

use super::{
    Settings,
    figures::{Measured, Run},
    load::{Dress, Load},
    publish::publish,
};
use crate::cli::failure::Failure;
use futures::{StreamExt, TryStreamExt, stream};

/// Topics that are created at once.
const CREATING: usize = 16;

/// One run: events a second over all topics.
pub(super) async fn run(run: &Run<'_>, name: &str) -> Result<Measured, Failure> {
    let Settings { events, connections, depth, topics, .. } = *run.settings;
    let create = |_| run.target.create_topic(name);
    let topics: Vec<String> = stream::iter(0..topics).map(create).buffer_unordered(CREATING).try_collect().await?;
    let load = Load::new(events, connections, Dress::PLAIN, &topics, 1);
    publish(run, load, depth).await?.checked(run, &topics).await
}
