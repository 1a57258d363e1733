//! `fanout`: live readers of one topic, and one pipelined publisher.

use tokio::task::JoinSet;

use super::{
    Settings,
    figures::{Measured, Run, Verified},
    load::{Dress, Load},
    publish::publish,
    reader::{End, Reader},
    verify::{joined, same},
};
use crate::cli::failure::Failure;

/// One run: deliveries a second over all readers, each on a connection of its own, from the first publish call to
/// the last delivery.
pub(super) async fn run(run: &Run<'_>, name: &str) -> Result<Measured, Failure> {
    let Settings { events, readers, depth, .. } = *run.settings;
    let topics = [run.target.create_topic(name).await?];
    let load = Load::new(events, 1, Dress::PLAIN, &topics, 1);
    let content = Verified { events, checksum: load.checksum };
    let mut tasks = JoinSet::new();
    for _ in 0..readers {
        let (channel, caller) = (run.target.reader_channel().await?, run.target.caller());
        let mut reader = Reader::open(channel, &caller, &topics[0], End::Never).await?;
        reader.caught_up().await?;
        tasks.spawn(reader.read(events, |_| {}));
    }
    let published = publish(run, load, depth).await?;
    let mut found = Verified::default();
    for reader in joined(&mut tasks).await? {
        found = found.plus(same(reader, content)?);
    }
    let elapsed = published.started.elapsed();
    published.checked(run, &topics).await?;
    Ok(Measured::rate(found.events, elapsed, "deliveries/s", found))
}
