//! Logins, kept in a file of the user until they end.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use crate::proto::v1;

/// The tokens of one login. It has no `Debug`, so that they are never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    /// Who logged in.
    pub(super) username: String,
    /// Sent with each call.
    pub(super) access_token: String,
    /// When the access token stops working.
    pub(super) expire_time: DateTime<Utc>,
    /// Good for one renewal.
    pub(super) refresh_token: String,
}

/// The file with the logins of this user, by server.
#[derive(Debug, Clone)]
pub(super) struct SessionFile {
    folder: PathBuf,
}

/// The file while nobody else changes it. Dropping it lets others in.
pub(super) struct LockedSessions {
    file: SessionFile,
    // Held for its lock.
    _lock: File,
}

#[derive(Default, Serialize, Deserialize)]
struct Content {
    servers: BTreeMap<String, Session>,
}

impl Session {
    /// From what the server answered.
    pub(super) fn new(username: String, tokens: v1::Tokens) -> Result<Self, Failure> {
        let v1::Tokens { access_token, expire_time, refresh_token } = tokens;
        let expire_time = expire_time
            .and_then(|time| DateTime::from_timestamp(time.seconds, u32::try_from(time.nanos).ok()?))
            .ok_or_else(|| Failure::Local("the server sent a token without a time at which it ends".to_owned()))?;
        Ok(Self { username, access_token, expire_time, refresh_token })
    }

    /// Whether the access token has to be renewed before a call that takes a moment.
    pub(super) fn is_stale(&self, now: DateTime<Utc>) -> bool {
        self.expire_time - chrono::Duration::seconds(10) <= now
    }
}

impl SessionFile {
    /// The file of this user, below `$XDG_CONFIG_HOME`, else `~/.config`. `None` without a home.
    pub(super) fn of_user() -> Option<Self> {
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let config = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
        Some(Self::below(&config))
    }

    fn below(config: &Path) -> Self {
        Self { folder: config.join("eventflow") }
    }

    /// The login at this server, if there is one.
    pub(super) fn load(&self, server: &str) -> Result<Option<Session>, Failure> {
        Ok(self.read()?.servers.remove(server))
    }

    /// Waits until nobody else changes the file, since a refresh token works only once.
    pub(super) async fn lock(self) -> Result<LockedSessions, Failure> {
        let locking = tokio::task::spawn_blocking(move || {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
            // The lock has a file of its own, because the other one is replaced.
            let path = self.folder.join("credentials.lock");
            let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
            lock.lock()?;
            Ok(LockedSessions { file: self, _lock: lock })
        });
        let failed = |error: io::Error| Failure::Local(format!("the file of logins cannot be locked: {error}"));
        locking.await.map_err(|error| failed(io::Error::other(error)))?.map_err(failed)
    }

    fn path(&self) -> PathBuf {
        self.folder.join("credentials.json")
    }

    fn read(&self) -> Result<Content, Failure> {
        let path = self.path();
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| {
                Failure::Local(format!("{} is damaged; delete it and log in again: {error}", path.display()))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Content::default()),
            Err(error) => Err(Failure::Local(format!("{} cannot be read: {error}", path.display()))),
        }
    }
}

impl LockedSessions {
    /// The login at this server, as it is now.
    pub(super) fn load(&self, server: &str) -> Result<Option<Session>, Failure> {
        self.file.load(server)
    }

    /// Keeps a login.
    pub(super) fn save(&self, server: &str, session: &Session) -> Result<(), Failure> {
        let mut content = self.file.read()?;
        content.servers.insert(server.to_owned(), session.clone());
        self.replace(&content)
    }

    /// Forgets a login, if there is one.
    pub(super) fn remove(&self, server: &str) -> Result<(), Failure> {
        let mut content = self.file.read()?;
        match content.servers.remove(server) {
            Some(_) => self.replace(&content),
            None => Ok(()),
        }
    }

    /// Replaces the file as a whole, so that a crash leaves the old one or the new one.
    fn replace(&self, content: &Content) -> Result<(), Failure> {
        let path = self.file.path();
        let replace = || {
            let text = serde_json::to_vec_pretty(content)?;
            let fresh = path.with_extension("new");
            match fs::remove_file(&fresh) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&fresh)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&fresh, &path)
        };
        replace().map_err(|error| Failure::Local(format!("{} cannot be written: {error}", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use chrono::DateTime;

    use super::{Session, SessionFile};

    fn session(username: &str) -> Session {
        Session {
            username: username.to_owned(),
            access_token: "a".to_owned(),
            expire_time: DateTime::from_timestamp(100, 0).expect("valid"),
            refresh_token: "r".to_owned(),
        }
    }

    #[tokio::test]
    async fn logins_are_kept_by_server_and_for_the_user_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = SessionFile::below(folder.path());
        assert!(file.load("http://a:1").is_ok_and(|session| session.is_none()));
        let locked = file.clone().lock().await.expect("locked");
        for server in ["http://a:1", "http://b:1"] {
            locked.save(server, &session(server)).expect("saved");
        }
        for server in ["http://a:1", "http://b:1"] {
            let kept = file.load(server).expect("readable");
            assert_eq!(kept.map(|session| session.username).as_deref(), Some(server));
        }
        let mode = std::fs::metadata(file.path()).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_token_is_renewed_before_it_ends() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).expect("valid");
        assert!(!session("ada").is_stale(at(89)));
        assert!(session("ada").is_stale(at(90)) && session("ada").is_stale(at(1000)));
    }
}
