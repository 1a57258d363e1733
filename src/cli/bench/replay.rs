//! `replay`: one reader, from the first event to the last; and filling a topic, for this and for others.

use std::time::Instant;

use super::{
    Settings,
    figures::{Counter, Measured, Run, Verified},
    load::{Dress, Ids, Load},
    publish::publish,
    reader::{End, Reader},
    verify::same,
};
use crate::cli::failure::Failure;

/// Events in a request that fills a topic: as many as it may have.
pub(super) const BATCH: usize = 1000;
/// Requests that fill a topic under way on each connection.
pub(super) const DEPTH: u64 = 4;

/// A topic with events.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) topic: String,
    /// What is in it.
    pub(super) content: Verified,
}

/// Creates a topic and fills it, with keys if wanted.
pub(super) async fn fill(run: &Run<'_>, name: &str, keyed: bool) -> Result<Filled, Failure> {
    let topic = run.target.create_topic(name).await?;
    let Settings { events, connections, .. } = *run.settings;
    let topics = [topic];
    let load = Load::new(events, connections, Dress { ids: Ids::None, keyed }, &topics, BATCH);
    // The bar is for what is measured.
    let content = publish(&Run { progress: &Counter::default(), ..*run }, load, DEPTH).await?.expected();
    let [topic] = topics;
    Ok(Filled { topic, content })
}

/// One run: events read a second, from the call on.
pub(super) async fn run(run: &Run<'_>, name: &str) -> Result<Measured, Failure> {
    let Filled { topic, content } = fill(run, name, false).await?;
    let (channel, caller) = (run.target.reader_channel().await?, run.target.caller());
    let started = Instant::now();
    let reader = Reader::open(channel, &caller, &topic, End::Head).await?;
    let (progress, mut unseen) = (run.progress.clone(), 0);
    let found = reader.read(content.events, |_| {
        unseen += 1;
        if unseen == BATCH as u64 {
            progress.add(unseen);
            unseen = 0;
        }
    });
    let found = found.await?;
    let elapsed = started.elapsed();
    Ok(Measured::rate(content.events, elapsed, "events/s", same(found, content)?))
}
