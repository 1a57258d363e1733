//! Login: a name and a password for the tokens of a new session.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::{
    Auth, CryptoError, LoginError, Tokens,
    password::VerifyError,
    session::{access_claims, new_session},
};
use crate::{
    domain::{Timestamp, Username, limits::PASSWORD_MAX},
    store::User,
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
        self.inner.throttle.begin(&username, Instant::now()).map_err(|retry_in| LoginError::Throttled { retry_in })?;
        match self.check(&username, password).await {
            Ok(user) => {
                self.inner.throttle.succeeded(&username);
                self.open_session(user).await
            }
            Err(LoginError::Invalid) => Err(LoginError::Invalid),
            Err(unchecked) => {
                self.inner.throttle.withdraw(&username);
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
        let options = self.inner.options;
        let (session, refresh_token) = new_session(&user.name, options.session_ttl)?;
        let claims = access_claims(self.inner.store.cluster_id(), &session, &user, options.token_ttl)?;
        let access_token = self.inner.keyring.sign(&claims)?.into();
        let expire_time = Timestamp::parse(claims.exp, 0).unwrap_or(session.expire_time);

        // In a task of its own, so that a caller who leaves does not cut a statement short.
        let store = self.inner.store.clone();
        let stored = tokio::spawn(async move { store.create_session(&session).await });
        stored.await.map_err(|_| CryptoError::Stopping)??;
        Ok(Tokens { access_token, expire_time, refresh_token })
    }
}

fn refusal(error: VerifyError) -> LoginError {
    match error {
        VerifyError::Busy => LoginError::Throttled { retry_in: BUSY_DELAY },
        VerifyError::Store(error) => LoginError::Store(error),
        VerifyError::Crypto(error) => LoginError::Crypto(error),
    }
}
