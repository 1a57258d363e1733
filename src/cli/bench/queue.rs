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
    Settings, Verified,
    order::checksum,
    target::{Caller, Scratch, Target},
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
pub(super) async fn run(target: &Target<'_>, settings: &Settings, keyed: bool) -> Result<(f64, Verified), Failure> {
    let workload = if keyed { "queue_keyed" } else { "queue" };
    let topic = target.fill(workload, settings.events, keyed).await?;
    let consumer = v1::Consumer {
        name: topic.name.clone(),
        topic: topic.name.clone(),
        mode: v1::Mode::Queue.into(),
        max_in_flight: 100_000,
        ..Default::default()
    };
    let request = v1::RegisterConsumerRequest { consumer: Some(consumer), if_not_exists: false };
    ConsumerServiceClient::new(target.channel()).register_consumer(target.caller().request(request)).await?;

    let done = Arc::new(Done::default());
    let measured = topic.events.min(settings.measured);
    let started = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..settings.workers {
        let client = ConsumerServiceClient::new(target.channel());
        let worker = Worker { client, caller: target.caller(), consumer: topic.name.clone(), done: done.clone() };
        workers.spawn(worker.work(settings.in_flight, measured));
    }
    while let Some(worker) = workers.join_next().await {
        worker.map_err(|error| Failure::Local(error.to_string()))??;
    }
    let elapsed = done.at.get().map_or(started.elapsed(), |at| at.duration_since(started));
    let settled = done.settled.load(Ordering::Relaxed);
    let verified = verify(&topic, &done)?;
    target.remove(&topic, Some(&topic.name)).await?;
    Ok((settled as f64 / elapsed.as_secs_f64(), verified))
}

/// That each event came once, if all of them were to come.
fn verify(topic: &Scratch, done: &Done) -> Result<Verified, Failure> {
    let (events, repeated) = (done.events.load(Ordering::Relaxed), done.repeated.load(Ordering::Relaxed));
    let sum = done.checksum.load(Ordering::Relaxed);
    let whole = events == topic.events;
    if repeated > 0 || whole && sum != topic.checksum || events > topic.events {
        return Err(Failure::Local(format!(
            "{events} of {} events came, {repeated} of them again, with the checksum {sum:016x} for {:016x}",
            topic.events, topic.checksum
        )));
    }
    Ok(Verified { events, checksum: sum })
}

/// One worker.
struct Worker {
    client: ConsumerServiceClient<tonic::transport::Channel>,
    caller: Caller,
    consumer: String,
    done: Arc<Done>,
}

impl Worker {
    /// Takes what it gets and acknowledges each event, until all workers together have settled `all`.
    async fn work(self, in_flight: i32, all: u64) -> Result<(), Failure> {
        let Self { mut client, caller, consumer, done } = self;
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
