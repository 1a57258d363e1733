//! Passwords: the rule they keep to, and their argon2id hashes.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version, password_hash::SaltString,
};
use metrics::counter;
use secrecy::{ExposeSecret, SecretString};
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::{CryptoError, random};
use crate::{
    domain::limits::{PASSWORD_MAX, PASSWORD_MIN},
    store::StoreError,
    telemetry::metric,
};

/// KiB of memory for one hash.
const MEMORY: u32 = 19 * 1024;
/// Passes over that memory.
const PASSES: u32 = 2;
/// Lanes of that memory.
const LANES: u32 = 1;
/// Hashes computed at once: each takes [`MEMORY`] and a processor for some 20 ms.
const AT_ONCE: usize = 2;
/// Checks that wait for their turn, in all: more would wait for longer than people do.
const WAITING: usize = 64;

/// What is hashed against when there is no such user: a hash of the same cost that no password has.
const DUMMY: &str = "$argon2id$v=19$m=19456,t=2,p=1$ZXZlbnRmbG93LWR1bW15\
                     $QvftlMsrRMRxxQfqP0J2ciQ3Z0qfazGqGMBCHqqkdzw";

/// Checks the rule for new passwords; the error says what to change and does not repeat the password.
pub fn check_password(password: &str) -> Result<(), String> {
    match password.chars().count() {
        PASSWORD_MIN..=PASSWORD_MAX => Ok(()),
        length => Err(format!("has {length} characters; a password has {PASSWORD_MIN} to {PASSWORD_MAX}")),
    }
}

/// Hashes and verifies passwords, a few at a time, away from the async threads.
#[derive(Debug)]
pub(super) struct Passwords {
    running: Arc<Semaphore>,
    admitted: Semaphore,
    hashes: Arc<AtomicU64>,
}

/// Why a password was not checked.
#[derive(Debug, thiserror::Error)]
pub(super) enum VerifyError {
    /// Too many checks wait already.
    #[error("too many passwords wait to be checked")]
    Busy,
    /// The stored hash is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It could not be computed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

impl Passwords {
    /// With nothing under way.
    pub(super) fn new() -> Self {
        Self {
            running: Arc::new(Semaphore::new(AT_ONCE)),
            admitted: Semaphore::new(AT_ONCE + WAITING),
            hashes: Arc::new(AtomicU64::new(0)),
        }
    }

    /// How often argon2 ran, for tests that compare paths.
    pub(super) fn hashes_run(&self) -> u64 {
        self.hashes.load(Ordering::Relaxed)
    }

    /// The argon2id hash of a password, in PHC format, under a new salt.
    ///
    /// Waits for its turn. Dropping the future does not stop a hash that is being computed.
    pub(super) async fn hash(&self, password: &SecretString) -> Result<String, CryptoError> {
        let password = password.clone();
        self.run(move || {
            let salt = SaltString::encode_b64(&random::bytes::<16>()?).map_err(hash_error)?;
            let hash = argon2()?.hash_password(password.expose_secret().as_bytes(), &salt).map_err(hash_error)?;
            Ok(hash.to_string())
        })
        .await?
    }

    /// Whether the password has this hash; `None` costs the same and is always false.
    ///
    /// At most [`WAITING`] wait for their turn; beyond that the answer is [`VerifyError::Busy`].
    pub(super) async fn verify(&self, password: &SecretString, hash: Option<String>) -> Result<bool, VerifyError> {
        let _admitted = self.admitted.try_acquire().map_err(|_| VerifyError::Busy)?;
        let password = password.clone();
        self.run(move || {
            let known = hash.is_some();
            let right = is_right(&password, hash.as_deref().unwrap_or(DUMMY))?;
            Ok(right && known)
        })
        .await?
    }

    /// Runs one hash on a blocking thread. The permit goes along, so that a caller who leaves does not
    /// let a further hash begin beside the one still running.
    async fn run<T: Send + 'static>(&self, hash: impl FnOnce() -> T + Send + 'static) -> Result<T, CryptoError> {
        let permit = Arc::clone(&self.running).acquire_owned().await.map_err(|_| CryptoError::Stopping)?;
        let hashes = Arc::clone(&self.hashes);
        let task = spawn_blocking(move || {
            let _permit = permit;
            hashes.fetch_add(1, Ordering::Relaxed);
            counter!(metric::PASSWORD_HASHES).increment(1);
            hash()
        });
        task.await.map_err(|_| CryptoError::Stopping)
    }
}

