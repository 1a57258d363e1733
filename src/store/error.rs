//! How any operation on the store may fail.

use metrics::counter;

use crate::telemetry::metric;

/// The store could not do what was asked, for no fault of the caller.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store was lost on the way; the operation may or may not have happened.
    #[error("the store was lost on the way")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store cannot be reached, or cannot do it now, and nothing happened.
    #[error("the store is not available now")]
    NotNow(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store is out of space; nothing happened.
    #[error("the store is full")]
    Full(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store refused the statement; nothing happened.
    #[error("the store refused the statement")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What is stored cannot be.
    #[error("corrupt data: {0}")]
    Corrupt(String),
}

impl StoreError {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::NotNow(_) => true,
            Self::Full(_) | Self::Refused(_) | Self::Corrupt(_) => false,
        }
    }

    /// Whether the call may have happened nevertheless.
    pub fn is_uncertain(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::NotNow(_) | Self::Full(_) | Self::Refused(_) | Self::Corrupt(_) => false,
        }
    }

    /// What kind it is, in a word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "lost",
            Self::NotNow(_) => "unavailable",
            Self::Full(_) => "full",
            Self::Refused(_) => "refused",
            Self::Corrupt(_) => "corrupt",
        }
    }

    /// Itself, counted. Each adapter makes its errors in one place, and calls this there.
    pub(super) fn counted(self) -> Self {
        counter!(metric::STORE_ERRORS, "kind" => self.kind()).increment(1);
        self
    }
}

/// Why a store was not opened. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be reached, or does not let us in.
    #[error("{message}")]
    Unreachable {
        /// What to do.
        message: String,
        /// What the driver said, if anything.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// It is set up in a way that could lose acknowledged events.
    #[error("{0}")]
    Unsafe(String),
    /// A newer server has changed it in ways that this one does not know.
    #[error("{0}")]
    SchemaTooNew(String),
    /// Another server has it to itself.
    #[error("{0}")]
    InUse(String),
    /// The database software is too old.
    #[error("{0}")]
    TooOld(String),
    /// A file or folder cannot be used.
    #[error("{message}")]
    Io {
        /// What to do.
        message: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Its tables are missing or old, or could not be brought up to date.
    #[error("{message}")]
    Migrate {
        /// What to do.
        message: String,
        /// What the driver said, if anything.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}
