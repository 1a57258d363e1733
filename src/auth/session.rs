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
/// Characters of the session's id in a refresh token.
const ID_CHARS: usize = 32;
/// Characters of either secret part: 256 bits in base64url.
const SECRET_CHARS: usize = 43;

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

/// How long a session and its tokens work.
#[derive(Debug, Clone, Copy)]
pub(super) struct SessionTimes {
    /// The session, whatever is renewed meanwhile.
    pub(super) session: Duration,
    /// A refresh token, though not beyond the session.
    pub(super) refresh: Duration,
}

/// A refresh token as a caller presents it: well-formed, but not yet compared with any session.
///
/// It is `efr_<session id>_<family>.<secret>`, with 256 random bits in either part: the family is that
/// of all refresh tokens of the session and proves that its bearer had one of them, the secret is new in
/// each. So an earlier token can be told from one that never was, and only hashes are stored.
#[derive(Clone, Copy)]
pub(super) struct RefreshToken<'a> {
    /// The session.
    pub(super) session: Uuid,
    family: &'a str,
    whole: &'a str,
}

impl<'a> RefreshToken<'a> {
    /// Parses a token; `None` if it is not one.
    pub(super) fn parse(whole: &'a str) -> Option<Self> {
        let (id, parts) = whole.strip_prefix(REFRESH_PREFIX)?.split_once('_')?;
        let (family, secret) = parts.split_once('.')?;
        let in_secret = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        let is_secret = |part: &str| part.len() == SECRET_CHARS && part.bytes().all(in_secret);
        let is_id = id.len() == ID_CHARS && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_id || !is_secret(family) || !is_secret(secret) {
            return None;
        }
        Some(Self { session: Uuid::parse_str(id).ok()?, family, whole })
    }

    /// What is stored of the family.
    pub(super) fn family_hash(self) -> [u8; 32] {
        Sha256::digest(self.family).into()
    }

    /// What is stored of the token.
    pub(super) fn hash(self) -> [u8; 32] {
        Sha256::digest(self.whole).into()
    }

    /// The next token of the session, and its hash.
    pub(super) fn next(self) -> Result<(SecretString, [u8; 32]), CryptoError> {
        let next = format!("{REFRESH_PREFIX}{}_{}.{}", self.session.simple(), self.family, random::secret()?);
        let hash = Sha256::digest(&next).into();
        Ok((next.into(), hash))
    }
}

/// A session of the user, to be stored, and its first refresh token.
pub(super) fn new_session(user: &Username, times: SessionTimes) -> Result<(SessionRecord, SecretString), CryptoError> {
    let id = Uuid::from_bytes(random::bytes()?);
    let family = random::secret()?;
    let refresh = format!("{REFRESH_PREFIX}{}_{family}.{}", id.simple(), random::secret()?);
    let create_time = Timestamp::now();
    let expire_time = create_time.plus(times.session);
    let record = SessionRecord {
        id,
        user: user.clone(),
        family_hash: Sha256::digest(&family).into(),
        refresh_hash: Sha256::digest(&refresh).into(),
        create_time,
        refresh_expire_time: create_time.plus(times.refresh).min(expire_time),
        expire_time,
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

    const TIMES: SessionTimes = SessionTimes { session: Duration::from_secs(60), refresh: Duration::from_secs(30) };

    #[test]
    fn only_hashes_of_the_refresh_token_are_stored() {
        let ada = Username::parse("ada").unwrap();
        let (record, token) = new_session(&ada, TIMES).unwrap();
        let parsed = RefreshToken::parse(token.expose_secret()).unwrap();
        assert_eq!(parsed.session, record.id, "it names its session");
        assert_eq!((record.family_hash, record.refresh_hash), (parsed.family_hash(), parsed.hash()));

        let (other, _) = new_session(&ada, TIMES).unwrap();
        assert!(other.id != record.id && other.refresh_hash != record.refresh_hash);
        assert_ne!(other.family_hash, record.family_hash);
    }

    #[test]
    fn the_next_token_is_of_the_same_family_and_another_one() {
        let (record, first) = new_session(&Username::parse("ada").unwrap(), TIMES).unwrap();
        let first = RefreshToken::parse(first.expose_secret()).unwrap();
        let (next, hash) = first.next().unwrap();
        let next = RefreshToken::parse(next.expose_secret()).unwrap();
        assert_eq!((next.session, next.family_hash()), (record.id, record.family_hash));
        assert_eq!(next.hash(), hash);
        assert_ne!(next.hash(), first.hash());
    }

    #[test]
    fn a_refresh_token_does_not_outlive_its_session() {
        let ada = Username::parse("ada").unwrap();
        let (record, _) = new_session(&ada, TIMES).unwrap();
        assert_eq!(record.refresh_expire_time, record.create_time.plus(TIMES.refresh));
        let (record, _) = new_session(&ada, SessionTimes { refresh: TIMES.session * 2, ..TIMES }).unwrap();
        assert_eq!(record.refresh_expire_time, record.expire_time);
    }

    #[test]
    fn a_refresh_token_cut_or_changed_anywhere_is_none_or_another_one() {
        let (_, token) = new_session(&Username::parse("ada").unwrap(), TIMES).unwrap();
        let token = token.expose_secret();
        let good = RefreshToken::parse(token).unwrap();
        for length in 0..token.len() {
            assert!(RefreshToken::parse(&token[..length]).is_none(), "{length} characters were taken");
        }
        for at in 0..token.len() {
            for strange in ["", " ", "\0", "ä", "A", "_", ".", "0"] {
                let forged = format!("{}{strange}{}", &token[..at], &token[at + 1..]);
                if let Some(parsed) = RefreshToken::parse(&forged).filter(|_| forged != token) {
                    assert!(parsed.session != good.session || parsed.hash() != good.hash(), "{forged}");
                }
            }
        }
    }

    #[test]
    fn an_access_token_does_not_outlive_its_session() {
        let ada = Username::parse("ada").unwrap();
        let (session, _) = new_session(&ada, TIMES).unwrap();
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
