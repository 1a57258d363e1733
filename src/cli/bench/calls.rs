//! `publish_unary`, `publish_single` and `rpc_empty`: callers that wait for each answer.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::{
    Settings,
    figures::{Counter, Figure, Measured, Run, Verified, histogram, micros, nanos},
    lane::Acknowledged,
    load::{Dress, Load},
    target::Caller,
    verify::{joined, read_back},
};
use crate::{
    cli::failure::Failure,
    proto::v1::{
        GetCallerRequest, PublishRequest, auth_service_client::AuthServiceClient,
        event_service_client::EventServiceClient,
    },
};

/// What one caller did: how long each call took in nanoseconds, and what was acknowledged.
type Called = (Vec<u64>, Acknowledged);

/// `publish_unary`: events a second of many callers.
pub(super) async fn unary(run: &Run<'_>, name: &str) -> Result<Measured, Failure> {
    let published = publish(run, name, run.settings.callers, run.settings.connections).await?;
    let (elapsed, times, verified) = published;
    let mut measured = Measured::rate(verified.events, elapsed, "events/s", verified);
    measured.latencies = Some(histogram(times)?);
    Ok(measured)
}

/// `publish_single`: how long one caller waits.
pub(super) async fn single(run: &Run<'_>, name: &str) -> Result<Measured, Failure> {
    let (_, times, verified) = publish(run, name, 1, 1).await?;
    Ok(Measured::latencies(histogram(times)?, verified))
}

/// `rpc_empty`: calls a second of as many callers, and how long one alone waits.
pub(super) async fn empty(run: &Run<'_>) -> Result<Measured, Failure> {
    let Settings { events, callers, connections, .. } = *run.settings;
    let channels = channels(run, connections.min(callers)).await?;
    let mut tasks = JoinSet::new();
    let started = Instant::now();
    for caller in 0..callers {
        let count = events * (caller as u64 + 1) / callers as u64 - events * caller as u64 / callers as u64;
        let client = AuthServiceClient::new(channels[caller % channels.len()].clone());
        tasks.spawn(call(client, run.target.caller(), count, run.progress.clone()));
    }
    let many = joined(&mut tasks).await?.concat();
    let elapsed = started.elapsed();
    let alone = AuthServiceClient::new(channels[0].clone());
    let alone = call(alone, run.target.caller(), (events / callers as u64).max(1), Counter::default()).await?;
    let verified = Verified { events: many.len() as u64, checksum: 0 };
    let mut measured = Measured::rate(events, elapsed, "calls/s", verified);
    let value = micros(&histogram(alone)?, 0.50);
    measured.figures.push(Figure { part: "p50", value, unit: "us" });
    measured.latencies = Some(histogram(many)?);
    Ok(measured)
}

async fn call(
    mut client: AuthServiceClient<Channel>,
    caller: Caller,
    count: u64,
    progress: Counter,
) -> Result<Vec<u64>, Failure> {
    let mut times = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let started = Instant::now();
        client.get_caller(caller.request(GetCallerRequest {})).await?;
        times.push(nanos(started.elapsed()));
        progress.add(1);
    }
    Ok(times)
}

/// Publishes by callers that share connections; says how long it took, in all and each time.
async fn publish(
    run: &Run<'_>,
    name: &str,
    callers: usize,
    connections: usize,
) -> Result<(Duration, Vec<u64>, Verified), Failure> {
    let topics = [run.target.create_topic(name).await?];
    let load = Load::new(run.settings.events, callers, Dress::PLAIN, &topics, 1);
    let expected = Verified { events: load.events, checksum: load.checksum };
    let channels = channels(run, connections.min(callers)).await?;
    let mut tasks = JoinSet::new();
    let started = Instant::now();
    for (index, share) in load.shares.into_iter().enumerate() {
        let client = EventServiceClient::new(channels[index % channels.len()].clone());
        let (capacity, requests) = (share.len(), share.into_requests());
        tasks.spawn(publish_each(client, run.target.caller(), requests, capacity, run.progress.clone()));
    }
    let (times, acknowledged): (Vec<_>, Vec<_>) = joined(&mut tasks).await?.into_iter().unzip();
    let elapsed = started.elapsed();
    let verified = read_back(run, &topics, &acknowledged.concat(), expected).await?;
    Ok((elapsed, times.concat(), verified))
}

async fn publish_each(
    mut client: EventServiceClient<Channel>,
    caller: Caller,
    requests: impl Iterator<Item = PublishRequest>,
    capacity: usize,
    progress: Counter,
) -> Result<Called, Failure> {
    let (mut times, mut acknowledged) = (Vec::with_capacity(capacity), Acknowledged::with_capacity(capacity));
    for request in requests {
        let started = Instant::now();
        let response = client.publish(caller.request(request)).await?.into_inner();
        times.push(nanos(started.elapsed()));
        acknowledged.extend(response.published.iter().map(|event| (0, event.offset)));
        progress.add(1);
    }
    Ok((times, acknowledged))
}

/// Open connections, of which there is at least one.
async fn channels(run: &Run<'_>, count: usize) -> Result<Vec<Channel>, Failure> {
    let mut channels = Vec::with_capacity(count);
    for _ in 0..count.max(1) {
        channels.push(run.target.channel().await?);
    }
    Ok(channels)
}
