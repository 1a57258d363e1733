//! Handles every event of a consumer in order, and resumes where it left off: `consumer NAME`.

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use eventflow_examples::{
    Backoff, Server, Service, Stop, fell_silent, is_transient, reason, silence,
    v1::{
        CommitOffsetRequest, Event, EventBatch, Position, Started, SubscribeRequest, SubscribeResponse,
        consumer_service_client::ConsumerServiceClient, event::Payload, subscribe_request::From,
        subscribe_response::Frame,
    },
    with_deadline,
};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until};
use tonic::{Code, Status};

/// How often what was processed is stored at the server.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
const COMMIT_DEADLINE: Duration = Duration::from_secs(5);
/// The last commit does not hold up the end for long.
const LAST_COMMIT_DEADLINE: Duration = Duration::from_secs(2);
const HEARTBEAT: Duration = Duration::from_secs(5);

struct Consumer {
    client: ConsumerServiceClient<Service>,
    name: String,
    stop: Stop,
    backoff: Backoff,
    /// Everything up to here is handled, also if no commit says so yet.
    processed: i64,
    /// Everything up to here is known to be stored.
    committed: i64,
    committed_at: Instant,
    /// Of the newest stream: a commit with another one is refused.
    epoch: i64,
    log_id: String,
}

/// The work itself. What it does should be done once it returns: then the event counts as processed.
fn handle(event: &Event) -> io::Result<()> {
    let payload = match &event.payload {
        Some(Payload::Text(text)) => text.into(),
        Some(Payload::Data(data)) => String::from_utf8_lossy(data),
        None => "".into(),
    };
    writeln!(io::stdout(), "{} {} {payload}", event.offset, event.key)
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let name = std::env::args().nth(1).ok_or("usage: consumer NAME")?;
    let mut consumer = Consumer {
        client: ConsumerServiceClient::new(Server::from_env()?.service()?),
        name,
        stop: Stop::on_signals()?,
        backoff: Backoff::default(),
        processed: 0,
        committed: 0,
        committed_at: Instant::now(),
        epoch: 0,
        log_id: String::new(),
    };
    if let Err(status) = consumer.run().await {
        eprintln!("{}: {}", reason(&status), status.message());
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

impl Consumer {
    /// Follows one stream after the other until a signal comes.
    async fn run(&mut self) -> Result<(), Status> {
        loop {
            let Err(status) = self.stream().await else { break };
            // A fenced consumer lost its place to another stream, or was moved; the next stream says where it is.
            if !is_transient(&status) && reason(&status) != "CONSUMER_FENCED" {
                return Err(status);
            }
            let pause = self.backoff.pause(&status);
            eprintln!("reconnecting in {pause:.1?}: {}", status.message());
            tokio::select! {
                () = sleep(pause) => {}
                () = self.stop.wanted() => break,
            }
        }
        if let Err(status) = self.commit(LAST_COMMIT_DEADLINE).await {
            eprintln!("not committed: {}", status.message());
        }
        Ok(())
    }

    /// Follows one stream until a signal comes, or it breaks.
    async fn stream(&mut self) -> Result<(), Status> {
        let request = SubscribeRequest {
            from: Some(From::Consumer(self.name.clone())),
            // If another stream has the consumer, this one gets it as soon as that one ends.
            wait: true,
            heartbeat_interval: prost_types::Duration::try_from(HEARTBEAT).ok(),
            log_id: self.log_id.clone(),
            ..SubscribeRequest::default()
        };
        let (mut heard, mut patience) = (Instant::now(), silence(HEARTBEAT));
        let mut frames = tokio::select! {
            frames = self.client.subscribe(request) => frames?.into_inner(),
            () = sleep(patience) => return Err(fell_silent()),
            () = self.stop.wanted() => return Ok(()),
        };
        let mut commits = interval_at(Instant::now() + COMMIT_INTERVAL, COMMIT_INTERVAL);
        commits.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let frame = tokio::select! {
                frame = frames.message() => frame?,
                _ = commits.tick() => {
                    self.commit(COMMIT_DEADLINE).await?;
                    continue;
                }
                () = sleep_until(heard + patience) => return Err(fell_silent()),
                // The stream stays open until the caller's commit is done: its end frees the consumer for others.
                () = self.stop.wanted() => return self.commit(LAST_COMMIT_DEADLINE).await,
            };
            let Some(SubscribeResponse { frame }) = frame else {
                return Err(Status::unavailable("the stream is over"));
            };
            match frame {
                Some(Frame::Started(started)) => patience = self.started(started),
                Some(Frame::Batch(batch)) => self.batch(batch).await?,
                Some(Frame::Heartbeat(heartbeat)) if !heartbeat.waiting => self.pass(heartbeat.position),
                // The status that ends the stream follows, and says whether to open the next one.
                Some(Frame::Closing(_)) => self.commit(COMMIT_DEADLINE).await?,
                // The rest says nothing about what is done.
                _ => {}
            }
            heard = Instant::now();
        }
    }

    /// The consumer is ours. Returns how long the stream may be silent.
    fn started(&mut self, started: Started) -> Duration {
        let Started { position, heartbeat_interval, epoch, log_id, .. } = started;
        let start = position.unwrap_or_default().offset;
        // A start before what was stored is a seek: somebody wants those events again.
        self.processed = if start < self.committed { start } else { self.processed.max(start) };
        (self.committed, self.epoch, self.log_id) = (start, epoch, log_id);
        self.backoff.reset();
        silence(heartbeat_interval.and_then(|interval| interval.try_into().ok()).unwrap_or(HEARTBEAT))
    }

    async fn batch(&mut self, batch: EventBatch) -> Result<(), Status> {
        for event in batch.events {
            // What was processed and not committed when the last stream broke comes again.
            if event.offset <= self.processed {
                continue;
            }
            if self.stop.is_wanted() {
                return Ok(());
            }
            handle(&event).map_err(|error| Status::internal(format!("event {}: {error}", event.offset)))?;
            self.processed = event.offset;
            if self.committed_at.elapsed() >= COMMIT_INTERVAL {
                self.commit(COMMIT_DEADLINE).await?;
            }
        }
        self.pass(batch.position);
        Ok(())
    }

    /// Everything up to this position is handled, or left out by the consumer's filter.
    fn pass(&mut self, position: Option<Position>) {
        self.processed = self.processed.max(position.unwrap_or_default().offset);
    }

    /// Stores what was processed, if something is new. While the server is away that is left to the next commit.
    async fn commit(&mut self, deadline: Duration) -> Result<(), Status> {
        self.committed_at = Instant::now();
        let offset = self.processed;
        if offset <= self.committed {
            return Ok(());
        }
        let message = CommitOffsetRequest { consumer: self.name.clone(), offset, epoch: self.epoch };
        match self.client.commit_offset(with_deadline(message, deadline)).await {
            Ok(_) => self.committed = offset,
            Err(status) if is_transient(&status) || status.code() == Code::DeadlineExceeded => {
                eprintln!("not committed: {}", status.message());
            }
            Err(status) => return Err(status),
        }
        Ok(())
    }
}
