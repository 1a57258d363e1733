//! "Keeping who may call."

pub(super) mod keys;
pub(super) mod producers;
pub(super) mod sessions;
pub(super) mod signing_keys;
pub(super) mod users;

use eventflow::{
    domain::{ProducerName, Role, Timestamp, TopicPattern, Username},
    store::{ApiKeyRecord, KeyOwner, NewProducer, SharedStore, User},
};

use super::fixtures::unique;

/// A password's hash, as far as the store cares.
const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA";

fn name(name: &str) -> Username {
    Username::parse(name).unwrap()
}

fn time(micros: i64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + micros).unwrap()
}

fn user(username: &str) -> User {
    User {
        name: name(username),
        role: Role::Operator,
        disabled: false,
        password_hash: Some(HASH.into()),
        create_time: time(1),
    }
}

/// A user of the case's own.
async fn added(store: &SharedStore, user: User) -> User {
    assert!(store.create_user(&user).await.unwrap());
    user
}

fn key(owner: KeyOwner) -> ApiKeyRecord {
    ApiKeyRecord {
        id: unique("k"),
        secret_hash: std::array::from_fn(|n| n as u8 ^ 0xa5),
        owner,
        create_time: time(2),
        expire_time: None,
        last_used_time: None,
        revoked: false,
    }
}

fn producer(name: &str) -> (NewProducer, ApiKeyRecord) {
    let new = NewProducer {
        name: ProducerName::parse(name).unwrap(),
        description: "Läden 'und' \"Kassen\"".into(),
        topics: ["orders", "shop.*", "*"].map(|pattern| TopicPattern::parse(pattern).unwrap()).to_vec(),
        disabled: true,
    };
    let key = key(KeyOwner::Producer(new.name.clone()));
    (new, key)
}
