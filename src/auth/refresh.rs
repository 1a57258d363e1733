//! Refreshing: a refresh token for the next tokens of its session.

use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::{Auth, AuthError, RefreshError, Tokens, session::RefreshToken};
use crate::{
    domain::Timestamp,
    store::{RefreshTrade, Refreshed},
};

impl Auth {
    /// Trades a refresh token for the next tokens of its session.
    ///
    /// Each works once: a second use ends the session, which is [`RefreshError::Reused`], and whoever
    /// remembers the session has to forget it then. Cancelling it may or may not have used the token.
    pub async fn refresh(&self, token: &SecretString) -> Result<Tokens, RefreshError> {
        let token = RefreshToken::parse(token.expose_secret()).ok_or(AuthError::Invalid)?;
        let store = &self.inner.store;
        let session = store.find_session(token.session).await.map_err(AuthError::Store)?.ok_or(AuthError::Invalid)?;
        // Who never had a token of the session does not learn how it stands.
        if !bool::from(token.family_hash().ct_eq(&session.family_hash)) {
            return Err(AuthError::Invalid.into());
        }
        let user = store.find_user(&session.user).await.map_err(AuthError::Store)?;
        let user = user.filter(|user| !user.disabled).ok_or(AuthError::Revoked)?;

        let now = Timestamp::now();
        let (access_token, expire_time) = self.access_token(&session, &user)?;
        let (refresh_token, new_hash) = token.next()?;
        let trade = RefreshTrade {
            family_hash: token.family_hash(),
            old_hash: token.hash(),
            new_hash,
            new_expire_time: now.plus(self.session_times().refresh).min(session.expire_time),
            now,
        };
        match store.refresh_session(session.id, &trade).await.map_err(AuthError::Store)? {
            Refreshed::Renewed => Ok(Tokens { access_token, expire_time, refresh_token }),
            Refreshed::Reused => Err(RefreshError::Reused),
            Refreshed::Ended => Err(AuthError::Revoked.into()),
            Refreshed::Expired => Err(AuthError::Expired.into()),
            Refreshed::Unknown => Err(AuthError::Invalid.into()),
        }
    }
}
