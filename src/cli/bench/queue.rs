//! `queue` and `queue_keyed`: workers share a backlog and settle every event.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    figures::{Counter, Measured, Run, Verified},
    order::checksum,
    replay::{Filled, fill},
    target::Caller,
    verify::{joined, same},
};
use crate::{
    cli::failure::Failure,
    proto::v1::{self, consumer_service_client::ConsumerServiceClient, event::Payload, subscribe_response::Frame},
};

/// Settlements that each worker has under way.
const SETTLING: usize = 16;
/// A worker that gets nothing for so long has been forgotten.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the workers of one run did.
#[derive(Debug, Default)]
struct Done {
    events: AtomicU64,
    settled: AtomicU64,
    repeated: AtomicU64,
    checksum: AtomicU64,
    /// When everything was settled; the workers notice it at their next frame only.
    at: OnceLock<Instant>,
}

/// One run: events settled a second.
pub(super) async fn run(run: &Run<'_>, name: &str, keyed: bool) -> Result<Measured, Failure> {
    let Filled { topic, content } = fill(run, name, keyed).await?;
    run.target.register_queue(&topic).await?;

    let done = Arc::new(Done::default());
    let measured = content.events.min(run.settings.measured);
    let mut channels = Vec::new();
    for _ in 0..run.settings.workers {
        channels.push(run.target.channel().await?);
    }
    let started = Instant::now();
    let mut workers = JoinSet::new();
    for channel in channels {
        let (client, caller) = (ConsumerServiceClient::new(channel), run.target.caller());
        let progress = run.progress.clone();
        let worker = Worker { client, caller, consumer: topic.clone(), done: done.clone(), progress };
        workers.spawn(worker.work(run.settings.in_flight, measured));
    }
    joined(&mut workers).await?;
    let elapsed = done.at.get().map_or(started.elapsed(), |at| at.duration_since(started));
    let settled = done.settled.load(Ordering::Relaxed);
    let verified = verify(content, &done)?;
    // Else the server would go on looking after it.
    run.target.delete_consumer(&topic).await?;
    Ok(Measured::rate(settled, elapsed, "events/s", verified))
}

/// That each event came once, if all of them were to come.
fn verify(content: Verified, done: &Done) -> Result<Verified, Failure> {
    let (events, repeated) = (done.events.load(Ordering::Relaxed), done.repeated.load(Ordering::Relaxed));
    let found = Verified { events, checksum: done.checksum.load(Ordering::Relaxed) };
    if repeated > 0 {
        return Err(Failure::Local(format!("{repeated} of {events} deliveries brought events again")));
    }
    if events < content.events { Ok(found) } else { same(found, content) }
}

/// One worker.
struct Worker {
    client: ConsumerServiceClient<tonic::transport::Channel>,
    caller: Caller,
    consumer: String,
    done: Arc<Done>,
    progress: Counter,
}

impl Worker {
    /// Takes what it gets and acknowledges each event, until all workers together have settled `all`.
    async fn work(self, in_flight: i32, all: u64) -> Result<(), Failure> {
        let Self { mut client, caller, consumer, done, progress } = self;
        let request = v1::SubscribeRequest {
            from: Some(v1::subscribe_request::From::Consumer(consumer.clone())),
            max_in_flight: in_flight,
            heartbeat_interval: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
            ..Default::default()
        };
        let mut stream = client.subscribe(caller.request(request)).await?.into_inner();
        let room = Arc::new(Semaphore::new(SETTLING));
        let mut settling: JoinSet<Result<(), Failure>> = JoinSet::new();
        let mut last = Instant::now();
        while done.settled.load(Ordering::Relaxed) < all {
            while let Some(settled) = settling.try_join_next() {
                settled.map_err(|error| Failure::Local(error.to_string()))??;
            }
            let frame = stream.message().await?.and_then(|response| response.frame);
            let Some(Frame::Deliveries(batch)) = frame else {
                if last.elapsed() > PATIENCE {
                    return Err(Failure::Local("no events came for a minute".to_owned()));
                }
                continue;
            };
            last = Instant::now();
            progress.add(batch.deliveries.len() as u64);
            let ack = note(&batch, &done);
            let permit = room.clone().acquire_owned().await;
            let (mut client, done) = (client.clone(), done.clone());
            let count = ack.len() as u64;
            let request =
                v1::SettleRequest { consumer: consumer.clone(), lease_id: batch.lease_id, ack, ..Default::default() };
            let request = caller.request(request);
            settling.spawn(async move {
                let response = client.settle(request).await?.into_inner();
                drop(permit);
                let settled = count - response.failures.len() as u64;
                if done.settled.fetch_add(settled, Ordering::Relaxed) + settled >= all {
                    done.at.get_or_init(Instant::now);
                }
                Ok(())
            });
        }
        while let Some(settled) = settling.join_next().await {
            settled.map_err(|error| Failure::Local(error.to_string()))??;
        }
        Ok(())
    }
}

/// Counts what came, and returns the offsets to acknowledge.
fn note(batch: &v1::DeliveryBatch, done: &Done) -> Vec<i64> {
    let mut sum = 0_u64;
    let mut offsets = Vec::with_capacity(batch.deliveries.len());
    for delivery in &batch.deliveries {
        if delivery.attempt != 1 {
            done.repeated.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(event) = &delivery.event {
            offsets.push(event.offset);
            sum = sum.wrapping_add(match &event.payload {
                Some(Payload::Text(text)) => checksum(text.as_bytes()),
                Some(Payload::Data(data)) => checksum(data),
                None => 0,
            });
        }
    }
    done.events.fetch_add(offsets.len() as u64, Ordering::Relaxed);
    done.checksum.fetch_add(sum, Ordering::Relaxed);
    offsets
}
