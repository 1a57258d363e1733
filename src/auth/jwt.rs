//! Access tokens: JWTs, signed by Ed25519 keys that all servers of a store share.

use std::{fmt, time::Duration};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{CryptoError, random};
use crate::{
    domain::Timestamp,
    store::{SigningKey, StoreError},
};

/// What an access token says; every claim is required.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    /// End, in seconds since 1970.
    pub(super) exp: i64,
    /// Beginning, in seconds since 1970.
    pub(super) iat: i64,
    /// The cluster id.
    pub(super) iss: String,
    /// The cluster id again.
    pub(super) aud: String,
    /// The user's name.
    pub(super) sub: String,
    /// The session.
    pub(super) sid: String,
    /// The token itself, unique.
    pub(super) jti: String,
    /// The user's role when the token was made, for people who read it; it decides nothing.
    pub(super) role: String,
}

impl Claims {
    /// Whether the token has expired.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        now.seconds_and_nanos().0 >= self.exp
    }
}

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenError {
    /// It is not a token of this cluster.
    Invalid,
    /// It was one.
    Expired,
    /// It names a key that is not among these; it may be a new one.
    UnknownKey,
}

/// The keys that sign and verify the tokens of one cluster.
pub(super) struct TokenKeys {
    validation: Validation,
    /// Oldest first, never empty.
    keys: Vec<Key>,
    /// How old a further key is before it signs.
    notice: Duration,
}

struct Key {
    id: String,
    create_time: Timestamp,
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl TokenKeys {
    /// From the keys of the store, oldest first, of which a further one signs when it is as old as `notice`.
    /// None at all, or one that does not parse, is corrupt.
    pub(super) fn parse(cluster: Uuid, stored: &[SigningKey], notice: Duration) -> Result<Self, StoreError> {
        if stored.is_empty() {
            return Err(StoreError::Corrupt("there is no signing key".to_owned()));
        }
        let keys = stored.iter().map(Key::parse).collect::<Result<_, _>>()?;
        let cluster = cluster.to_string();
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.leeway = 0;
        validation.validate_nbf = true;
        validation.set_issuer(&[&cluster]);
        validation.set_audience(&[&cluster]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        Ok(Self { validation, keys, notice })
    }

    /// The token that says this.
    pub(super) fn sign(&self, claims: &Claims) -> Result<String, CryptoError> {
        let key = self.signer(Timestamp::now()).ok_or(CryptoError::KeyPair)?;
        jsonwebtoken::encode(&header(&key.id), claims, &key.encoding).map_err(|error| CryptoError::Sign(error.into()))
    }

    /// What a token says, if one of the keys signed it for this cluster and its time is not over.
    ///
    /// The key that `kid` names fixes the algorithm; nothing else in the header is obeyed.
    pub(super) fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        let kid = header.kid.as_deref().ok_or(TokenError::Invalid)?;
        // A token of ours has this header and nothing else: no `jwk`, no `x5u`, no `crit`.
        if header != self::header(kid) {
            return Err(TokenError::Invalid);
        }
        let key = self.keys.iter().find(|key| key.id == kid).ok_or(TokenError::UnknownKey)?;
        let claims = jsonwebtoken::decode::<Claims>(token, &key.decoding, &self.validation)
            .map_err(|error| match error.kind() {
                ErrorKind::ExpiredSignature => TokenError::Expired,
                _ => TokenError::Invalid,
            })?
            .claims;
        // The library lets a token pass in the very second of its end.
        if claims.is_over(now) { Err(TokenError::Expired) } else { Ok(claims) }
    }

    /// The newest key that all servers know by now, else the oldest one.
    fn signer(&self, now: Timestamp) -> Option<&Key> {
        let published = |key: &&Key| now.since(key.create_time) >= self.notice;
        self.keys.iter().rev().find(published).or_else(|| self.keys.first())
    }
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| &key.id)).finish()
    }
}

impl Key {
    fn parse(stored: &SigningKey) -> Result<Self, StoreError> {
        let pair = Ed25519KeyPair::from_pkcs8(&stored.pkcs8)
            .map_err(|_| StoreError::Corrupt(format!("the signing key {} does not parse", stored.id)))?;
        Ok(Self {
            id: stored.id.clone(),
            create_time: stored.create_time,
            encoding: EncodingKey::from_ed_der(&stored.pkcs8),
            // Despite its name it wants the 32 bytes of the public key, without DER around them.
            decoding: DecodingKey::from_ed_der(pair.public_key().as_ref()),
        })
    }
}

/// A new key pair, to be kept in the store.
pub(super) fn new_signing_key() -> Result<SigningKey, CryptoError> {
    let pair = Ed25519KeyPair::generate().map_err(|_| CryptoError::KeyPair)?;
    let pkcs8 = pair.to_pkcs8().map_err(|_| CryptoError::KeyPair)?;
    Ok(SigningKey { id: random::name()?, pkcs8: pkcs8.as_ref().to_vec(), create_time: Timestamp::now() })
}

/// The header of every token that `kid` signs.
fn header(kid: &str) -> Header {
    Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::EdDSA) }
}

#[cfg(test)]
#[path = "jwt_tests.rs"]
mod tests;
