//! One publishing stream with a fixed number of requests under way.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use futures::{Stream, future::poll_fn, task::AtomicWaker};
use prost::Message;
use tonic::{Code, Status, Streaming, transport::Channel};

use super::{figures::Counter, load::Share, target::Caller};
use crate::{
    cli::failure::Failure,
    proto::v1::{
        PublishError, PublishRequest, PublishStreamRequest, PublishStreamResponse,
        event_service_client::EventServiceClient, publish_stream_response::Result as Outcome,
    },
};

/// An open stream that has sent nothing yet.
pub(super) struct Lane {
    responses: Streaming<PublishStreamResponse>,
    window: Arc<Window>,
    depth: u64,
    /// The topic of each request, as an index.
    topics: Vec<usize>,
    batch: usize,
}

/// What was acknowledged: the topic and the offset of each event.
pub(super) type Acknowledged = Vec<(usize, i64)>;

/// How many requests may have been sent so far.
#[derive(Debug, Default)]
struct Window {
    allowed: AtomicU64,
    sender: AtomicWaker,
}

impl Window {
    /// Lets so many more go.
    fn open(&self, requests: u64) {
        self.allowed.fetch_add(requests, Ordering::Release);
        self.sender.wake();
    }
}

/// Requests, as many as the window allows.
struct Paced<I> {
    requests: I,
    window: Arc<Window>,
    sent: u64,
}

impl<I: Iterator<Item = PublishRequest> + Unpin> Stream for Paced<I> {
    type Item = PublishStreamRequest;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.sent >= self.window.allowed.load(Ordering::Acquire) {
            self.window.sender.register(context.waker());
            if self.sent >= self.window.allowed.load(Ordering::Acquire) {
                return Poll::Pending;
            }
        }
        self.sent += 1;
        let sequence = self.sent as i64;
        Poll::Ready(self.requests.next().map(|publish| PublishStreamRequest { sequence, publish: Some(publish) }))
    }
}

impl Lane {
    /// Opens a stream for a share, of whose requests `depth` are to be under way.
    pub(super) async fn open(channel: Channel, caller: &Caller, share: Share, depth: u64) -> Result<Self, Failure> {
        let batch = share.batch;
        let topics = (0..share.len().div_ceil(batch)).map(|request| share.topic(request)).collect();
        let window = Arc::new(Window::default());
        let requests = Paced { requests: share.into_requests(), window: window.clone(), sent: 0 };
        let responses = EventServiceClient::new(channel).publish_stream(caller.request(requests)).await?.into_inner();
        Ok(Self { responses, window, depth, topics, batch })
    }

    /// Publishes everything.
    pub(super) async fn run(self, progress: Counter) -> Result<Acknowledged, Failure> {
        let Self { mut responses, window, depth, topics, batch } = self;
        let mut acknowledged = Acknowledged::with_capacity(topics.len() * batch);
        let mut answered = 0;
        window.open(depth);
        // The sender is woken once for all the answers that came together.
        poll_fn(|context| {
            let before = (answered, acknowledged.len());
            loop {
                match Pin::new(&mut responses).poll_next(context) {
                    Poll::Ready(Some(response)) => {
                        let topic = topics.get(answered).copied();
                        answered += 1;
                        if let Err(failure) = note(response?, answered as i64, topic, &mut acknowledged) {
                            return Poll::Ready(Err(failure));
                        }
                    }
                    Poll::Ready(None) => return Poll::Ready(Ok(())),
                    Poll::Pending => {
                        progress.add((acknowledged.len() - before.1) as u64);
                        if answered > before.0 {
                            window.open((answered - before.0) as u64);
                        }
                        return Poll::Pending;
                    }
                }
            }
        })
        .await?;
        if answered < topics.len() {
            return Err(Failure::Local(format!("{answered} of {} requests were answered", topics.len())));
        }
        Ok(acknowledged)
    }
}

/// Takes an answer in: that of the request with this sequence.
pub(super) fn note(
    response: PublishStreamResponse,
    expected: i64,
    topic: Option<usize>,
    acknowledged: &mut Acknowledged,
) -> Result<(), Failure> {
    let PublishStreamResponse { sequence, result } = response;
    let published = match (result, topic) {
        (Some(Outcome::Published(published)), Some(topic)) if sequence == expected => (published, topic),
        (Some(Outcome::Error(error)), _) => return Err(status(error).into()),
        (Some(Outcome::Closing(closing)), _) => {
            return Err(Status::unavailable(closing.reason().as_str_name()).into());
        }
        _ => return Err(Failure::Local(format!("the server answered {sequence} in the place of {expected}"))),
    };
    let (response, topic) = published;
    for event in response.published {
        if event.duplicate {
            return Err(Failure::Local(format!("a new event was taken for the one at offset {}", event.offset)));
        }
        acknowledged.push((topic, event.offset));
    }
    Ok(())
}

/// An error of one request as the status that it is laid out like.
fn status(error: PublishError) -> Status {
    let PublishError { code, message, details } = error;
    let whole = tonic_types::Status { code, message: message.clone(), details };
    Status::with_details(Code::from_i32(code), message, whole.encode_to_vec().into())
}
