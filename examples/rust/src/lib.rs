//! What the four programs share: the generated code, the way to the server, and what to do when it fails.

mod backoff;
mod connect;
mod failure;
mod stop;

use std::time::Duration;

pub use backoff::Backoff;
pub use connect::{Credential, Server, Service};
pub use failure::{code_name, is_transient, reason};
pub use stop::Stop;
use tonic::{Request, Status};

/// The generated messages and clients.
#[expect(clippy::doc_lazy_continuation, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("eventflow.v1");
}

/// A call that fails with DEADLINE_EXCEEDED after this time. Every call has one, except streams.
pub fn with_deadline<T>(message: T, deadline: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(deadline);
    request
}

/// How long a stream may be silent: two heartbeat intervals, and some time for the way.
pub fn silence(heartbeat: Duration) -> Duration {
    heartbeat * 2 + Duration::from_secs(2)
}

/// What a connection that fell silent is taken for.
pub fn fell_silent() -> Status {
    Status::unavailable("the server fell silent")
}
