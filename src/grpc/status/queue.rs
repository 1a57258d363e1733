//! Refusals about MODE_QUEUE.

use super::{Problem, consumer_not_found, denied};
use crate::{
    broker::{DeadLettersError, SettlementError},
    grpc::reason::Reason,
};

impl From<SettlementError> for Problem {
    fn from(error: SettlementError) -> Self {
        let message = error.to_string();
        match error {
            SettlementError::NotFound { consumer } => consumer_not_found(message, consumer),
            SettlementError::Denied { .. } => denied(message),
            SettlementError::WrongMode { consumer } => Self::new(Reason::WrongMode, message).precondition(consumer),
            SettlementError::Overloaded { retry_in } => {
                Self::new(Reason::Overloaded, message).quota("server").retry(retry_in)
            }
            SettlementError::Store(error) => Self::from(&*error),
        }
    }
}

impl From<DeadLettersError> for Problem {
    fn from(error: DeadLettersError) -> Self {
        let message = error.to_string();
        match error {
            DeadLettersError::NotFound { consumer } => consumer_not_found(message, consumer),
            DeadLettersError::Denied { .. } => denied(message),
            DeadLettersError::WrongMode { consumer } => Self::new(Reason::WrongMode, message).precondition(consumer),
            DeadLettersError::Store(error) => error.into(),
        }
    }
}
