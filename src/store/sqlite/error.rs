//! What SQLite's errors mean.

use libsqlite3_sys as ffi;
use sqlx::{Error, error::DatabaseError};

use crate::store::StoreError;

/// An error of the driver, in the words of the store.
pub(super) fn failed(error: Error) -> StoreError {
    classify(error).counted()
}

/// What is stored cannot be.
pub(super) fn corrupt(what: String) -> StoreError {
    StoreError::Corrupt(what).counted()
}

fn classify(error: Error) -> StoreError {
    match &error {
        Error::Database(refusal) => match primary_code(refusal.as_ref()) {
            ffi::SQLITE_FULL => StoreError::Full(error.into()),
            ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => StoreError::NotNow(error.into()),
            ffi::SQLITE_IOERR | ffi::SQLITE_CANTOPEN => StoreError::Unavailable(error.into()),
            ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB => StoreError::Corrupt(error.to_string()),
            _ => StoreError::Refused(error.into()),
        },
        Error::PoolTimedOut | Error::PoolClosed => StoreError::NotNow(error.into()),
        Error::Io(_) | Error::WorkerCrashed => StoreError::Unavailable(error.into()),
        Error::ColumnDecode { .. } | Error::Decode(_) => StoreError::Corrupt(error.to_string()),
        _ => StoreError::Refused(error.into()),
    }
}

/// The low byte of an extended result code is the kind of the error.
fn primary_code(refusal: &dyn DatabaseError) -> i32 {
    let code = refusal.code().and_then(|code| code.parse::<i32>().ok());
    code.map_or(ffi::SQLITE_ERROR, |code| code & 0xff)
}
