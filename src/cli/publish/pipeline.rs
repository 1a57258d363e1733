//! Sending groups of events ahead of their answers, on a stream that is opened again where it broke.

use std::{collections::VecDeque, pin::Pin};

use prost::Message;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::{
    lines::Group,
    send::{Publisher, may_repeat},
};
use crate::{
    cli::{
        failure::{Failure, reason},
        retry::Backoff,
    },
    proto::v1::{
        PublishError, PublishRequest, PublishStreamRequest, PublishStreamResponse, closing::Reason,
        event_service_client::EventServiceClient, publish_stream_response::Result as Outcome,
    },
};

/// Requests that are sent ahead of their answers.
const AHEAD: usize = 64;
/// Bytes of such requests, as many as the server reads ahead.
const AHEAD_BYTES: usize = 4 << 20;

/// One run of `publish` over standard input, over all of its streams. A request is kept until it is answered,
/// so that it can be sent again; its events have ids, so that it is recorded once.
pub(super) struct Pipeline<'a> {
    publisher: &'a mut Publisher<'a>,
    groups: mpsc::Receiver<Group>,
    input: Input,
    /// In their order; the first one has the sequence `first`.
    unanswered: VecDeque<Unanswered>,
    bytes: usize,
    first: i64,
    /// The last time that an answer came, or that there was none to wait for.
    progress: Instant,
    backoff: Backoff,
    /// Whether a stream was ever open.
    opened: bool,
    /// Whether a request was refused for good: that is how it ends, whatever becomes of what was on its way.
    refused: bool,
}

/// A request that is kept until it is answered.
struct Unanswered {
    request: PublishRequest,
    /// Bytes of input that its events were read from.
    input: u64,
}

/// What is known of standard input.
enum Input {
    /// There may be more.
    Open,
    /// That was all, or all that is wanted; the failure is reported at the end.
    Over(Option<Failure>),
}

/// An open stream.
struct Open {
    requests: mpsc::Sender<PublishStreamRequest>,
    responses: Streaming<PublishStreamResponse>,
}

/// What happens next on a stream.
enum Next {
    Response(Option<PublishStreamResponse>),
    Group(Option<Group>),
}

impl<'a> Pipeline<'a> {
    /// Of these groups.
    pub(super) fn new(publisher: &'a mut Publisher<'a>, groups: mpsc::Receiver<Group>) -> Self {
        Self {
            publisher,
            groups,
            input: Input::Open,
            unanswered: VecDeque::new(),
            bytes: 0,
            first: 1,
            progress: Instant::now(),
            backoff: Backoff::default(),
            opened: false,
            refused: false,
        }
    }

