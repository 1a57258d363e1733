//! Publishes one event for each line of standard input, and survives restarts of the server: `producer TOPIC`.

use std::{
    collections::VecDeque,
    error::Error,
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use eventflow_examples::{
    Backoff, Server, Service, Stop, is_transient, reason,
    v1::{
        NewEvent, PublishError, PublishRequest, PublishResponse, PublishStreamRequest, PublishStreamResponse,
        event_service_client::EventServiceClient, new_event::Payload, publish_stream_response::Result as Outcome,
    },
};
use prost::Message;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

/// Requests that are sent ahead of their answers.
const AHEAD: usize = 256;
/// It is given up when nothing was acknowledged for so long.
const PATIENCE: Duration = Duration::from_secs(60);

struct Producer {
    client: EventServiceClient<Service>,
    topic: String,
    lines: mpsc::Receiver<Result<NewEvent, String>>,
    stop: Stop,
    /// There may be more lines, and they are wanted.
    reading: bool,
    /// Everything that was sent and not answered, in its order. After a broken stream it is sent again: the events
    /// have ids, so that none is recorded twice.
    unanswered: VecDeque<PublishStreamRequest>,
    sequence: i64,
    /// When the last answer came, or the first request was sent that waits for one.
    progress: Instant,
    backoff: Backoff,
    /// Something was refused for good.
    refused: bool,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let topic = std::env::args().nth(1).ok_or("usage: producer TOPIC")?;
    let (sender, lines) = mpsc::channel(AHEAD);
    // A thread of its own, which ends with the process: such reads cannot be cancelled.
    std::thread::spawn(move || read_lines(&sender));
    let mut producer = Producer {
        client: EventServiceClient::new(Server::from_env()?.service()?),
        topic,
        lines,
        stop: Stop::on_signals()?,
        reading: true,
        unanswered: VecDeque::new(),
        sequence: 0,
        progress: Instant::now(),
        backoff: Backoff::default(),
        refused: false,
    };
    if let Err(status) = producer.run().await {
        let unanswered = producer.unanswered.len();
        eprintln!("gave up, with {unanswered} unanswered: {}: {}", reason(&status), status.message());
        return Ok(ExitCode::FAILURE);
    }
    Ok(if producer.refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn read_lines(sender: &mpsc::Sender<Result<NewEvent, String>>) {
    for line in io::stdin().lines() {
        let event = line.map_err(|error| error.to_string()).and_then(event);
        if sender.blocking_send(event).is_err() {
            return;
        }
    }
}

/// The event of a line such as `{"order":17,"customer":"ada"}`. It gets its id here, once, and keeps it.
fn event(line: String) -> Result<NewEvent, String> {
    let order: serde_json::Value = serde_json::from_str(&line).map_err(|error| format!("{error}: {line}"))?;
    let customer = order.get("customer").filter(|_| order.get("order").is_some());
    let customer = customer.ok_or_else(|| format!("no order of a customer: {line}"))?;
    Ok(NewEvent {
        r#type: "order.placed".to_owned(),
        // Events of one customer keep their order.
        key: customer.as_str().map_or_else(|| customer.to_string(), str::to_owned),
        id: uuid::Uuid::now_v7().to_string(),
        payload: Some(Payload::Text(line)),
        ..NewEvent::default()
    })
}

impl Producer {
    /// Publishes until the input ends or a signal comes, and everything is answered.
    async fn run(&mut self) -> Result<(), Status> {
        loop {
            // No stream is opened for nothing: the next line may be long in coming.
            while self.unanswered.is_empty() {
                if !self.reading {
                    return Ok(());
                }
                tokio::select! {
                    line = self.lines.recv() => self.take(line),
                    () = self.stop.wanted() => self.reading = false,
                }
            }
            let Err(status) = self.stream().await else { continue };
            // After PREDECESSOR_FAILED the requests are repeated in their order on a new stream.
            if !is_transient(&status) && reason(&status) != "PREDECESSOR_FAILED" {
                return Err(status);
            }
            let pause = self.backoff.pause(&status);
            if !self.unanswered.is_empty() && Instant::now() + pause > self.progress + PATIENCE {
                return Err(status);
            }
            eprintln!("reconnecting in {pause:.1?}: {}", status.message());
            sleep(pause).await;
        }
    }

    /// Follows one stream until everything is answered, or it breaks.
    async fn stream(&mut self) -> Result<(), Status> {
        // There is always room for as many as may be unanswered.
        let (sender, requests) = mpsc::channel(AHEAD);
        for request in &self.unanswered {
            send(&sender, request);
        }
        let opening = self.client.publish_stream(ReceiverStream::new(requests));
        let opened = timeout_at(self.progress + PATIENCE, opening).await;
        let mut responses = opened.map_err(|_| Status::deadline_exceeded("the server does not answer"))??.into_inner();
        let mut sender = Some(sender);
        loop {
            if !self.reading {
                // This closes our side. The server answers what it has, and ends the stream.
                sender = None;
            }
            let (has_room, waits) = (self.unanswered.len() < AHEAD, !self.unanswered.is_empty());
            tokio::select! {
                response = responses.message() => match response? {
                    // The stream ends soon, and its status will say why.
                    Some(PublishStreamResponse { result: Some(Outcome::Closing(_)), .. }) => sender = None,
                    Some(response) => self.answered(response)?,
                    None if waits => return Err(Status::unavailable("the stream ended before its answers")),
                    None => return Ok(()),
                },
                line = self.lines.recv(), if self.reading && sender.is_some() && has_room => {
                    let before = self.unanswered.len();
                    self.take(line);
                    if let (Some(sender), Some(request)) = (&sender, self.unanswered.get(before)) {
                        send(sender, request);
                    }
                }
                () = self.stop.wanted(), if self.reading => self.reading = false,
                () = sleep_until(self.progress + PATIENCE), if waits => {
                    return Err(Status::deadline_exceeded("the server does not answer"));
                }
            }
        }
    }

    /// Takes a line in, to be sent.
    fn take(&mut self, line: Option<Result<NewEvent, String>>) {
        match line {
            None => self.reading = false,
            Some(Err(error)) => self.refuse(&error),
            Some(Ok(event)) => {
                if self.unanswered.is_empty() {
                    self.progress = Instant::now();
                }
                self.sequence += 1;
                // With more throughput in mind, put all the lines that are there into one request.
                let publish =
                    PublishRequest { topic: self.topic.clone(), events: vec![event], ..PublishRequest::default() };
                self.unanswered.push_back(PublishStreamRequest { sequence: self.sequence, publish: Some(publish) });
            }
        }
    }

    /// Handles the answer to the oldest request: answers come in the order of the requests.
    fn answered(&mut self, response: PublishStreamResponse) -> Result<(), Status> {
        let PublishStreamResponse { sequence, result } = response;
        if self.unanswered.front().is_none_or(|oldest| oldest.sequence != sequence) {
            return Err(Status::internal(format!("the answer to {sequence} is out of turn")));
        }
        match result {
            Some(Outcome::Published(PublishResponse { published })) => {
                for event in published {
                    print(&format!("{} {}", event.offset, event.id))?;
                }
            }
            Some(Outcome::Error(error)) => {
                let status = status(error);
                if is_transient(&status) || reason(&status) == "PREDECESSOR_FAILED" {
                    return Err(status);
                }
                self.refuse(status.message());
            }
            // Of a kind that this program does not know.
            Some(Outcome::Closing(_)) | None => return Ok(()),
        }
        self.unanswered.pop_front();
        self.progress = Instant::now();
        self.backoff.reset();
        Ok(())
    }

    fn refuse(&mut self, why: &str) {
        eprintln!("refused: {why}");
        self.refused = true;
    }
}

/// Nobody takes it from a stream that has ended; the stream's status says so.
fn send(sender: &mpsc::Sender<PublishStreamRequest>, request: &PublishStreamRequest) {
    let _ = sender.try_send(request.clone());
}

fn print(line: &str) -> Result<(), Status> {
    writeln!(io::stdout(), "{line}").map_err(|error| Status::internal(format!("standard output: {error}")))
}

/// The error of one request, which is laid out like a status, as one.
fn status(error: PublishError) -> Status {
    let PublishError { code, message, details } = error;
    let whole = tonic_types::Status { code, message: message.clone(), details };
    Status::with_details(Code::from_i32(code), message, whole.encode_to_vec().into())
}
