//! Telling the server what became of deliveries, many in one call.

use std::{collections::HashMap, time::Duration};

use eventflow_examples::{
    Backoff, Service, Stop, is_transient, reason,
    v1::{Nack, SettleRequest, SettleResponse, consumer_service_client::ConsumerServiceClient, settle_failure::Cause},
    with_deadline,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep},
};
use tonic::{Code, Status};

/// How long one waits for others to be told of in the same call.
const GATHER: Duration = Duration::from_millis(50);
const DEADLINE: Duration = Duration::from_secs(5);
/// How long it is tried after the signal to stop, so that a server that is away does not hold up the end.
const LAST: Duration = Duration::from_secs(2);
/// Words that wait; beyond them whoever has one waits too.
const WAITING: usize = 1_000;

/// What the server is told of a delivery.
pub(crate) enum What {
    Ack,
    Nack(String),
    Extend,
}

/// What the server said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Settled,
    /// The lease was over.
    Lost,
    /// It could not be told; the lease will run out.
    NotTold,
}

struct Word {
    lease: String,
    offset: i64,
    what: What,
    answer: oneshot::Sender<Answer>,
}

/// Where deliveries are settled.
#[derive(Clone)]
pub(crate) struct Settler {
    words: mpsc::Sender<Word>,
}

impl Settler {
    pub(crate) fn start(client: ConsumerServiceClient<Service>, consumer: String, stop: Stop) -> Self {
        let (words, received) = mpsc::channel(WAITING);
        tokio::spawn(Telling { client, consumer, stop, backoff: Backoff::default() }.run(received));
        Self { words }
    }

    /// Waits until the server has answered. Cancelling it before may or may not tell.
    pub(crate) async fn settle(&self, lease: &str, offset: i64, what: What) -> Answer {
        let (answer, answered) = oneshot::channel();
        let word = Word { lease: lease.to_owned(), offset, what, answer };
        if self.words.send(word).await.is_err() {
            return Answer::NotTold;
        }
        answered.await.unwrap_or(Answer::NotTold)
    }
}

struct Telling {
    client: ConsumerServiceClient<Service>,
    consumer: String,
    stop: Stop,
    backoff: Backoff,
}

impl Telling {
    async fn run(mut self, mut received: mpsc::Receiver<Word>) {
        while let Some(first) = received.recv().await {
            sleep(GATHER).await;
            let mut leases: HashMap<String, Vec<Word>> = HashMap::new();
            let mut next = Some(first);
            while let Some(word) = next {
                // Nobody waits for it any more: the work ended before it got more time. No offset may occur twice.
                if !word.answer.is_closed() {
                    leases.entry(word.lease.clone()).or_default().push(word);
                }
                next = received.try_recv().ok();
            }
            for (lease, words) in leases {
                self.tell(lease, words).await;
            }
        }
    }

    /// One call, repeated while the server is away. Settling again changes nothing.
    async fn tell(&mut self, lease_id: String, words: Vec<Word>) {
        let mut request = SettleRequest { consumer: self.consumer.clone(), lease_id, ..SettleRequest::default() };
        for Word { offset, what, .. } in &words {
            match what {
                What::Ack => request.ack.push(*offset),
                What::Nack(error) => {
                    request.nack.push(Nack { offset: *offset, error: error.clone(), ..Nack::default() });
                }
                What::Extend => request.extend.push(*offset),
            }
        }
        let lost = self.lost(request).await;
        for Word { offset, answer, .. } in words {
            let said = match &lost {
                Ok(lost) if lost.contains(&offset) => Answer::Lost,
                Ok(_) => Answer::Settled,
                Err(_) => Answer::NotTold,
            };
            // Whoever does not wait any more needs no answer.
            let _ = answer.send(said);
        }
        if let Err(status) = lost {
            eprintln!("not settled: {}: {}", reason(&status), status.message());
        }
    }

    /// Offsets that are leased no more.
    async fn lost(&mut self, request: SettleRequest) -> Result<Vec<i64>, Status> {
        let began = Instant::now();
        loop {
            let status = match self.client.settle(with_deadline(request.clone(), DEADLINE)).await {
                Ok(answer) => {
                    self.backoff.reset();
                    let SettleResponse { failures, .. } = answer.into_inner();
                    // An earlier call may have settled it whose answer was lost.
                    let lost = failures.into_iter().filter(|failure| failure.cause() != Cause::AlreadySettled);
                    return Ok(lost.map(|failure| failure.offset).collect());
                }
                Err(status) => status,
            };
            let is_late = self.stop.is_wanted() && began.elapsed() >= LAST;
            if is_late || !is_transient(&status) && status.code() != Code::DeadlineExceeded {
                return Err(status);
            }
            let pause = self.backoff.pause(&status);
            let stopping = self.stop.is_wanted();
            tokio::select! {
                () = sleep(if stopping { pause.min(LAST / 4) } else { pause }) => {}
                () = self.stop.wanted(), if !stopping => {}
            }
        }
    }
}
