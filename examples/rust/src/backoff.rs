//! Pauses between attempts.

use std::time::Duration;

use tonic::Status;
use tonic_types::StatusExt;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Pauses of a random length up to a limit that doubles from 100 ms to 5 s, so that clients do not come all at once.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Begins again with the shortest limit, after something went well.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// The pause after this failure, at least as long as the server asked for.
    pub fn pause(&mut self, status: &Status) -> Duration {
        let limit = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let asked = status.get_details_retry_info().and_then(|info| info.retry_delay);
        let pause = limit.mul_f64(fastrand::f64()).max(asked.unwrap_or_default());
        // gRPC's own way to say it is exact: no more and no less.
        pushback(status).and_then(|millis| u64::try_from(millis).ok()).map_or(pause, Duration::from_millis)
    }
}

/// `grpc-retry-pushback-ms`: when to come again; a negative number means never.
pub(crate) fn pushback(status: &Status) -> Option<i64> {
    status.metadata().get("grpc-retry-pushback-ms")?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic::{Code, Status};
    use tonic_types::{ErrorDetails, StatusExt};

    use super::Backoff;
    use crate::is_transient;

    fn with_pushback(millis: &'static str) -> Status {
        let mut status = Status::unavailable("x");
        status.metadata_mut().insert("grpc-retry-pushback-ms", tonic::metadata::MetadataValue::from_static(millis));
        status
    }

    #[test]
    fn pauses_grow_to_a_limit_and_begin_again() {
        let (mut backoff, status) = (Backoff::default(), Status::unavailable("x"));
        assert!(backoff.pause(&status) <= Duration::from_millis(100));
        let longest = (0..200).map(|_| backoff.pause(&status)).max();
        assert!(longest > Some(Duration::from_secs(1)) && longest <= Some(Duration::from_secs(5)), "{longest:?}");
        backoff.reset();
        assert!(backoff.pause(&status) <= Duration::from_millis(100));
    }

    #[test]
    fn the_servers_wish_is_honoured() {
        let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(7)));
        let status = Status::with_error_details(Code::Unavailable, "x", details);
        assert_eq!(Backoff::default().pause(&status), Duration::from_secs(7));
        assert_eq!(Backoff::default().pause(&with_pushback("1234")), Duration::from_millis(1234));
    }

    #[test]
    fn a_negative_pushback_forbids_a_retry() {
        assert!(is_transient(&with_pushback("0")));
        assert!(!is_transient(&with_pushback("-1")));
    }
}
