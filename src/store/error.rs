//! How any operation on the store may fail.

/// The store could not do what was asked, for no fault of the caller.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached, or not now; the operation may or may not have happened.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
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
            Self::Unavailable(_) => true,
            Self::Full(_) | Self::Refused(_) | Self::Corrupt(_) => false,
        }
    }
}