    /// Sends everything, and prints where it is recorded. After a refusal nothing more is sent; what was on
    /// its way is carried out, and printed.
    pub(super) async fn run(mut self) -> Result<(), Failure> {
        loop {
            // No stream is open for nothing: the next line may be long in coming.
            while self.unanswered.is_empty() {
                match &mut self.input {
                    Input::Open => {
                        let group = self.groups.recv().await;
                        self.take(group);
                    }
                    Input::Over(failure) => return failure.take().map_or(Ok(()), Err),
                }
            }
            let status = match self.stream().await {
                Ok(()) => continue,
                Err(failure) if self.refused => return self.end(failure),
                Err(Failure::Refused(status)) if status.code() == Code::Unimplemented && !self.opened => {
                    return self.one_by_one().await;
                }
                Err(Failure::Refused(status)) if self.may_go_on(&status) => status,
                Err(failure) => return Err(failure),
            };
            let pause = self.backoff.pause(Some(&status));
            if Instant::now() + pause >= self.deadline() {
                return Err(Failure::Refused(status));
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// The failure to end with: why a request was refused, if one was.
    fn end(&mut self, failure: Failure) -> Result<(), Failure> {
        match &mut self.input {
            Input::Over(first @ Some(_)) => Err(first.take().unwrap_or(failure)),
            Input::Open | Input::Over(None) => Err(failure),
        }
    }

    /// With a server that knows no such stream.
    async fn one_by_one(mut self) -> Result<(), Failure> {
        loop {
            while let Some(Unanswered { request, input }) = self.unanswered.pop_front() {
                self.publisher.send(request.events, input).await?;
            }
            match &mut self.input {
                Input::Open => {
                    let group = self.groups.recv().await;
                    self.take(group);
                }
                Input::Over(failure) => return failure.take().map_or(Ok(()), Err),
            }
        }
    }

    /// Follows one stream until nothing is left to send, or it breaks.
    async fn stream(&mut self) -> Result<(), Failure> {
        let Open { requests, mut responses } = self.open().await?;
        let mut requests = Some(requests);
        for index in 0..self.unanswered.len() {
            self.send(requests.as_ref(), index).await;
        }
        loop {
            if matches!(self.input, Input::Over(_)) {
                requests = None;
                if self.unanswered.is_empty() {
                    return Ok(());
                }
            }
            match self.next(&mut responses).await? {
                Next::Group(group) => {
                    let before = self.unanswered.len();
                    self.take(group);
                    if self.unanswered.len() > before {
                        self.send(requests.as_ref(), before).await;
                    }
                }
                Next::Response(Some(response)) => self.response(response)?,
                Next::Response(None) => return Err(Status::unavailable("the stream ended before its answers").into()),
            }
        }
    }

    async fn next(&mut self, responses: &mut Streaming<PublishStreamResponse>) -> Result<Next, Failure> {
        let more = matches!(self.input, Input::Open) && self.unanswered.len() < AHEAD && self.bytes < AHEAD_BYTES;
        let deadline = self.deadline();
        let message = Pin::new(responses).get_mut().message();
        // Both can be cancelled without losing anything.
        tokio::select! {
            response = message => Ok(Next::Response(response?)),
            group = self.groups.recv(), if more => Ok(Next::Group(group)),
            () = sleep_until(deadline), if !self.unanswered.is_empty() => {
                Err(Status::deadline_exceeded("the server did not answer in time").into())
            }
        }
    }

    async fn open(&mut self) -> Result<Open, Failure> {
        // Whatever waits has room, and what comes waits for room.
        let (requests, received) = mpsc::channel(2 * AHEAD);
        let connection = self.publisher.connection();
        let request = connection.stream_request(ReceiverStream::new(received)).await?;
        let mut client = EventServiceClient::new(connection.channel());
        let opening = timeout(connection.timeout(), client.publish_stream(request));
        let silent = |_| Status::unavailable(format!("{} does not answer", connection.address().name()));
        let responses = opening.await.map_err(silent)??.into_inner();
        self.opened = true;
        Ok(Open { requests, responses })
    }

    /// Takes a group in, to be sent.
    fn take(&mut self, group: Option<Group>) {
        let Some(Group { events, bytes, failure }) = group else {
            self.input = Input::Over(None);
            return;
        };
        if failure.is_some() {
            self.input = Input::Over(failure);
        }
        if !events.is_empty() {
            if self.unanswered.is_empty() {
                self.progress = Instant::now();
            }
            let request = self.publisher.request(events);
            self.bytes += request.encoded_len();
            self.unanswered.push_back(Unanswered { request, input: bytes });
        }
    }

    /// Sends the request at this place. If the stream has ended meanwhile, its responses say so.
    async fn send(&self, requests: Option<&mpsc::Sender<PublishStreamRequest>>, index: usize) {
        if let (Some(requests), Some(Unanswered { request, .. })) = (requests, self.unanswered.get(index)) {
            let sequence = self.first + index as i64;
            let _ = requests.send(PublishStreamRequest { sequence, publish: Some(request.clone()) }).await;
        }
    }

    fn response(&mut self, response: PublishStreamResponse) -> Result<(), Failure> {
        let PublishStreamResponse { sequence, result } = response;
        let result = match result {
            Some(Outcome::Published(published)) => Ok(published),
            Some(Outcome::Error(error)) => Err(status(error)),
            Some(Outcome::Closing(closing)) => {
                return match closing.reason() {
                    // The status that follows says it.
                    Reason::CredentialEnded => Ok(()),
                    _ => Err(Status::unavailable(closing.reason().as_str_name()).into()),
                };
            }
            // A response of a kind that this version does not know.
            None => return Ok(()),
        };
        if sequence != self.first || self.unanswered.is_empty() {
            return Err(Failure::Local(format!("the server answered {sequence} in the place of {}", self.first)));
        }
        match result {
            Ok(published) => {
                let input = self.unanswered.front().map_or(0, |unanswered| unanswered.input);
                self.publisher.print(&published.published, input)?;
            }
            // What came after a refusal is not sent again.
            Err(_) if self.refused => {}
            Err(status) if self.may_go_on(&status) => return Err(status.into()),
            Err(status) => {
                self.refused = true;
                self.input = Input::Over(Some(status.into()));
            }
        }
        self.answered();
        Ok(())
    }

    fn answered(&mut self) {
        if let Some(Unanswered { request, .. }) = self.unanswered.pop_front() {
            self.bytes = self.bytes.saturating_sub(request.encoded_len());
        }
        self.first += 1;
        self.progress = Instant::now();
        self.backoff.reset();
    }

    /// Whether a new stream may bring what this one did not.
    fn may_go_on(&self, status: &Status) -> bool {
        let again = ["PREDECESSOR_FAILED", "CREDENTIAL_EXPIRED"];
        may_repeat(status) || self.opened && reason(status).is_some_and(|reason| again.contains(&reason.as_str()))
    }

    fn deadline(&self) -> Instant {
        self.progress + self.publisher.connection().timeout()
    }
}

/// An error of one request as the status that it is laid out like.
fn status(error: PublishError) -> Status {
    let PublishError { code, message, details } = error;
    let whole = tonic_types::Status { code, message: message.clone(), details };
    Status::with_details(Code::from_i32(code), message, whole.encode_to_vec().into())
}
