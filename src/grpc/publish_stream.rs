//! `PublishStream`: requests are read and submitted by a task, responses are pulled by the client.
//!
//! The task goes on submitting while the client does not read, so that a stream never waits for room in
//! a queue with nobody to take it; but it reads no more than may be unanswered, so that a client that
//! never reads costs no more than that. It ends with the stream: when the client has left, when nothing
//! more comes, or when the stream must end.
//!
//! Requests that have come when the task looks make up a run: it is submitted at once, so that a busy stream costs
//! one look at the credential, at the topic and at the queue for many requests.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    vec,
};

use futures::{FutureExt, Stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tonic::{Status, Streaming};
use tracing::{Instrument, error};

use super::{
    call::Call,
    convert::{self, Pipelined},
    reason::Reason,
    status::Problem,
};
use crate::{
    broker::{ClosingReason, Publish, PublishLife, PublishStream, PublishStreamError, StreamRoom, Submitted},
    domain::TopicName,
    proto::v1::{PublishStreamRequest, PublishStreamResponse},
    shutdown::Shutdown,
};

/// As much as a semaphore and a channel can count.
const CAPACITY_MAX: usize = Semaphore::MAX_PERMITS - 1;
/// Requests of a run: enough for the costs of a run to vanish, and few enough for the appender to begin soon.
const RUN: usize = 256;

/// What the client is told next, in the order of its requests.
enum Item {
    /// Requests that were submitted, or refused at once.
    Run(Run),
    /// The stream ends, since it must.
    Closing(ClosingReason, PublishStreamError),
    /// The stream ends, since the client has nothing more to send, or what came was not a request.
    Over(Option<Status>),
}

/// Requests that came together, with the sequence of each.
struct Run {
    next: Option<(i64, Result<Submitted, Status>)>,
    others: vec::IntoIter<(i64, Result<Submitted, Status>)>,
    _room: Room,
}

/// Room for a run, until all of it is answered.
struct Room {
    _requests: Option<OwnedSemaphorePermit>,
    _bytes: Option<OwnedSemaphorePermit>,
}

/// The responses of a stream; the task that reads its requests belongs to `shutdown`.
pub(super) fn responses(
    shutdown: &Shutdown,
    (stream, life, stream_room): (PublishStream, PublishLife, StreamRoom),
    requests: Streaming<PublishStreamRequest>,
    call: Call,
) -> impl Stream<Item = Result<PublishStreamResponse, Status>> + Send + use<> {
    let (most_requests, most_bytes) = stream.capacity();
    let (most_requests, most_bytes) = (most_requests.min(CAPACITY_MAX), most_bytes.min(CAPACITY_MAX));
    // Each run has room for a request before it comes here, and what ends the stream comes once: it never fills up.
    let (items, received) = mpsc::channel(most_requests + 1);
    let reader = Reader {
        stream,
        requests,
        call: call.clone(),
        topic: None,
        room: Arc::new(Semaphore::new(most_requests)),
        bytes: Arc::new(Semaphore::new(most_bytes)),
        most_bytes,
        held: None,
    };
    shutdown.spawn(reader.run(life, items).in_current_span());
    Responses { phase: Phase::Open(received), run: None, call, _stream_room: stream_room }
}

/// What the client pulls.
struct Responses {
    phase: Phase,
    run: Option<Run>,
    call: Call,
    /// Kept for as long as the client may read.
    _stream_room: StreamRoom,
}

/// Where the responses are.
enum Phase {
    Open(mpsc::Receiver<Item>),
    /// Closing was sent.
    Closing(Status),
    Over,
}

impl Stream for Responses {
    type Item = Result<PublishStreamResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(run) = &mut this.run {
                match ready!(run.poll_next(cx, &this.call)) {
                    Some(response) => return Poll::Ready(Some(Ok(response))),
                    None => this.run = None,
                }
            }
            let Phase::Open(items) = &mut this.phase else {
                return Poll::Ready(match std::mem::replace(&mut this.phase, Phase::Over) {
                    Phase::Closing(status) => Some(Err(status)),
                    Phase::Open(_) | Phase::Over => None,
                });
            };
            let (last, phase) = match ready!(items.poll_recv(cx)) {
                Some(Item::Run(run)) => {
                    this.run = Some(run);
                    continue;
                }
                Some(Item::Closing(reason, error)) => {
                    (Some(Ok(convert::closing(reason))), Phase::Closing(Problem::from(error).into()))
                }
                Some(Item::Over(failure)) => (failure.map(Err), Phase::Over),
                None => {
                    error!("a publishing stream lost the task that reads it");
                    let problem = Problem::new(Reason::Internal, "the server failed; report it with the request id");
                    (Some(Err(problem.into())), Phase::Over)
                }
            };
            this.phase = phase;
            return Poll::Ready(last);
        }
    }
}

