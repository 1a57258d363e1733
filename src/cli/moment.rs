//! Points in time as people write them.

use chrono::{DateTime, Utc};
use prost_types::{Duration, Timestamp};

/// A time for a flag: RFC 3339, or `-1h` for an hour ago.
pub(super) fn moment(text: &str) -> Result<Timestamp, String> {
    moment_at(text, Utc::now())
}

/// A length of time for a message.
pub(super) fn proto_duration(duration: std::time::Duration) -> Duration {
    // A duration parsed from milliseconds fits.
    Duration { seconds: duration.as_secs().min(i64::MAX as u64) as i64, nanos: duration.subsec_nanos() as i32 }
}

/// RFC 3339 in UTC, with as many digits as are needed; `-` if there is no time.
pub(super) fn show_time(time: Option<&Timestamp>) -> String {
    let known = time.and_then(|time| DateTime::from_timestamp(time.seconds, u32::try_from(time.nanos).ok()?));
    known.map_or_else(|| "-".to_owned(), |time| time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
}

/// A length of time, in the largest unit that is exact for seconds and above.
pub(super) fn show_duration(duration: &Duration) -> String {
    let Duration { seconds, nanos } = *duration;
    if nanos != 0 {
        let fraction = format!("{:09}", nanos.unsigned_abs());
        return format!("{seconds}.{}s", fraction.trim_end_matches('0'));
    }
    match seconds {
        0 => "0s".to_owned(),
        days if days % 86_400 == 0 => format!("{}d", days / 86_400),
        hours if hours % 3600 == 0 => format!("{}h", hours / 3600),
        minutes if minutes % 60 == 0 => format!("{}m", minutes / 60),
        seconds => format!("{seconds}s"),
    }
}

fn moment_at(text: &str, now: DateTime<Utc>) -> Result<Timestamp, String> {
    let wrong = || format!("{text:?} is not a time; write for example 2026-11-23T10:00:00Z, or -1h for an hour ago");
    let time = match text.strip_prefix('-') {
        Some(ago) => {
            let ago = crate::config::duration(ago).map_err(|_| wrong())?;
            let ago = chrono::Duration::from_std(ago).map_err(|_| wrong())?;
            now.checked_sub_signed(ago).ok_or_else(wrong)?
        }
        None => DateTime::parse_from_rfc3339(text).map_err(|_| wrong())?.to_utc(),
    };
    Ok(Timestamp { seconds: time.timestamp(), nanos: time.timestamp_subsec_nanos().min(999_999_999) as i32 })
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use prost_types::Duration;

    use super::{moment_at, show_duration, show_time};

    #[test]
    fn times_are_absolute_or_ago() {
        let now = DateTime::from_timestamp(7200, 0).expect("valid");
        assert_eq!(moment_at("-1h", now).map(|time| time.seconds), Ok(3600));
        assert_eq!(moment_at("1970-01-01T01:00:00+01:00", now).map(|time| time.seconds), Ok(0));
        for bad in ["", "-", "1h", "yesterday", "--1h", "2026-11-23", "-99999999999999d"] {
            assert!(moment_at(bad, now).is_err(), "{bad:?} was taken for a time");
        }
    }

    #[test]
    fn times_and_lengths_are_shown_short() {
        let time = moment_at("2026-11-23T10:00:00.5Z", chrono::Utc::now()).expect("valid");
        assert_eq!(show_time(Some(&time)), "2026-11-23T10:00:00.500Z");
        assert_eq!(show_time(None), "-");
        for (seconds, nanos, text) in
            [(0, 0, "0s"), (90, 0, "90s"), (7200, 0, "2h"), (86_400, 0, "1d"), (1, 500_000_000, "1.5s")]
        {
            assert_eq!(show_duration(&Duration { seconds, nanos }), text);
        }
    }
}
