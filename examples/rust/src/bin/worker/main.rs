//! Works on the events of a queue, up to eight at once, and settles each by itself: `worker NAME`.

mod settler;

use std::{
    collections::HashMap,
    error::Error,
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use eventflow_examples::{
    Backoff, Server, Service, Stop, fell_silent, is_transient, reason, silence,
    v1::{
        Delivery, DeliveryBatch, Event, SubscribeRequest, SubscribeResponse,
        consumer_service_client::ConsumerServiceClient, event::Payload, subscribe_request::From,
        subscribe_response::Frame,
    },
};
use settler::{Answer, Settler, What};
use tokio::{
    sync::{Mutex, Semaphore},
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tonic::Status;

/// Events that are worked on at once.
const CONCURRENCY: u16 = 8;
const HEARTBEAT: Duration = Duration::from_secs(5);

struct Worker {
    client: ConsumerServiceClient<Service>,
    name: String,
    stop: Stop,
    backoff: Backoff,
    settler: Settler,
    /// Deliveries that are being worked on, or wait for their turn.
    tasks: JoinSet<()>,
    permits: Arc<Semaphore>,
    /// Held while an event of the key is worked on. The server never leases two of a key together; but when a lease
    /// was lost, the event may come again while the earlier attempt has not ended here.
    turns: HashMap<String, Arc<Mutex<()>>>,
}

/// The work itself, at least once for each event. An error makes it come again, after the consumer's backoff.
async fn handle(event: &Event, attempt: i32) -> Result<(), String> {
    let Some(Payload::Text(text)) = &event.payload else { return Err("no text".to_owned()) };
    let order: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if let Some(seconds) = order.get("seconds").and_then(serde_json::Value::as_f64) {
        sleep(Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?).await;
    }
    match order.get("failures").and_then(serde_json::Value::as_i64) {
        Some(failures) if failures >= attempt.into() => Err(format!("failure {attempt} of {failures}")),
        _ => Ok(()),
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let name = std::env::args().nth(1).ok_or("usage: worker NAME")?;
    let client = ConsumerServiceClient::new(Server::from_env()?.service()?);
    let stop = Stop::on_signals()?;
    let mut worker = Worker {
        settler: Settler::start(client.clone(), name.clone(), stop.clone()),
        client,
        name,
        stop,
        backoff: Backoff::default(),
        tasks: JoinSet::new(),
        permits: Arc::new(Semaphore::new(CONCURRENCY.into())),
        turns: HashMap::new(),
    };
    let result = worker.run().await;
    // What was begun is finished and settled, whyever it ends.
    while worker.tasks.join_next().await.is_some() {}
    if let Err(status) = result {
        eprintln!("{}: {}", reason(&status), status.message());
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

impl Worker {
    /// Follows one stream after the other until a signal comes.
    async fn run(&mut self) -> Result<(), Status> {
        loop {
            let Err(status) = self.stream().await else { return Ok(()) };
            if self.stop.is_wanted() {
                return Ok(());
            }
            if !is_transient(&status) {
                return Err(status);
            }
            let pause = self.backoff.pause(&status);
            eprintln!("reconnecting in {pause:.1?}: {}", status.message());
            tokio::select! {
                () = sleep(pause) => {}
                () = self.stop.wanted() => return Ok(()),
            }
        }
    }

    /// Follows one stream until it breaks, or a signal came and everything begun is settled. Until then it stays
    /// open: when the client ends it, the server gives what is leased to others.
    async fn stream(&mut self) -> Result<(), Status> {
        let request = SubscribeRequest {
            from: Some(From::Consumer(self.name.clone())),
            max_in_flight: CONCURRENCY.into(),
            heartbeat_interval: prost_types::Duration::try_from(HEARTBEAT).ok(),
            ..SubscribeRequest::default()
        };
        let (mut heard, mut patience) = (Instant::now(), silence(HEARTBEAT));
        let mut frames = tokio::select! {
            frames = self.client.subscribe(request) => frames?.into_inner(),
            () = sleep(patience) => return Err(fell_silent()),
            () = self.stop.wanted() => return Ok(()),
        };
        let mut stopping = false;
        loop {
            if stopping && self.tasks.is_empty() {
                return Ok(());
            }
            let frame = tokio::select! {
                frame = frames.message() => frame?,
                Some(_) = self.tasks.join_next() => continue,
                () = sleep_until(heard + patience) => return Err(fell_silent()),
                () = self.stop.wanted(), if !stopping => {
                    stopping = true;
                    continue;
                }
            };
            heard = Instant::now();
            let Some(SubscribeResponse { frame }) = frame else {
                return Err(Status::unavailable("the stream is over"));
            };
            match frame {
                Some(Frame::Started(started)) => {
                    self.backoff.reset();
                    let interval = started.heartbeat_interval.and_then(|interval| interval.try_into().ok());
                    patience = silence(interval.unwrap_or(HEARTBEAT));
                }
                // What comes after the signal goes back with the end of the stream.
                Some(Frame::Deliveries(batch)) if !stopping => self.begin(batch),
                // After Closing comes the status that ends the stream. What is leased stays so, and is settled while
                // the next stream is open.
                _ => {}
            }
        }
    }

    fn begin(&mut self, batch: DeliveryBatch) {
        let DeliveryBatch { lease_id, lease_remaining, deliveries } = batch;
        let period: Duration = lease_remaining.and_then(|left| left.try_into().ok()).unwrap_or_default();
        self.turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        for Delivery { event, attempt } in deliveries {
            let Some(event) = event else { continue };
            let (lease, settler, permits) = (lease_id.clone(), self.settler.clone(), self.permits.clone());
            let turn = match event.key.as_str() {
                "" => format!("event {}", event.offset),
                key => format!("key {key}"),
            };
            let turn = self.turns.entry(turn).or_default().clone();
            self.tasks.spawn(async move {
                let work = async {
                    let _turn = turn.lock().await;
                    let _permit = permits.acquire().await;
                    handle(&event, attempt).await
                };
                let result = tokio::select! {
                    result = work => result,
                    () = keep_leased(&settler, &lease, event.offset, period / 3) => {
                        return eprintln!("{} is leased to others: left undone", event.offset);
                    }
                };
                settle(&settler, &lease, &event, attempt, result).await;
            });
        }
    }
}

/// Asks for more time while work goes on. Returns when the lease is lost.
async fn keep_leased(settler: &Settler, lease: &str, offset: i64, interval: Duration) {
    loop {
        sleep(interval).await;
        if settler.settle(lease, offset, What::Extend).await == Answer::Lost {
            return;
        }
    }
}

async fn settle(settler: &Settler, lease: &str, event: &Event, attempt: i32, result: Result<(), String>) {
    let Event { offset, key, .. } = event;
    let what = match &result {
        Ok(()) => What::Ack,
        Err(error) => What::Nack(error.clone()),
    };
    match (settler.settle(lease, *offset, what).await, result) {
        (Answer::Settled, Ok(())) => {
            if let Err(error) = writeln!(io::stdout(), "{offset} {attempt} {key}") {
                eprintln!("standard output: {error}");
            }
        }
        (Answer::Settled, Err(error)) => eprintln!("{offset} failed, attempt {attempt}: {error}"),
        (Answer::Lost, _) => eprintln!("{offset} was settled too late, and comes again"),
        (Answer::NotTold, _) => eprintln!("{offset} comes again: the server could not be told of it"),
    }
}
