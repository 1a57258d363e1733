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
use http::uri::PathAndQuery;
use prost::Message;
use tonic::{Code, Status, Streaming, client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;

use super::{
    figures::Counter,
    load::Share,
    messages::{Publish, Request, Response},
    target::Caller,
};
use crate::{cli::failure::Failure, proto::v1::PublishError};

const PUBLISH_STREAM: &str = "/eventflow.v1.EventService/PublishStream";

/// An open stream that has sent nothing yet.
pub(super) struct Lane {
    responses: Streaming<Response>,
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

impl<I: Iterator<Item = Publish> + Unpin> Stream for Paced<I> {
    type Item = Request;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.sent >= self.window.allowed.load(Ordering::Acquire) {
            self.window.sender.register(context.waker());
            if self.sent >= self.window.allowed.load(Ordering::Acquire) {
                return Poll::Pending;
            }
        }
        self.sent += 1;
        let sequence = self.sent as i64;
        Poll::Ready(self.requests.next().map(|publish| Request { sequence, publish: Some(publish) }))
    }
}

impl Lane {
    /// Opens a stream for a share, of whose requests `depth` are to be under way.
    pub(super) async fn open(channel: Channel, caller: &Caller, share: Share, depth: u64) -> Result<Self, Failure> {
        let batch = share.batch;
        let topics = (0..share.len().div_ceil(batch)).map(|request| share.topic(request)).collect();
        let window = Arc::new(Window::default());
        let requests = Paced { requests: share.into_stream(), window: window.clone(), sent: 0 };
        let responses = publish_stream(channel, caller, requests).await?;
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

/// Opens a publishing stream: as the generated client does it, but for the types of what goes and comes.
pub(super) async fn publish_stream(
    channel: Channel,
    caller: &Caller,
    requests: impl Stream<Item = Request> + Send + 'static,
) -> Result<Streaming<Response>, Failure> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
    let codec: ProstCodec<Request, Response> = ProstCodec::default();
    let path = PathAndQuery::from_static(PUBLISH_STREAM);
    Ok(grpc.streaming(caller.request(requests), path, codec).await?.into_inner())
}

/// Takes an answer in: that of the request with this sequence.
pub(super) fn note(
    response: Response,
    expected: i64,
    topic: Option<usize>,
    acknowledged: &mut Acknowledged,
) -> Result<(), Failure> {
    let Response { sequence, published, error, closing } = response;
    if let Some(error) = error {
        return Err(status(error).into());
    }
    if let Some(closing) = closing {
        return Err(Status::unavailable(closing.reason().as_str_name()).into());
    }
    let (Some(response), Some(topic), true) = (published, topic, sequence == expected) else {
        return Err(Failure::Local(format!("the server answered {sequence} in the place of {expected}")));
    };
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
