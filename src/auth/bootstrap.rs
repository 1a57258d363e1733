//! The first start: a user to log in as, and a key for the commands of an embedded server.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use secrecy::{ExposeSecret, SecretString};

use super::{Auth, AuthError, CryptoError, check_password, new_key, private_file, random};
use crate::{
    domain::{Role, Timestamp, Username},
    store::{KeyOwner, StoreError, User},
};

/// The user that the first start creates.
const ADMIN: &str = "admin";
/// In the data folder: the password of the first user, until somebody deletes it.
pub const ADMIN_PASSWORD_FILE: &str = "admin-password";
/// In the data folder of an embedded server: the key that the commands use on this machine.
pub const EMBEDDED_KEY_FILE: &str = "embedded-key";
/// Held by the server that creates the first user, against others with the same data folder.
const LOCK_FILE: &str = "admin-password.lock";
/// How long another server in the same folder is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);
/// How often the lock is tried.
const LOCK_INTERVAL: Duration = Duration::from_millis(50);

/// What the start did about the first user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bootstrap {
    /// There are users already, or another server has just created the first one.
    Existing,
    /// The user `admin` was created.
    Created {
        /// Where its random password stands; `None`: it is the one that was given.
        password_file: Option<PathBuf>,
    },
}

/// What the start did about the key of the commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmbeddedKey {
    /// The one in the file still works.
    Existing,
    /// A new one is in the file.
    Created,
    /// There is no user `admin`, or it is disabled: the commands need a credential of their own.
    NoAdmin,
}

/// Why a start stops.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The password of the first user could not be kept for its owner; the user was not created.
    #[error("cannot write the admin's password to {}; give one with --admin-password-file", .path.display())]
    WritePassword {
        /// The file that was tried.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The given password could not be read.
    #[error("cannot read the admin's password from {}, named by --admin-password-file", .path.display())]
    ReadPassword {
        /// The given file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The given password is not acceptable.
    #[error("the admin's password in {}, named by --admin-password-file, {problem}", .path.display())]
    Password {
        /// The given file.
        path: PathBuf,
        /// What to change.
        problem: String,
    },
    /// The key of the commands could not be kept.
    #[error("cannot read or write the key of the commands in {}", .path.display())]
    EmbeddedKey {
        /// The file that was tried.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A password or key could not be made.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// Creates the user `admin` if the store has no users.
///
/// Its password is the one line of `password_file`, or a random one that is on disk, in a private file
/// in `data_dir`, before the user exists. Of servers that start at once one creates the user, and only
/// its file remains. What a start left that broke off is written over.
pub async fn bootstrap(
    auth: &Auth,
    data_dir: &Path,
    password_file: Option<&Path>,
) -> Result<Bootstrap, BootstrapError> {
    if auth.inner.store.has_users().await? {
        return Ok(Bootstrap::Existing);
    }
    if let Some(path) = password_file {
        let password = given_password(path)?;
        let created = create_admin(auth, &password).await?;
        return Ok(if created { Bootstrap::Created { password_file: None } } else { Bootstrap::Existing });
    }
    let path = data_dir.join(ADMIN_PASSWORD_FILE);
    let not_written = |source| BootstrapError::WritePassword { path: path.clone(), source };

    let lock_path = data_dir.join(LOCK_FILE);
    let _lock = lock(&lock_path).await.map_err(not_written)?;
    // Who had the lock before may have created the user: its file must stay.
    let created = if auth.inner.store.has_users().await? {
        false
    } else {
        let password = SecretString::from(random::secret()?);
        private_file::write(&path, &password).map_err(not_written)?;
        // If the store does not answer, the user may exist, and the file stays for that case.
        let created = create_admin(auth, &password).await?;
        if !created {
            fs::remove_file(&path).map_err(not_written)?;
        }
        created
    };
    // There are users from now on, so that nobody needs the lock again, and a leftover does no harm.
    let _ = fs::remove_file(&lock_path);
    Ok(if created { Bootstrap::Created { password_file: Some(path) } } else { Bootstrap::Existing })
}

/// Sees to it that `data_dir` has a private file with a key of `users/admin` that works.
///
/// For an embedded server alone, whose data folder is locked.
pub async fn embedded_key(auth: &Auth, data_dir: &Path) -> Result<EmbeddedKey, BootstrapError> {
    let path = data_dir.join(EMBEDDED_KEY_FILE);
    let failed = |source| BootstrapError::EmbeddedKey { path: path.clone(), source };
    let admin = admin_name()?;

    if let Ok(Some(key)) = private_file::read(&path) {
        match auth.authenticate(key.expose_secret()).await {
            Ok(principal) if principal.name == format!("users/{admin}") => {
                private_file::make_private(&path).map_err(failed)?;
                return Ok(EmbeddedKey::Existing);
            }
            Err(AuthError::Store(error)) => return Err(error.into()),
            // Another one's, or one that does not work (any more): it is replaced.
            Ok(_) | Err(_) => {}
        }
    }
    if auth.inner.store.find_user(&admin).await?.is_none_or(|user| user.disabled) {
        return Ok(EmbeddedKey::NoAdmin);
    }
    let (record, key) = new_key(KeyOwner::User(admin), None)?;
    private_file::write(&path, &key).map_err(failed)?;
    let created = auth.inner.store.create_api_key(&record).await?;
    Ok(if created { EmbeddedKey::Created } else { EmbeddedKey::NoAdmin })
}

fn given_password(path: &Path) -> Result<SecretString, BootstrapError> {
    let password = private_file::read(path)
        .and_then(|password| password.ok_or_else(|| io::Error::other("there is no such file")))
        .map_err(|source| BootstrapError::ReadPassword { path: path.to_owned(), source })?;
    check_password(password.expose_secret())
        .map_err(|problem| BootstrapError::Password { path: path.to_owned(), problem })?;
    Ok(password)
}

/// Creates the user; false if another server has done so.
async fn create_admin(auth: &Auth, password: &SecretString) -> Result<bool, BootstrapError> {
    let user = User {
        name: admin_name()?,
        role: Role::Admin,
        disabled: false,
        password_hash: Some(auth.hash_password(password).await?),
        create_time: Timestamp::now(),
    };
    Ok(auth.inner.store.create_user(&user).await?)
}

fn admin_name() -> Result<Username, StoreError> {
    Username::parse(ADMIN).map_err(StoreError::Corrupt)
}

/// The lock on a file, after waiting for another holder; the system frees it when a process dies.
async fn lock(path: &Path) -> io::Result<File> {
    let file = private_file::open_lock(path)?;
    let began = tokio::time::Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if began.elapsed() < LOCK_PATIENCE => {
                tokio::time::sleep(LOCK_INTERVAL).await;
            }
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::TimedOut.into()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}
