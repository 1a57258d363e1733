//! Times and durations.

use std::time::Duration;

use crate::domain::Timestamp;

/// A time for the wire.
pub(crate) fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    let (seconds, nanos) = time.seconds_and_nanos();
    prost_types::Timestamp { seconds, nanos }
}

/// A time from the wire; the error says what to change.
pub(crate) fn timestamp_value(time: prost_types::Timestamp) -> Result<Timestamp, String> {
    let prost_types::Timestamp { seconds, nanos } = time;
    Timestamp::parse(seconds, nanos)
}

/// A duration for the wire; over 10,000 years are cut.
pub(crate) fn duration_message(duration: Duration) -> prost_types::Duration {
    const MAX_SECONDS: u64 = 315_576_000_000;
    prost_types::Duration { seconds: duration.as_secs().min(MAX_SECONDS) as i64, nanos: duration.subsec_nanos() as i32 }
}

/// A duration from the wire; the error says what to change.
pub(crate) fn duration(duration: prost_types::Duration) -> Result<Duration, String> {
    let prost_types::Duration { seconds, nanos } = duration;
    let parts = (u64::try_from(seconds), u32::try_from(nanos));
    match parts {
        (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 && seconds <= 315_576_000_000 => {
            Ok(Duration::new(seconds, nanos))
        }
        (Ok(_) | Err(_), Ok(_) | Err(_)) => {
            Err(format!("{seconds} s and {nanos} ns is not a duration from 0 to 10,000 years"))
        }
    }
}

/// The next whole number of microseconds, in which the stores keep time.
pub(crate) fn whole_micros(duration: Duration) -> Duration {
    let nanos = duration.subsec_nanos().next_multiple_of(1000);
    Duration::from_secs(duration.as_secs()) + Duration::from_nanos(u64::from(nanos))
}