/// Whether a password has this hash, with the parameters of the hash, so that those of new ones can rise.
fn is_right(password: &SecretString, hash: &str) -> Result<bool, VerifyError> {
    let corrupt = |problem: String| StoreError::Corrupt(format!("the hash of a password is damaged: {problem}"));
    let hash = PasswordHash::new(hash).map_err(|error| corrupt(error.to_string()))?;
    if hash.hash.is_none() {
        return Err(corrupt("it has no end".to_owned()).into());
    }
    match argon2()?.verify_password(password.expose_secret().as_bytes(), &hash) {
        Ok(()) => Ok(true),
        Err(argon2::password_hash::Error::Password) => Ok(false),
        Err(error) => Err(corrupt(error.to_string()).into()),
    }
}

fn argon2() -> Result<Argon2<'static>, CryptoError> {
    let params = Params::new(MEMORY, PASSES, LANES, None).map_err(|error| CryptoError::Hash(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash_error(error: argon2::password_hash::Error) -> CryptoError {
    CryptoError::Hash(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn secret(password: &str) -> SecretString {
        password.into()
    }

    #[tokio::test]
    async fn a_password_has_its_own_hash_only() {
        let passwords = Passwords::new();
        let hash = passwords.hash(&secret("correct horse battery")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.verify(&secret("correct horse battery"), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify(&secret("correct horse batterz"), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify(&secret(""), Some(hash)).await.unwrap());
    }

    #[tokio::test]
    async fn the_same_password_has_another_hash_each_time() {
        let passwords = Passwords::new();
        let password = secret("correct horse battery");
        assert_ne!(passwords.hash(&password).await.unwrap(), passwords.hash(&password).await.unwrap());
    }

    #[tokio::test]
    async fn an_unknown_user_costs_one_hash_of_the_same_parameters() {
        let passwords = Passwords::new();
        assert!(!passwords.verify(&secret("correct horse battery"), None).await.unwrap());
        assert_eq!(passwords.hashes_run(), 1);

        let dummy = Params::try_from(&PasswordHash::new(DUMMY).unwrap()).unwrap();
        assert_eq!((dummy.m_cost(), dummy.t_cost(), dummy.p_cost()), (MEMORY, PASSES, LANES));
        assert_eq!(dummy.output_len(), Some(32));
    }

    #[tokio::test]
    async fn a_damaged_hash_is_corrupt_and_not_a_wrong_password() {
        let passwords = Passwords::new();
        let whole = passwords.hash(&secret("correct horse battery")).await.unwrap();
        let cut = whole.rsplit_once('$').unwrap().0;
        for damaged in ["", "plain", "$argon2id$oops", "$md5$c2FsdHNhbHQ$aGFzaGhhc2g", cut] {
            let outcome = passwords.verify(&secret("correct horse battery"), Some(damaged.into())).await;
            assert!(matches!(outcome, Err(VerifyError::Store(StoreError::Corrupt(_)))), "{damaged:?}: {outcome:?}");
        }
    }

    #[tokio::test]
    async fn more_checks_than_may_wait_are_refused_at_once() {
        let passwords = Passwords::new();
        let _hold = passwords.running.acquire_many(AT_ONCE as u32).await.unwrap();
        let password = secret("correct horse battery");
        let mut waiting =
            (0..AT_ONCE + WAITING).map(|_| Box::pin(passwords.verify(&password, None))).collect::<Vec<_>>();
        for check in &mut waiting {
            assert!(tokio::time::timeout(Duration::ZERO, check).await.is_err());
        }
        assert!(matches!(passwords.verify(&password, None).await, Err(VerifyError::Busy)));
        assert_eq!(passwords.hashes_run(), 0);

        drop(waiting);
        drop(_hold);
        assert!(!passwords.verify(&password, None).await.unwrap());
    }

    #[test]
    fn the_rule_counts_characters_and_not_bytes() {
        for good in ["a".repeat(12), "ä".repeat(12), "a".repeat(128), "😀".repeat(128)] {
            assert_eq!(check_password(&good), Ok(()), "{good}");
        }
        for bad in ["".to_owned(), "a".repeat(11), "ä".repeat(11), "a".repeat(129)] {
            assert!(check_password(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_rule_does_not_repeat_the_password() {
        let said = check_password("swordfish").unwrap_err();
        assert!(!said.contains("swordfish"), "{said}");
    }
}
