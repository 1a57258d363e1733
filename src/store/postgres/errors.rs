//! What an error of the database means to a caller.

use std::time::Duration;

use sqlx::error::DatabaseError;

use crate::store::StoreError;

/// The store error that an error of the driver is.
pub(super) fn store_error(error: sqlx::Error) -> StoreError {
    classify(error).counted()
}

fn classify(error: sqlx::Error) -> StoreError {
    use sqlx::Error;
    match &error {
        Error::Database(database) => {
            let said = Said::of(&**database);
            match meaning(&said.code) {
                Meaning::Unavailable => StoreError::Unavailable(Box::new(said)),
                Meaning::NotNow => StoreError::NotNow(Box::new(said)),
                Meaning::Full => StoreError::Full(Box::new(said)),
                Meaning::Refused => StoreError::Refused(Box::new(said)),
            }
        }
        Error::Io(_) | Error::Tls(_) | Error::Protocol(_) | Error::WorkerCrashed => {
            StoreError::Unavailable(Box::new(error))
        }
        Error::RowNotFound
        | Error::TypeNotFound { .. }
        | Error::ColumnIndexOutOfBounds { .. }
        | Error::ColumnNotFound(_)
        | Error::ColumnDecode { .. }
        | Error::Decode(_) => StoreError::Corrupt(error.to_string()),
        // Configuration, encoding and the like, and what later versions of the driver add.
        _ => StoreError::Refused(Box::new(error)),
    }
}

/// The store error of a statement that was not sent, for want of a connection: whatever the reason, an
/// operator may put it right.
pub(super) fn not_sent(error: sqlx::Error) -> StoreError {
    let error = match error.as_database_error().map(Said::of) {
        Some(said) => StoreError::NotNow(Box::new(said)),
        None => StoreError::NotNow(Box::new(error)),
    };
    error.counted()
}

/// Whether the database is read-only: a replica, or demoted.
pub(super) fn read_only(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code == READ_ONLY)
}

/// The database did not answer in time; what was asked for may happen nevertheless.
pub(super) fn silent(patience: Duration) -> StoreError {
    StoreError::Unavailable(format!("the database did not answer within {patience:?}").into()).counted()
}

/// The row that must be there, or the field that must have this form, is not.
pub(super) fn corrupt(what: impl Into<String>) -> StoreError {
    StoreError::Corrupt(what.into()).counted()
}

/// The database answers, but cannot do this now, for this reason.
pub(super) fn unavailable(why: &'static str) -> StoreError {
    StoreError::NotNow(why.into()).counted()
}

/// What the database said, as far as callers act on it.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    /// The connection was ended, perhaps after the statement was carried out; the same may succeed later.
    Unavailable,
    /// It was rolled back; the same may succeed later.
    NotNow,
    /// Out of space.
    Full,
    /// It will not succeed.
    Refused,
}

/// What the database said, without its details: those quote rows, and with them payloads and secrets,
/// which must not get into a log.
#[derive(Debug, thiserror::Error)]
#[error("{message} (SQLSTATE {code})")]
struct Said {
    code: String,
    message: String,
}

impl Said {
    fn of(error: &dyn DatabaseError) -> Self {
        let code = error.code().map_or_else(String::new, |code| code.into_owned());
        Self { code, message: error.message().to_owned() }
    }
}

/// `read_only_sql_transaction`.
const READ_ONLY: &str = "25006";

/// Codes with which the connection ends: the administrator ended it, another process crashed, or the
/// system failed. A commit may have come first.
const UNAVAILABLE: [&str; 3] = ["57P01", "57P02", "58000"];

/// Codes after which the same statement may succeed, and that roll it back: a lock or the statement took
/// too long, a deadlock was broken, or another resource than the disk ran out.
const NOT_NOW: [&str; 13] = [
    READ_ONLY, "25P03", // idle in transaction for too long
    "40001", // serialization failure
    "40P01", // deadlock
    "53000", // out of some resource
    "53200", // out of memory
    "53300", // too many connections
    "53400", // a configured limit
    "55006", // in use
    "55P03", // a lock was not available in time
    "57014", // cancelled, also for taking too long
    "57P03", // starting, or shutting down
    "57P05", // idle for too long
];

fn meaning(code: &str) -> Meaning {
    if code == "53100" {
        Meaning::Full
    } else if NOT_NOW.contains(&code) {
        Meaning::NotNow
    } else if code.starts_with("08") || UNAVAILABLE.contains(&code) {
        Meaning::Unavailable
    } else {
        Meaning::Refused
    }
}

#[cfg(test)]
mod tests {
    use super::{Meaning, meaning, not_sent, store_error};

    #[test]
    fn codes_say_whether_a_repeat_may_help_and_whether_something_may_have_happened() {
        for code in ["08006", "57P01", "57P02"] {
            assert_eq!(meaning(code), Meaning::Unavailable, "{code}");
        }
        for code in ["57P03", "55P03", "25006", "53300", "57014"] {
            assert_eq!(meaning(code), Meaning::NotNow, "{code}");
        }
        for code in ["23505", "42P01", "22021", "23001"] {
            assert_eq!(meaning(code), Meaning::Refused, "{code}");
        }
        assert_eq!(meaning("53100"), Meaning::Full);
    }

    #[test]
    fn what_was_not_sent_did_not_happen_and_is_worth_a_repeat() {
        let error = not_sent(sqlx::Error::PoolTimedOut);
        assert!(error.is_retryable() && !error.is_uncertain());
        assert!(!store_error(sqlx::Error::RowNotFound).is_retryable());
    }
}
