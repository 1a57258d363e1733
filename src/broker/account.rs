//! One's own account: refreshing, logging out, and passwords.

use bytestring::ByteString;
use secrecy::{ExposeSecret, SecretString};

use super::{Broker, Stopped};
use crate::{
    auth::{AuthError, LoginError, RefreshError, Tokens},
    domain::{Caller, CredentialRef, Permission, Principal, Timestamp, Username},
    store::StoreError,
};

/// Why a session was not ended.
#[derive(Debug, thiserror::Error)]
pub enum LogoutError {
    /// The call came with an API key.
    #[error("{principal} called with an API key, which has no session; revoke the key instead")]
    NoSession {
        /// The caller.
        principal: ByteString,
    },
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// Why a password was not changed.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The caller may not set the password of another user.
    #[error("{principal} may not set the password of user {user}")]
    Denied {
        /// The caller.
        principal: ByteString,
        /// The user.
        user: Username,
    },
    /// It takes the old password to change one's own.
    #[error("must be set to change one's own password")]
    OldMissing,
    /// The old password of another user is not compared with anything.
    #[error("must be empty when the password of another user is set")]
    OldGiven,
    /// There is no such user.
    #[error("user {user} does not exist")]
    NotFound {
        /// The user.
        user: Username,
    },
    /// The old password is wrong, or was not looked at; or the new one could not be hashed.
    #[error(transparent)]
    Login(#[from] LoginError),
}

impl Broker {
    /// Trades a refresh token for the next tokens of its session; a second use of one ends the session.
    pub async fn refresh(&self, token: SecretString) -> Result<Tokens, RefreshError> {
        let auth = self.inner.auth.clone();
        let broker = self.clone();
        let refresh = async move {
            let refreshed = auth.refresh(&token).await;
            if matches!(refreshed, Err(RefreshError::Reused)) {
                // The session has ended by this; the process stops if nobody can be told.
                let _ = broker.change_identities(std::future::ready(())).await;
            }
            refreshed
        };
        let stopped = |error| AuthError::Store(Stopped(error).store());
        self.shutdown().spawn(refresh).await.map_err(stopped)?
    }

    /// Ends the caller's session.
    pub async fn logout(&self, principal: &Principal) -> Result<(), LogoutError> {
        let CredentialRef::Session { id } = principal.credential else {
            return Err(LogoutError::NoSession { principal: principal.name.clone() });
        };
        let store = self.store().clone();
        let ended = self.change_identities(async move { store.end_session(id, Timestamp::now()).await }).await;
        Ok(ended.map_err(Stopped::store)??)
    }

    /// Sets a password that keeps to the rule, and ends the user's sessions: one's own, with the `old` one,
    /// or that of another `user`, as one who may manage users.
    pub async fn change_password(
        &self,
        principal: &Principal,
        user: Option<Username>,
        old: &SecretString,
        new: &SecretString,
    ) -> Result<(), PasswordError> {
        let own = match &principal.caller {
            Caller::User { name, .. } => Some(name),
            Caller::Producer { .. } | Caller::Consumer { .. } => None,
        };
        let has_old = !old.expose_secret().is_empty();
        match (user, own) {
            (user, Some(own)) if user.as_ref().is_none_or(|user| user == own) => {
                if !has_old {
                    return Err(PasswordError::OldMissing);
                }
                let old_hash = self.inner.auth.check_own_password(own, old).await?;
                // It was changed meanwhile: the old one is not the password any more.
                let changed = self.set_password(own, Some(old_hash), new).await?;
                if changed { Ok(()) } else { Err(LoginError::Invalid.into()) }
            }
            (Some(user), _) if principal.may(Permission::ManageUsers) => {
                if has_old {
                    return Err(PasswordError::OldGiven);
                }
                let changed = self.set_password(&user, None, new).await?;
                if changed { Ok(()) } else { Err(PasswordError::NotFound { user }) }
            }
            (Some(user), _) => Err(PasswordError::Denied { principal: principal.name.clone(), user }),
            (None, _) => Err(LoginError::Invalid.into()),
        }
    }

    async fn set_password(
        &self,
        user: &Username,
        old_hash: Option<String>,
        new: &SecretString,
    ) -> Result<bool, LoginError> {
        let hash = self.inner.auth.hash_password(new).await?;
        let (store, user) = (self.store().clone(), user.clone());
        let change = async move { store.set_password(&user, old_hash.as_deref(), &hash, Timestamp::now()).await };
        Ok(self.change_identities(change).await.map_err(Stopped::store)??)
    }
}
