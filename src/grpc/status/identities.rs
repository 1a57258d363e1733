//! Refusals about credentials, users, keys and producers.

use super::{Problem, ROLE_LOWERED, consumer_not_found, denied, internal};
use crate::{
    auth::{AuthError, LoginError, RefreshError},
    broker::{KeysError, LogoutError, PasswordError, ProducersError, UsersError},
    domain::Invalid,
    grpc::reason::Reason,
    store::KeyOwner,
};

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let (reason, message) = match error {
            AuthError::Missing => (
                Reason::CredentialMissing,
                "send `authorization: Bearer <token or key>` or `x-api-key: <key>` with the call",
            ),
            AuthError::Invalid => (Reason::CredentialInvalid, "the credential is not valid here"),
            AuthError::Expired => (Reason::CredentialExpired, "the credential has expired"),
            AuthError::Revoked => (Reason::CredentialRevoked, "the credential does not stand any more"),
            AuthError::RoleLowered { .. } => return denied(ROLE_LOWERED),
            AuthError::ProducerDisabled { producer } => {
                let message = format!("producer {producer} is disabled; let an operator enable it");
                return Self::new(Reason::ProducerDisabled, message).precondition(producer);
            }
            AuthError::Store(error) => return error.into(),
        };
        Self::new(reason, message)
    }
}

impl From<LoginError> for Problem {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Invalid => Self::new(Reason::CredentialInvalid, "the user name or the password is wrong"),
            LoginError::Throttled { retry_in } => {
                Self::new(Reason::LoginThrottled, "too many logins failed lately").retry(retry_in).quota("logins")
            }
            LoginError::Store(error) => error.into(),
            LoginError::Crypto(error) => internal(&error),
        }
    }
}

impl From<RefreshError> for Problem {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::Reused => Self::new(Reason::CredentialRevoked, error),
            RefreshError::Credential(error) => error.into(),
            RefreshError::Crypto(error) => internal(&error),
        }
    }
}

impl From<LogoutError> for Problem {
    fn from(error: LogoutError) -> Self {
        match error {
            LogoutError::NoSession { .. } => denied(error),
            LogoutError::Store(error) => error.into(),
        }
    }
}

impl From<PasswordError> for Problem {
    fn from(error: PasswordError) -> Self {
        let message = error.to_string();
        match error {
            PasswordError::Denied { .. } => denied(message),
            PasswordError::OldMissing | PasswordError::OldGiven => {
                Self::invalid(Reason::RequestInvalid, &Invalid::one("old_password", message))
            }
            PasswordError::NotFound { user } => user_not_found(message, user),
            PasswordError::Login(LoginError::Invalid) => {
                Self::new(Reason::CredentialInvalid, "the old password is wrong")
            }
            PasswordError::Login(error) => error.into(),
        }
    }
}

impl From<UsersError> for Problem {
    fn from(error: UsersError) -> Self {
        let message = error.to_string();
        match error {
            UsersError::Exists { user } => Self::new(Reason::UserExists, message).resource("user", user),
            UsersError::NotFound { user } => user_not_found(message, user),
            UsersError::LastAdmin { user } => Self::new(Reason::LastAdmin, message).precondition(user),
            UsersError::Crypto(error) => internal(&error),
            UsersError::Store(error) => error.into(),
        }
    }
}

impl From<KeysError> for Problem {
    fn from(error: KeysError) -> Self {
        let message = error.to_string();
        match error {
            KeysError::NotFound { id } => Self::new(Reason::KeyNotFound, message).with("key", &id).resource("key", id),
            KeysError::OwnerNotFound { owner } => match owner {
                KeyOwner::User(user) => user_not_found(message, user),
                KeyOwner::Producer(producer) => producer_not_found(message, producer),
                KeyOwner::Consumer(consumer) => consumer_not_found(message, consumer),
            },
            KeysError::Denied { .. } => denied(message),
            KeysError::Crypto(error) => internal(&error),
            KeysError::Store(error) => error.into(),
        }
    }
}

impl From<ProducersError> for Problem {
    fn from(error: ProducersError) -> Self {
        let message = error.to_string();
        match error {
            ProducersError::Exists { producer } => {
                Self::new(Reason::ProducerExists, message).resource("producer", producer)
            }
            ProducersError::NotFound { producer } => producer_not_found(message, producer),
            ProducersError::Crypto(error) => internal(&error),
            ProducersError::Store(error) => error.into(),
        }
    }
}

fn user_not_found(message: impl ToString, user: impl ToString) -> Problem {
    Problem::new(Reason::UserNotFound, message).with("user", user.to_string()).resource("user", user)
}

fn producer_not_found(message: impl ToString, producer: impl ToString) -> Problem {
    Problem::new(Reason::ProducerNotFound, message)
        .with("producer", producer.to_string())
        .resource("producer", producer)
}
