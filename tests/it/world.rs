//! A store and authentication over it, for the tests of credentials.

use std::{path::Path, sync::Arc, time::Duration};

use eventflow::{
    auth::{Auth, AuthError, AuthOptions, LoginError, Tokens, new_key},
    domain::{Principal, ProducerName, Role, Timestamp, TopicPattern, Username},
    store::{KeyOwner, NewProducer, SharedStore, User, sqlite::SqliteStore},
};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;

pub(crate) const PASSWORD: &str = "correct horse battery";
/// So long that only `clear` empties the cache while a test runs.
pub(crate) const NEVER: Duration = Duration::from_secs(3600);

/// A store in a folder of its own, and authentication over it.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) store: SharedStore,
    pub(crate) auth: Auth,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(AuthOptions { cache_age: NEVER, ..AuthOptions::default() }).await
    }

    pub(crate) async fn with(options: AuthOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: SharedStore = Arc::new(SqliteStore::open(folder.path()).await.unwrap());
        let auth = Auth::new(Arc::clone(&store), options).await.unwrap();
        Self { folder, store, auth }
    }

    pub(crate) async fn add_user(&self, name: &str, role: Role, disabled: bool, password: Option<&str>) {
        let mut password_hash = None;
        if let Some(password) = password {
            password_hash = Some(self.auth.hash_password(&password.into()).await.unwrap());
        }
        let user = User { name: username(name), role, disabled, password_hash, create_time: Timestamp::now() };
        assert!(self.store.create_user(&user).await.unwrap());
    }

    /// The user `ada`, an operator, logged in.
    pub(crate) async fn ada(&self) -> Tokens {
        self.add_user("ada", Role::Operator, false, Some(PASSWORD)).await;
        self.login("ada").await.unwrap()
    }

    pub(crate) async fn login(&self, name: &str) -> Result<Tokens, LoginError> {
        self.auth.login(name, &PASSWORD.into()).await
    }

    pub(crate) async fn principal(&self, credential: &SecretString) -> Result<Principal, AuthError> {
        self.auth.authenticate(credential.expose_secret()).await
    }

    /// A world with the user `admin`, and a key of it.
    pub(crate) async fn with_admin_key() -> (Self, String) {
        let world = Self::new().await;
        world.add_user("admin", Role::Admin, false, None).await;
        let key = world.key(KeyOwner::User(username("admin")), None).await;
        (world, key.expose_secret().to_owned())
    }

    /// A stored key.
    pub(crate) async fn key(&self, owner: KeyOwner, ttl: Option<Duration>) -> SecretString {
        let (record, key) = new_key(owner, ttl).unwrap();
        assert!(self.store.create_api_key(&record).await.unwrap(), "the owner exists");
        key
    }

    /// A user or a producer that keys can be of.
    pub(crate) async fn add_owner(&self, owner: &KeyOwner) {
        match owner {
            KeyOwner::User(name) => self.add_user(name.as_str(), Role::Viewer, false, None).await,
            KeyOwner::Producer(name) => drop(self.add_producer(name.as_str(), false).await),
            KeyOwner::Consumer(name) => panic!("{name}: a consumer needs a topic"),
        }
    }

    pub(crate) async fn add_producer(&self, name: &str, disabled: bool) -> SecretString {
        let topics = vec![TopicPattern::parse("orders*").unwrap()];
        let name = ProducerName::parse(name).unwrap();
        let (record, key) = new_key(KeyOwner::Producer(name.clone()), None).unwrap();
        let producer = NewProducer { name, description: String::new(), topics, disabled };
        self.store.register_producer(&producer, &record).await.unwrap();
        key
    }

    /// Changes what is stored, as another server would.
    pub(crate) async fn change(&self, sql: &'static str) {
        change(self.folder.path(), sql).await;
    }
}

async fn change(folder: &Path, sql: &'static str) {
    let url = format!("sqlite:{}", folder.join("eventflow.db").display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    let changed = sqlx::query(sql).execute(&mut connection).await.unwrap();
    assert!(changed.rows_affected() > 0, "{sql} changed nothing");
    connection.close().await.unwrap();
}

/// A user's name.
pub(crate) fn username(name: &str) -> Username {
    Username::parse(name).unwrap()
}
