//! Points in time, in microseconds, as both stores keep them.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};

/// Microseconds since 1970-01-01T00:00:00Z, between the years 1 and 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 0001-01-01T00:00:00Z.
    pub const MIN: Timestamp = Timestamp(-62_135_596_800_000_000);
    /// 9999-12-31T23:59:59.999999Z.
    pub const MAX: Timestamp = Timestamp(253_402_300_799_999_999);

    /// The clock of this server.
    pub fn now() -> Self {
        Self(Utc::now().timestamp_micros())
    }

    /// From microseconds since 1970; `None` outside the years 1 to 9999.
    pub fn from_micros(micros: i64) -> Option<Self> {
        let time = Self(micros);
        (Self::MIN <= time && time <= Self::MAX).then_some(time)
    }

    /// From seconds and nanoseconds; finer than a microsecond is cut off. The error says what to change.
    pub fn parse(seconds: i64, nanos: i32) -> Result<Self, String> {
        if !(0..1_000_000_000).contains(&nanos) {
            return Err(format!("has {nanos} nanoseconds; they lie between 0 and 999,999,999"));
        }
        seconds
            .checked_mul(1_000_000)
            .and_then(|micros| micros.checked_add(i64::from(nanos / 1000)))
            .and_then(Self::from_micros)
            .ok_or_else(|| format!("{seconds} s is outside the years 1 to 9999"))
    }

    /// Microseconds since 1970.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, and the nanoseconds above them.
    pub fn seconds_and_nanos(self) -> (i64, i32) {
        (self.0.div_euclid(1_000_000), self.0.rem_euclid(1_000_000) as i32 * 1000)
    }

    /// For the database driver.
    pub fn to_datetime(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or_default()
    }

    /// From the database driver; times outside the years 1 to 9999 are moved to the nearer end.
    pub fn from_datetime(time: DateTime<Utc>) -> Self {
        Self(time.timestamp_micros()).clamp(Self::MIN, Self::MAX)
    }

    /// This time, later by `duration`, at most the end of the year 9999.
    pub fn plus(self, duration: std::time::Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros)).min(Self::MAX)
    }

    /// This time, earlier by `duration`, at least the beginning of the year 1.
    pub fn minus(self, duration: std::time::Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(micros)).max(Self::MIN)
    }

    /// How long after `earlier` this is; 0 if it is not.
    pub fn since(self, earlier: Self) -> std::time::Duration {
        std::time::Duration::from_micros(self.0.saturating_sub(earlier.0).max(0).unsigned_abs())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_datetime().to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}
