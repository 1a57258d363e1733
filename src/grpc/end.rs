//! How a call ends: its last status, its one log line, and its metrics.

use std::time::Instant;

use http::HeaderMap;
use metrics::{counter, gauge, histogram};
use tonic::{Code, Status};
use tracing::{Span, info};

use super::{call::Call, permissions::known_method, reason::Reason, repair::repair, status::reason_of};
use crate::telemetry::metric;

/// The end of a call, logged and counted when it is dropped.
pub(super) struct End {
    pub(super) call: Call,
    pub(super) method: String,
    pub(super) span: Span,
    started: Instant,
    /// `None` while the call goes on: if it is dropped so, the client has left.
    code: Option<Code>,
    reason: Option<Reason>,
}

impl End {
    /// Of a call that begins now.
    pub(super) fn begin(call: Call, method: String, span: Span) -> Self {
        gauge!(metric::CALLS_IN_FLIGHT).increment(1.0);
        Self { call, method, span, started: Instant::now(), code: None, reason: None }
    }

    /// Notes the status that the call ends with; an error is completed for the client.
    pub(super) fn status(&mut self, status: Status) -> Status {
        let status = if status.code() == Code::Ok { status } else { repair(status, self.call.request_id()) };
        (self.code, self.reason) = (Some(status.code()), reason_of(&status));
        status
    }

    /// As [`status`](Self::status), of trailers.
    pub(super) fn trailers(&mut self, trailers: HeaderMap) -> HeaderMap {
        let status = Status::from_header_map(&trailers).unwrap_or_else(|| Status::new(Code::Ok, ""));
        let status = self.status(status);
        let mut repaired = HeaderMap::new();
        match status.code() {
            Code::Ok => trailers,
            _ if status.add_header(&mut repaired).is_ok() => repaired,
            _ => trailers,
        }
    }

    /// The body is over; unless it said otherwise, all went well.
    pub(super) fn complete(&mut self) {
        self.code.get_or_insert(Code::Ok);
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let code = self.code.unwrap_or(Code::Cancelled);
        let duration = self.started.elapsed();
        let label = known_method(&self.method).to_owned();
        counter!(metric::CALLS, "method" => label.clone(), "code" => format!("{code:?}")).increment(1);
        histogram!(metric::CALL_SECONDS, "method" => label).record(duration);
        gauge!(metric::CALLS_IN_FLIGHT).decrement(1.0);
        let reason = self.reason.map(Reason::as_str);
        if let Some(reason) = self.reason.filter(|reason| is_about_credentials(*reason)) {
            counter!(metric::AUTH_FAILURES, "reason" => reason.as_str()).increment(1);
        }
        let principal = self.call.principal();
        let (method, peer) = (&*self.method, self.call.peer());
        let duration_ms = duration.as_secs_f64() * 1000.0;
        let _entered = self.span.enter();
        info!(principal, peer, code = ?code, reason, duration_ms, "{method} ended with {code:?}");
    }
}

/// Whether a call was refused for who called, and not for what was asked.
fn is_about_credentials(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::CredentialMissing
            | Reason::CredentialInvalid
            | Reason::CredentialExpired
            | Reason::CredentialRevoked
            | Reason::PermissionDenied
            | Reason::ProducerDisabled
            | Reason::LoginThrottled
    )
}
