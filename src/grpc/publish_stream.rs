//! `PublishStream`: requests are read and submitted by a task, responses are pulled by the client.
//!
//! The task goes on submitting while the client does not read, so that a stream never waits for room in
//! a queue with nobody to take it; but it reads no more than may be unanswered, so that a client that
//! never reads costs no more than that. It ends with the stream: when the client has left, when nothing
//! more comes, or when the stream must end.

use std::sync::Arc;

use futures::{Stream, stream};
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
    broker::{ClosingReason, PublishStream, PublishStreamError, StreamRoom, Submitted},
    proto::v1::{PublishStreamRequest, PublishStreamResponse},
    shutdown::Shutdown,
};

/// As much as a semaphore and a channel can count.
const CAPACITY_MAX: usize = Semaphore::MAX_PERMITS - 1;

/// What the client is told next, in the order of its requests.
enum Item {
    /// A request that was submitted, or refused at once.
    Request { sequence: i64, submitted: Result<Submitted, Status>, _room: Room },
    /// The stream ends, since it must.
    Closing(ClosingReason, PublishStreamError),
    /// The stream ends, since what came was not a request.
    Failed(Status),
    /// The stream ends, since the client has nothing more to send.
    Over,
}

/// Room for one request that is not answered.
struct Room {
    _request: Option<OwnedSemaphorePermit>,
    _bytes: Option<OwnedSemaphorePermit>,
}

/// Where the responses are.
enum Phase {
    Open(mpsc::Receiver<Item>),
    /// Closing was sent.
    Closing(Status),
    Over,
}

/// The responses of a stream; the task that reads its requests belongs to `shutdown`.
pub(super) fn responses(
    shutdown: &Shutdown,
    (stream, stream_room): (PublishStream, StreamRoom),
    requests: Streaming<PublishStreamRequest>,
    call: Call,
) -> impl Stream<Item = Result<PublishStreamResponse, Status>> + Send + use<> {
    let (most_requests, most_bytes) = stream.capacity();
    let (most_requests, most_bytes) = (most_requests.min(CAPACITY_MAX), most_bytes.min(CAPACITY_MAX));
    // Each request has room before it comes here, and what ends the stream comes once: it never fills up.
    let (items, received) = mpsc::channel(most_requests + 1);
    let reader = Reader {
        stream,
        requests,
        items,
        call: call.clone(),
        room: Arc::new(Semaphore::new(most_requests)),
        bytes: Arc::new(Semaphore::new(most_bytes)),
        most_bytes,
    };
    shutdown.spawn(reader.run().in_current_span());
    stream::unfold(Phase::Open(received), move |phase| {
        // It is kept for as long as the client may read.
        let _kept = &stream_room;
        let call = call.clone();
        async move { next_response(phase, &call).await }
    })
}

async fn next_response(phase: Phase, call: &Call) -> Option<(Result<PublishStreamResponse, Status>, Phase)> {
    let mut items = match phase {
        Phase::Open(items) => items,
        Phase::Closing(status) => return Some((Err(status), Phase::Over)),
        Phase::Over => return None,
    };
    match items.recv().await {
        Some(Item::Request { sequence, submitted, _room }) => {
            let result = match submitted {
                Ok(submitted) => Ok(submitted.answer().await),
                Err(refusal) => Err(refusal),
            };
            Some((Ok(convert::answer(sequence, result, call)), Phase::Open(items)))
        }
        Some(Item::Closing(reason, error)) => {
            Some((Ok(convert::closing(reason)), Phase::Closing(Problem::from(error).into())))
        }
        Some(Item::Failed(status)) => Some((Err(status), Phase::Over)),
        Some(Item::Over) => None,
        None => {
            error!("a publishing stream lost the task that reads it");
            let problem = Problem::new(Reason::Internal, "the server failed; report it with the request id");
            Some((Err(problem.into()), Phase::Over))
        }
    }
}

/// Reads a stream's requests and submits them, one after the other.
struct Reader {
    stream: PublishStream,
    requests: Streaming<PublishStreamRequest>,
    items: mpsc::Sender<Item>,
    call: Call,
    room: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    /// Room in `bytes` when nothing is unanswered.
    most_bytes: usize,
}

impl Reader {
    async fn run(mut self) {
        let last = self.read().await;
        // An error means that the client has left.
        let _ = self.items.send(last).await;
    }

    /// Submits what comes, until the stream ends; says how.
    async fn read(&mut self) -> Item {
        loop {
            let next = tokio::select! {
                biased;
                () = self.items.closed() => return Item::Over,
                (reason, error) = self.stream.ending() => return Item::Closing(reason, error),
                next = next_request(&self.room, &self.bytes, &mut self.requests) => next,
            };
            let (request, message) = match next {
                Ok(Some(next)) => next,
                Ok(None) => return Item::Over,
                Err(status) => return Item::Failed(status),
            };
            let Pipelined { sequence, bytes, publish } = convert::pipelined(message, &self.call);
            // Without room for its bytes it is not submitted, so that it need not be answered.
            let bytes = tokio::select! {
                biased;
                () = self.items.closed() => return Item::Over,
                (reason, error) = self.stream.ending() => return Item::Closing(reason, error),
                bytes = take(&self.bytes, bytes.min(self.most_bytes)) => bytes,
            };
            let submitted = match publish {
                Err(refusal) => Err(refusal),
                Ok(publish) => tokio::select! {
                    biased;
                    () = self.items.closed() => return Item::Over,
                    submitted = self.stream.submit(publish) => match submitted {
                        Ok(submitted) => Ok(submitted),
                        Err((reason, error)) => return Item::Closing(reason, error),
                    },
                },
            };
            let item = Item::Request { sequence, submitted, _room: Room { _request: request, _bytes: bytes } };
            if self.items.send(item).await.is_err() {
                return Item::Over;
            }
        }
    }
}

/// The next request, once there is room for it. Cancelling it loses nothing.
async fn next_request(
    room: &Arc<Semaphore>,
    bytes: &Arc<Semaphore>,
    requests: &mut Streaming<PublishStreamRequest>,
) -> Result<Option<(Option<OwnedSemaphorePermit>, PublishStreamRequest)>, Status> {
    // Neither is ever closed.
    let permit = room.clone().acquire_owned().await.ok();
    drop(bytes.acquire().await);
    Ok(requests.message().await?.map(|message| (permit, message)))
}

/// Room for so many bytes, which must not be more than there can be.
async fn take(bytes: &Arc<Semaphore>, count: usize) -> Option<OwnedSemaphorePermit> {
    // A message has fewer, and so have the answers to its events.
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    bytes.clone().acquire_many_owned(count).await.ok()
}
