//! Login: a name and a password for the tokens of a new session.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::{
    Auth, CryptoError, LoginError, Tokens,
    password::VerifyError,
    session::{SessionTimes, access_claims, new_session},
};
use crate::{
    domain::{Timestamp, Username, limits::PASSWORD_MAX},
    store::{SessionRecord, User},
};

/// What a caller is told to wait when too many passwords wait to be checked.
const BUSY_DELAY: Duration = Duration::from_secs(1);

impl Auth {
    /// Begins a session for the user, if the password is right.
    ///
    /// An unknown user, a wrong password, a user without one and a disabled user get the same answer
    /// after the same work: one look and one hash. Attempts are slowed down user by user, and all
    /// together by the number that may wait for a hash; who is slowed down costs neither. A caller that
    /// leaves before the answer has failed.
    pub async fn login(&self, username: &str, password: &SecretString) -> Result<Tokens, LoginError> {
        let Ok(username) = Username::parse(username) else {
            // Nobody has such a name; it takes its time all the same.
            self.inner.passwords.verify(&SecretString::default(), None).await.map_err(refusal)?;
            return Err(LoginError::Invalid);
        };
        let user = self.check_throttled(&username, password).await?;
        self.open_session(user).await
    }

    /// The hash of the user's password, if this is the password; as [`Auth::login`], attempts are slowed
    /// down, and both count together.
    pub async fn check_own_password(&self, user: &Username, password: &SecretString) -> Result<String, LoginError> {
        self.check_throttled(user, password).await?.password_hash.ok_or(LoginError::Invalid)
    }

    /// The user, if its attempts are not slowed down and this is its password.
    async fn check_throttled(&self, username: &Username, password: &SecretString) -> Result<User, LoginError> {
        self.inner.throttle.begin(username, Instant::now()).map_err(|retry_in| LoginError::Throttled { retry_in })?;
        match self.check(username, password).await {
            Ok(user) => {
                self.inner.throttle.succeeded(username);
                Ok(user)
            }
            Err(LoginError::Invalid) => Err(LoginError::Invalid),
            Err(unchecked) => {
                self.inner.throttle.withdraw(username);
                Err(unchecked)
            }
        }
    }

    /// The user, if it may log in and this is its password.
    async fn check(&self, username: &Username, password: &SecretString) -> Result<User, LoginError> {
        // The record itself, not the cached one: a user can log in as soon as it is created.
        let user = self.inner.store.find_user(username).await?.filter(|user| !user.disabled);
        // What is too long for a password is not hashed, but takes as long as one that is wrong.
        let acceptable = password.expose_secret().chars().nth(PASSWORD_MAX).is_none();
        let hash = user.as_ref().filter(|_| acceptable).and_then(|user| user.password_hash.clone());
        let hashed = if acceptable { password.clone() } else { SecretString::default() };
        let right = self.inner.passwords.verify(&hashed, hash).await.map_err(refusal)?;
        user.filter(|_| right).ok_or(LoginError::Invalid)
    }

    async fn open_session(&self, user: User) -> Result<Tokens, LoginError> {
        let (session, refresh_token) = new_session(&user.name, self.session_times())?;
        let (access_token, expire_time) = self.access_token(&session, &user)?;

        // In a task of its own, so that a caller who leaves does not cut a statement short.
        let store = self.inner.store.clone();
        let hash = user.password_hash.unwrap_or_default();
        let stored = tokio::spawn(async move { store.create_session(&session, &hash).await });
        // Since the password was checked the user may have been disabled, or have got another one.
        let created = stored.await.map_err(|_| CryptoError::Stopping)??;
        if created { Ok(Tokens { access_token, expire_time, refresh_token }) } else { Err(LoginError::Invalid) }
    }

    /// How long the sessions and refresh tokens last that are given now.
    pub(super) fn session_times(&self) -> SessionTimes {
        let options = self.inner.options;
        SessionTimes { session: options.session_ttl, refresh: options.refresh_ttl }
    }

    /// An access token of a session, and when it ends.
    pub(super) fn access_token(
        &self,
        session: &SessionRecord,
        user: &User,
    ) -> Result<(SecretString, Timestamp), CryptoError> {
        let claims = access_claims(self.inner.store.cluster_id(), session, user, self.inner.options.token_ttl)?;
        let token = self.inner.keyring.sign(&claims)?.into();
        Ok((token, Timestamp::parse(claims.exp, 0).unwrap_or(session.expire_time)))
    }
}

fn refusal(error: VerifyError) -> LoginError {
    match error {
        VerifyError::Busy => LoginError::Throttled { retry_in: BUSY_DELAY },
        VerifyError::Store(error) => LoginError::Store(error),
        VerifyError::Crypto(error) => LoginError::Crypto(error),
    }
}