impl Run {
    fn poll_next(&mut self, cx: &mut Context<'_>, call: &Call) -> Poll<Option<PublishStreamResponse>> {
        let result = match &mut self.next {
            None => return Poll::Ready(None),
            Some((_, Ok(submitted))) => Ok(ready!(Pin::new(submitted).poll(cx))),
            Some((_, Err(refusal))) => Err(refusal.clone()),
        };
        let answered = std::mem::replace(&mut self.next, self.others.next());
        Poll::Ready(answered.map(|(sequence, _)| convert::answer(sequence, result, call)))
    }
}

/// Reads a stream's requests and submits them, one run after the other.
struct Reader {
    stream: PublishStream,
    requests: Streaming<PublishStreamRequest>,
    call: Call,
    /// Where the last request went.
    topic: Option<TopicName>,
    room: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    /// Room in `bytes` when nothing is unanswered.
    most_bytes: usize,
    /// A request that was read and found no room in a run.
    held: Option<(Pipelined, Option<OwnedSemaphorePermit>)>,
}

/// Requests that have come.
struct Incoming {
    requests: Vec<Pipelined>,
    /// Room for so many.
    room: Option<OwnedSemaphorePermit>,
    /// What they and their answers take.
    bytes: usize,
    /// Nothing comes after them; and why, if that is a failure.
    last: Option<Option<Status>>,
}

impl Reader {
    async fn run(mut self, mut life: PublishLife, items: mpsc::Sender<Item>) {
        let last = self.read(&mut life, &items).await;
        // An error means that the client has left.
        let _ = items.send(last).await;
    }

    /// Submits what comes, until the stream ends; says how.
    async fn read(&mut self, life: &mut PublishLife, items: &mpsc::Sender<Item>) -> Item {
        let (mut left, mut over) = (pin!(items.closed()), pin!(life.over()));
        loop {
            let incoming = tokio::select! {
                biased;
                () = &mut left => return Item::Over(None),
                (reason, error) = &mut over => return Item::Closing(reason, error),
                incoming = self.next_run() => incoming,
            };
            // Without room for its bytes it is not submitted, so that it need not be answered.
            let bytes = tokio::select! {
                biased;
                () = &mut left => return Item::Over(None),
                (reason, error) = &mut over => return Item::Closing(reason, error),
                bytes = take(&self.bytes, incoming.bytes.min(self.most_bytes)) => bytes,
            };
            let Incoming { requests, room, last, .. } = incoming;
            let (publishes, sequences) = sorted(requests);
            let submitted = tokio::select! {
                biased;
                () = &mut left => return Item::Over(None),
                submitted = self.stream.submit(publishes) => match submitted {
                    Ok(submitted) => submitted,
                    Err((reason, error)) => return Item::Closing(reason, error),
                },
            };
            let run = Run::new(sequences, submitted, Room { _requests: room, _bytes: bytes });
            if items.send(Item::Run(run)).await.is_err() {
                return Item::Over(None);
            }
            if let Some(failure) = last {
                return Item::Over(failure);
            }
        }
    }

