//! API keys: `efk_<id>_<secret>`, of which only the secret's hash is kept.

use std::{fmt, time::Duration};

use secrecy::SecretString;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{CryptoError, random};
use crate::{
    domain::Timestamp,
    store::{ApiKeyRecord, KeyOwner},
};

/// What every key begins with, so that it is recognized in a leak.
const PREFIX: &str = "efk_";
/// Characters of the public part.
const ID_CHARS: usize = 16;
/// Characters of the secret part: 256 bits in base64url.
const SECRET_CHARS: usize = 43;

/// A new key: what to store, and the whole key to show once. `ttl` of `None`: it never expires.
pub fn new_key(owner: KeyOwner, ttl: Option<Duration>) -> Result<(ApiKeyRecord, SecretString), CryptoError> {
    let id = random::name()?;
    let secret = random::secret()?;
    let create_time = Timestamp::now();
    let whole = SecretString::from(format!("{PREFIX}{id}_{secret}"));
    let secret_hash = Sha256::digest(&secret).into();
    let expire_time = ttl.map(|ttl| create_time.plus(ttl));
    let record =
        ApiKeyRecord { id, secret_hash, owner, create_time, expire_time, last_used_time: None, revoked: false };
    Ok((record, whole))
}

/// A key as a caller presents it: well-formed, but not yet compared with any record.
#[derive(Clone, Copy)]
pub(super) struct PresentedKey<'a> {
    /// The public part.
    pub(super) id: &'a str,
    secret: &'a str,
}

impl<'a> PresentedKey<'a> {
    /// Parses a key; `None` if it is not one. The secret may hold `_`, so it is read from the left.
    pub(super) fn parse(key: &'a str) -> Option<Self> {
        let (id, secret) = key.strip_prefix(PREFIX)?.split_once('_')?;
        let id_ok = id.len() == ID_CHARS && id.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'));
        let in_secret = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        let secret_ok = secret.len() == SECRET_CHARS && secret.bytes().all(in_secret);
        (id_ok && secret_ok).then_some(Self { id, secret })
    }

    /// Whether a credential claims to be a key, well-formed or not.
    pub(super) fn is_meant_by(credential: &str) -> bool {
        credential.starts_with(PREFIX)
    }

    /// Whether this is the key of the record, in a time that does not depend on how much of it is right.
    pub(super) fn matches(self, record: &ApiKeyRecord) -> bool {
        let hash: [u8; 32] = Sha256::digest(self.secret).into();
        bool::from(hash.ct_eq(&record.secret_hash)) && self.id == record.id
    }
}

impl fmt::Debug for PresentedKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresentedKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::domain::ProducerName;

    fn shop_key() -> (ApiKeyRecord, String) {
        let owner = KeyOwner::Producer(ProducerName::parse("shop").unwrap());
        let (record, whole) = new_key(owner, None).unwrap();
        (record, whole.expose_secret().to_owned())
    }

    #[test]
    fn a_key_matches_its_own_record_only() {
        let ((first, first_key), (second, second_key)) = (shop_key(), shop_key());
        assert!(PresentedKey::parse(&first_key).unwrap().matches(&first));
        assert!(!PresentedKey::parse(&first_key).unwrap().matches(&second));

        let id_of_first = format!("efk_{}_{}", first.id, &second_key[PREFIX.len() + ID_CHARS + 1..]);
        assert!(!PresentedKey::parse(&id_of_first).unwrap().matches(&first));
    }

    #[test]
    fn secrets_with_underscores_are_parsed_whole() {
        let secret = "_".repeat(SECRET_CHARS);
        let key = format!("efk_abcdefghijklmnop_{secret}");
        let parsed = PresentedKey::parse(&key).unwrap();
        assert_eq!((parsed.id, parsed.secret), ("abcdefghijklmnop", secret.as_str()));
    }

    #[test]
    fn every_made_key_parses() {
        for _ in 0..500 {
            let (record, key) = shop_key();
            assert!(PresentedKey::parse(&key).is_some_and(|parsed| parsed.matches(&record)), "{}", record.id);
        }
    }

    #[test]
    fn a_key_cut_anywhere_is_none() {
        let (_, key) = shop_key();
        for length in 0..key.len() {
            assert!(PresentedKey::parse(&key[..length]).is_none(), "{length} characters were taken for a key");
        }
        assert!(PresentedKey::parse(&format!("{key}a")).is_none());
    }

    #[test]
    fn hostile_text_is_refused_without_panic() {
        let (_, key) = shop_key();
        for junk in
            ["", "efk", "efk_", "efk__", "efk___", "EFK_a_b", "efk_ä_ä", "efk_\0_\0", "efk_a", &"efk_".repeat(999)]
        {
            assert!(PresentedKey::parse(junk).is_none(), "{junk:?}");
        }
        // Every character replaced by strange ones, also by some of several bytes.
        for at in 0..key.len() {
            for strange in ["", " ", "\0", "ä", "😀", "%", "/", "+", "=", "__"] {
                let forged = format!("{}{strange}{}", &key[..at], &key[at + 1..]);
                let _ = PresentedKey::parse(&forged);
                if !strange.is_ascii() {
                    assert!(PresentedKey::parse(&forged).is_none(), "{forged:?}");
                }
            }
        }
        for _ in 0..2000 {
            let noise = random::bytes::<40>().unwrap();
            let _ = PresentedKey::parse(&format!("efk_{}", String::from_utf8_lossy(&noise)));
        }
    }

    #[test]
    fn debug_hides_the_secret() {
        let (record, key) = shop_key();
        let secret = &key[PREFIX.len() + ID_CHARS + 1..];
        let parsed = PresentedKey::parse(&key).unwrap();
        assert!(!format!("{parsed:?}{record:?}").contains(secret));
    }
}
