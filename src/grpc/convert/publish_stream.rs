//! Requests and responses of a publishing stream.

use std::time::Duration;

use prost::Message;
use tonic::Status;

use super::{publish, published, subscribe::closing_message};
use crate::{
    broker::{ClosingReason, Publish, PublishError, Published},
    domain::{Invalid, TopicName, limits},
    grpc::{call::Call, reason::Reason, repair::repair, status::Problem},
    proto::v1::{self, publish_stream_response::Result as Outcome},
};

/// What the answer to an event takes in memory, about, on top of the event itself.
const ANSWER_BYTES: usize = 128;

/// One request of a stream.
pub(crate) struct Pipelined {
    /// The client's own number.
    pub(crate) sequence: i64,
    /// What it and its answer take until the client has read it, about.
    pub(crate) bytes: usize,
    /// The request, or why it is refused before anyone else looks at it.
    pub(crate) publish: Result<Publish, Status>,
}

/// A request of a stream, checked. `known` is the topic of the one before it, most often the same.
pub(crate) fn pipelined(request: v1::PublishStreamRequest, call: &Call, known: &mut Option<TopicName>) -> Pipelined {
    let v1::PublishStreamRequest { sequence, publish: request } = request;
    let Some(request) = request else {
        let missing = Problem::invalid(Reason::RequestInvalid, &Invalid::one("publish", "must be set"));
        return Pipelined { sequence, bytes: 0, publish: Err(missing.into()) };
    };
    let size = request.encoded_len();
    if size > limits::REQUEST_BYTES {
        let problem = Problem::new(Reason::MessageTooLarge, "the request is larger than 4 MiB; split it");
        return Pipelined { sequence, bytes: 0, publish: Err(problem.into()) };
    }
    let bytes = size + ANSWER_BYTES * request.events.len();
    Pipelined { sequence, bytes, publish: publish(request, call, known) }
}

/// What became of a request.
pub(crate) fn answer(
    sequence: i64,
    result: Result<Result<Vec<Published>, PublishError>, Status>,
    call: &Call,
) -> v1::PublishStreamResponse {
    let result = match result {
        Ok(Ok(done)) => Outcome::Published(published(done)),
        Ok(Err(error)) => Outcome::Error(error_message(Problem::from(error).into(), call)),
        Err(refusal) => Outcome::Error(error_message(refusal, call)),
    };
    v1::PublishStreamResponse { sequence, result: Some(result) }
}

/// The notice that a stream will end.
pub(crate) fn closing(reason: ClosingReason) -> v1::PublishStreamResponse {
    let closing = closing_message(reason, Duration::ZERO);
    v1::PublishStreamResponse { sequence: 0, result: Some(Outcome::Closing(closing)) }
}

/// What the status of a call would have said.
fn error_message(status: Status, call: &Call) -> v1::PublishError {
    let status = repair(status, call.request_id());
    // Our own statuses always have details that can be read.
    let details = tonic_types::Status::decode(status.details()).unwrap_or_default().details;
    v1::PublishError { code: status.code().into(), message: status.message().to_owned(), details }
}