    /// The requests that are there and have room together, or else one; waits for it. Cancelling it loses nothing.
    async fn next_run(&mut self) -> Incoming {
        let mut incoming = match self.held.take() {
            Some((request, room)) => Incoming { bytes: request.bytes, requests: vec![request], room, last: None },
            None => self.next_request().await,
        };
        while incoming.last.is_none() && incoming.requests.len() < RUN {
            // Neither semaphore is ever closed.
            if incoming.bytes >= self.bytes.available_permits() {
                break;
            }
            let Ok(room) = self.room.clone().try_acquire_owned() else { break };
            let Some(message) = self.requests.message().now_or_never() else { break };
            match self.checked(message) {
                Ok(request) if incoming.bytes + request.bytes > self.bytes.available_permits() => {
                    self.held = Some((request, Some(room)));
                    break;
                }
                Ok(request) => incoming.add(request, room),
                Err(last) => incoming.last = Some(last),
            }
        }
        incoming
    }

    /// The next request, once there is room for it.
    async fn next_request(&mut self) -> Incoming {
        let room = self.room.clone().acquire_owned().await.ok();
        drop(self.bytes.acquire().await);
        let message = self.requests.message().await;
        let (request, last) = match self.checked(message) {
            Ok(request) => (Some(request), None),
            Err(last) => (None, Some(last)),
        };
        let bytes = request.as_ref().map_or(0, |request| request.bytes);
        Incoming { requests: request.into_iter().collect(), room, bytes, last }
    }

    /// A request that came; or that nothing comes any more, and why, if that is a failure.
    fn checked(&mut self, message: Result<Option<PublishStreamRequest>, Status>) -> Result<Pipelined, Option<Status>> {
        match message {
            Ok(Some(request)) => Ok(convert::pipelined(request, &self.call, &mut self.topic)),
            Ok(None) => Err(None),
            Err(status) => Err(Some(status)),
        }
    }
}

impl Incoming {
    fn add(&mut self, request: Pipelined, room: OwnedSemaphorePermit) {
        self.bytes += request.bytes;
        self.requests.push(request);
        match &mut self.room {
            Some(all) => all.merge(room),
            None => self.room = Some(room),
        }
    }
}

impl Run {
    /// Puts the answers to come into the order of the requests, among those that were refused at once.
    fn new(sequences: Vec<(i64, Option<Status>)>, submitted: Vec<Submitted>, room: Room) -> Self {
        let mut submitted = submitted.into_iter();
        let answer = |(sequence, refusal)| match refusal {
            Some(refusal) => Some((sequence, Err(refusal))),
            None => submitted.next().map(|submitted| (sequence, Ok(submitted))),
        };
        let mut others = sequences.into_iter().filter_map(answer).collect::<Vec<_>>().into_iter();
        Self { next: others.next(), others, _room: room }
    }
}

/// What is to be submitted; and of each request its sequence, and why it is not, if so.
fn sorted(requests: Vec<Pipelined>) -> (Vec<Publish>, Vec<(i64, Option<Status>)>) {
    let (mut publishes, mut sequences) = (Vec::with_capacity(requests.len()), Vec::with_capacity(requests.len()));
    for Pipelined { sequence, publish, .. } in requests {
        let refusal = match publish {
            Ok(publish) => {
                publishes.push(publish);
                None
            }
            Err(refusal) => Some(refusal),
        };
        sequences.push((sequence, refusal));
    }
    (publishes, sequences)
}

/// Room for so many bytes, which must not be more than there can be.
async fn take(bytes: &Arc<Semaphore>, count: usize) -> Option<OwnedSemaphorePermit> {
    // A run of several has as many as there is room for, and a message and its answers have fewer than that.
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    bytes.clone().acquire_many_owned(count).await.ok()
}
