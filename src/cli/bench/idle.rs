//! `idle`: what subscribers cost that get nothing.

use tokio::task::JoinSet;

use super::{
    Settings,
    figures::{Counter, Figure, Measured, Run, Verified},
    load::{Dress, Load},
    publish::publish,
    reader::{End, Reader},
    resident::resident_bytes,
    verify::joined,
};
use crate::cli::failure::Failure;

/// One run: publishing beside idle subscribers, and without them before; and the memory that they take, if the
/// server's metrics can be reached.
pub(super) async fn run(run: &Run<'_>, name: &str) -> Result<Measured, Failure> {
    // The bar is for publishing beside them.
    let alone = publish_once(&Run { progress: &Counter::default(), ..*run }, name).await?;
    let empty = resident(run).await?;
    let mut subscribers = subscribe(run, name).await?;
    let full = resident(run).await?;
    let beside = publish_once(run, name).await?;
    // They end only when something is wrong.
    while let Some(ended) = subscribers.try_join_next() {
        ended.map_err(|error| Failure::Local(error.to_string()))??;
    }
    let rate = |measured: &Measured| measured.figures.first().map_or(0.0, |figure| figure.value);
    let mut figures = vec![
        Figure { part: "publish", value: rate(&beside), unit: "events/s" },
        Figure { part: "publish_alone", value: rate(&alone), unit: "events/s" },
    ];
    if let (Some(empty), Some(full)) = (empty, full) {
        let each = full.saturating_sub(empty) as f64 / run.settings.idle.max(1) as f64;
        figures.push(Figure { part: "resident", value: full as f64 / f64::from(1 << 20), unit: "MiB" });
        figures.push(Figure { part: "resident_each", value: each / 1024.0, unit: "KiB" });
    }
    let verified = Verified::plus(alone.verified, beside.verified);
    Ok(Measured { figures, verified, latencies: None })
}

async fn publish_once(run: &Run<'_>, name: &str) -> Result<Measured, Failure> {
    let Settings { events, connections, depth, .. } = *run.settings;
    let topics = [run.target.create_topic(name).await?];
    let load = Load::new(events, connections, Dress::PLAIN, &topics, 1);
    publish(run, load, depth).await?.checked(run, &topics).await
}

async fn resident(run: &Run<'_>) -> Result<Option<u64>, Failure> {
    match run.target.metrics() {
        Some(address) => resident_bytes(address).await.map(Some),
        None => Ok(None),
    }
}

/// Opens the subscribers, in equal parts on each connection, which has a topic of its own.
async fn subscribe(run: &Run<'_>, name: &str) -> Result<JoinSet<Result<(), Failure>>, Failure> {
    let Settings { idle, idle_connections, .. } = *run.settings;
    let mut opening = JoinSet::new();
    for index in 0..idle_connections {
        let count = idle * (index + 1) / idle_connections - idle * index / idle_connections;
        let topic = run.target.create_topic(name).await?;
        let (channel, caller) = (run.target.channel().await?, run.target.caller());
        opening.spawn(async move {
            let mut readers = Vec::with_capacity(count);
            for _ in 0..count {
                let mut reader = Reader::open(channel.clone(), &caller, &topic, End::Never).await?;
                reader.caught_up().await?;
                readers.push(reader);
            }
            Ok(readers)
        });
    }
    let mut subscribers = JoinSet::new();
    for reader in joined(&mut opening).await?.into_iter().flatten() {
        subscribers.spawn(reader.idle());
    }
    Ok(subscribers)
}
