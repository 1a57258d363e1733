//! What an error of the database means to a caller.

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
                Meaning::Full => StoreError::Full(Box::new(said)),
                Meaning::Refused => StoreError::Refused(Box::new(said)),
            }
        }
        Error::Io(_)
        | Error::Tls(_)
        | Error::Protocol(_)
        | Error::PoolTimedOut
        | Error::PoolClosed
        | Error::WorkerCrashed => StoreError::Unavailable(Box::new(error)),
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

/// Whether a connection that gave this error must not be used again, though the driver would: a
/// server that was demoted keeps its connections, and would refuse every later change too.
pub(super) fn must_close(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code == READ_ONLY)
}

/// The row that must be there, or the field that must have this form, is not.
pub(super) fn corrupt(what: impl Into<String>) -> StoreError {
    StoreError::Corrupt(what.into()).counted()
}

/// The database answers, but cannot do this now, for this reason.
pub(super) fn unavailable(why: &'static str) -> StoreError {
    StoreError::Unavailable(why.into()).counted()
}

/// What the database said, as far as callers act on it.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    /// The same may succeed later.
    Unavailable,
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

/// Codes after which the same statement may succeed: the connection was ended or refused, a lock or
/// the statement took too long, a deadlock was broken, or another resource than the disk ran out.
const UNAVAILABLE: [&str; 16] = [
    "25006", // read only: a replica, or demoted
    "25P03", // idle in transaction for too long
    "40001", // serialization failure
    "40P01", // deadlock
    "53000", // out of some resource
    "53200", // out of memory
    "53300", // too many connections
    "53400", // a configured limit
    "55006", // in use
    "55P03", // a lock was not available in time
    "57014", // cancelled, also for taking too long
    "57P01", // the administrator ended the connection
    "57P02", // another process crashed
    "57P03", // starting, or shutting down
    "57P05", // idle for too long
    "58000", // system error
];

fn meaning(code: &str) -> Meaning {
    if code == "53100" {
        Meaning::Full
    } else if code.starts_with("08") || UNAVAILABLE.contains(&code) {
        Meaning::Unavailable
    } else {
        Meaning::Refused
    }
}

#[cfg(test)]
mod tests {
    use super::{Meaning, meaning, store_error};

    #[test]
    fn codes_say_whether_a_repeat_may_help() {
        for code in ["08006", "57P01", "57P03", "55P03", "25006", "53300"] {
            assert_eq!(meaning(code), Meaning::Unavailable, "{code}");
        }
        for code in ["23505", "42P01", "22021", "23001"] {
            assert_eq!(meaning(code), Meaning::Refused, "{code}");
        }
        assert_eq!(meaning("53100"), Meaning::Full);
    }

    #[test]
    fn a_pool_without_connections_is_worth_a_repeat() {
        assert!(store_error(sqlx::Error::PoolTimedOut).is_retryable());
        assert!(!store_error(sqlx::Error::RowNotFound).is_retryable());
    }
}
