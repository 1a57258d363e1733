//! How a call ends: its last status, and its one log line.

use std::time::Instant;

use http::HeaderMap;
use tonic::{Code, Status};
use tracing::{Span, info};

use super::{call::Call, repair::repair};

/// The end of a call, logged when it is dropped.
pub(super) struct End {
    pub(super) call: Call,
    pub(super) method: String,
    pub(super) started: Instant,
    pub(super) span: Span,
    /// `None` while the call goes on: if it is dropped so, the client has left.
    pub(super) code: Option<Code>,
}

impl End {
    pub(super) fn trailers(&mut self, trailers: HeaderMap) -> HeaderMap {
        let status = Status::from_header_map(&trailers).unwrap_or_else(|| Status::new(Code::Ok, ""));
        if status.code() == Code::Ok {
            self.code = Some(Code::Ok);
            return trailers;
        }
        let status = repair(status, self.call.request_id());
        self.code = Some(status.code());
        let mut repaired = HeaderMap::new();
        match status.add_header(&mut repaired) {
            Ok(()) => repaired,
            Err(_) => trailers,
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let code = self.code.unwrap_or(Code::Cancelled);
        let duration_ms = self.started.elapsed().as_secs_f64() * 1000.0;
        let principal = self.call.principal();
        let (method, peer) = (&*self.method, self.call.peer());
        let _entered = self.span.enter();
        info!(principal, peer, code = ?code, duration_ms, "{method} ended with {code:?}");
    }
}
