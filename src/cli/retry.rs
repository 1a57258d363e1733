//! Pauses between attempts.

use std::time::Duration;

use tonic::Status;
use tonic_types::StatusExt;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Pauses that double from 100 ms to 5 s, with a share of chance so that clients do not come together.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Begins again with the shortest pause, after something went well.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The next pause: at least as long as the server asked for.
    pub(super) fn pause(&mut self, status: Option<&Status>) -> Duration {
        let full = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let share = f64::from(uuid::Uuid::new_v4().as_bytes()[0]) / 255.0;
        let pause = full.mul_f64(0.5 + share / 2.0);
        let asked = status.and_then(StatusExt::get_details_retry_info).and_then(|info| info.retry_delay);
        asked.map_or(pause, |asked| asked.max(pause))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic::{Code, Status};
    use tonic_types::{ErrorDetails, StatusExt};

    use super::Backoff;

    #[test]
    fn pauses_grow_to_a_limit_and_begin_again() {
        let mut backoff = Backoff::default();
        assert!(backoff.pause(None) <= Duration::from_millis(100));
        let last = (0..50).fold(Duration::ZERO, |_, _| backoff.pause(None));
        assert!((Duration::from_millis(2500)..=Duration::from_secs(5)).contains(&last));
        backoff.reset();
        assert!(backoff.pause(None) <= Duration::from_millis(100));
    }

    #[test]
    fn the_servers_wish_is_honoured() {
        let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(7)));
        let status = Status::with_error_details(Code::Unavailable, "x", details);
        assert_eq!(Backoff::default().pause(Some(&status)), Duration::from_secs(7));
    }
}
