//! Sessions: what a login begins, and the tokens that belong to it.

use std::time::Duration;

use secrecy::SecretString;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{CryptoError, jwt::Claims, random};
use crate::{
    domain::{Timestamp, Username},
    store::{SessionRecord, User},
};

/// What every refresh token begins with, so that it is recognized in a leak.
const REFRESH_PREFIX: &str = "efr_";

/// The credentials of a session, shown once. `Debug` hides the secrets.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// A JWT, sent with each call.
    pub access_token: SecretString,
    /// When the access token stops working.
    pub expire_time: Timestamp,
    /// Buys the next tokens, once.
    pub refresh_token: SecretString,
}

/// A session for the user that lasts for `ttl`, to be stored, and its first refresh token.
///
/// A refresh token is `efr_<session id>_<256-bit secret>`: it names the session, so that a second use
/// can end it. The SHA-256 of the whole token is stored.
pub(super) fn new_session(user: &Username, ttl: Duration) -> Result<(SessionRecord, SecretString), CryptoError> {
    let id = Uuid::from_bytes(random::bytes()?);
    let refresh = format!("{REFRESH_PREFIX}{}_{}", id.simple(), random::secret()?);
    let create_time = Timestamp::now();
    let record = SessionRecord {
        id,
        user: user.clone(),
        refresh_hash: Sha256::digest(&refresh).into(),
        create_time,
        expire_time: create_time.plus(ttl),
        end_time: None,
    };
    Ok((record, refresh.into()))
}

/// What an access token of the session says that is good for `ttl`, though not beyond the session.
pub(super) fn access_claims(
    cluster: Uuid,
    session: &SessionRecord,
    user: &User,
    ttl: Duration,
) -> Result<Claims, CryptoError> {
    let now = Timestamp::now();
    let end = now.plus(ttl).min(session.expire_time);
    Ok(Claims {
        exp: end.seconds_and_nanos().0,
        iat: now.seconds_and_nanos().0,
        iss: cluster.to_string(),
        aud: cluster.to_string(),
        sub: user.name.to_string(),
        sid: session.id.to_string(),
        jti: random::name()?,
        role: user.role.as_str().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::domain::Role;

    #[test]
    fn only_the_hash_of_the_refresh_token_is_stored() {
        let ada = Username::parse("ada").unwrap();
        let (record, token) = new_session(&ada, Duration::from_secs(60)).unwrap();
        let token = token.expose_secret();
        assert!(token.starts_with(&format!("efr_{}_", record.id.simple())), "it names its session");
        assert_eq!(record.refresh_hash, <[u8; 32]>::from(Sha256::digest(token)));

        let (other, _) = new_session(&ada, Duration::from_secs(60)).unwrap();
        assert!(other.id != record.id && other.refresh_hash != record.refresh_hash);
    }

    #[test]
    fn an_access_token_does_not_outlive_its_session() {
        let ada = Username::parse("ada").unwrap();
        let (session, _) = new_session(&ada, Duration::from_secs(60)).unwrap();
        let user =
            User { name: ada, role: Role::Viewer, disabled: false, password_hash: None, create_time: Timestamp::now() };
        let claims = |ttl| access_claims(Uuid::nil(), &session, &user, Duration::from_secs(ttl)).unwrap();
        assert_eq!(claims(900).exp, session.expire_time.seconds_and_nanos().0);
        assert!(claims(30).exp < session.expire_time.seconds_and_nanos().0);
        assert_ne!(claims(30).jti, claims(30).jti);
    }

    #[test]
    fn debug_hides_the_tokens() {
        let tokens = Tokens {
            access_token: "access-secret".into(),
            expire_time: Timestamp::now(),
            refresh_token: "refresh-secret".into(),
        };
        assert!(!format!("{tokens:?}").contains("secret\""), "{tokens:?}");
    }
}
