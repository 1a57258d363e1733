//! "Keeping who may call."

use eventflow::{
    domain::{ConsumerName, ProducerName, Role, Timestamp, TopicPattern, Username},
    store::{ApiKeyRecord, KeyOwner, NewProducer, RegisterProducerError, SessionRecord, SharedStore, SigningKey, User},
};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::fixtures::unique;

fn user(name: &str) -> User {
    User {
        name: Username::parse(name).unwrap(),
        role: Role::Operator,
        disabled: false,
        password_hash: Some("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".into()),
        create_time: Timestamp::from_micros(1_700_000_000_000_001).unwrap(),
    }
}

fn key(owner: KeyOwner) -> ApiKeyRecord {
    ApiKeyRecord {
        id: unique("k"),
        secret_hash: std::array::from_fn(|n| n as u8 ^ 0xa5),
        owner,
        create_time: Timestamp::from_micros(1_700_000_000_000_002).unwrap(),
        expire_time: None,
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

/// "Of two servers that create the same user at once, exactly one gets true." The store is empty.
pub(super) async fn of_twenty_creations_of_a_user_one_succeeds(store: SharedStore) {
    assert!(!store.has_users().await.unwrap());
    let name = unique("admin");
    let mut tasks = JoinSet::new();
    for n in 0..20 {
        let (store, user) = (store.clone(), User { password_hash: Some(format!("hash {n}")), ..user(&name) });
        tasks.spawn(async move { store.create_user(&user).await.unwrap().then_some(user) });
    }
    let created: Vec<User> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(created.len(), 1);
    assert_eq!(store.find_user(&created[0].name).await.unwrap().as_ref(), Some(&created[0]));
    assert!(store.has_users().await.unwrap());
}

/// "Of two servers that do so at once, one wins, and both find the same key afterwards."
pub(super) async fn of_twenty_first_signing_keys_one_is_kept(store: SharedStore) {
    assert!(store.signing_keys().await.unwrap().is_empty());
    let mut tasks = JoinSet::new();
    for n in 0..20_u8 {
        let store = store.clone();
        let create_time = Timestamp::from_micros(1_700_000_000_000_000 + i64::from(n)).unwrap();
        let key = SigningKey { id: format!("key-{n}"), pkcs8: vec![n; 83], create_time };
        tasks.spawn(async move {
            store.add_first_signing_key(&key).await.unwrap();
            (key, store.signing_keys().await.unwrap())
        });
    }
    let results = tasks.join_all().await;
    let kept = store.signing_keys().await.unwrap();
    assert_eq!(kept.len(), 1);
    assert!(results.iter().any(|(own, _)| *own == kept[0]), "{kept:?} is nobody's key");
    assert!(results.iter().all(|(_, found)| *found == kept), "two servers found different keys");
}

/// A user comes back as it was created.
pub(super) async fn users_round_trip(store: SharedStore) {
    let users = [
        user(&unique("ada")),
        User { role: Role::Viewer, password_hash: None, ..user(&unique("ada")) },
        User { role: Role::Admin, disabled: true, ..user(&unique("ada")) },
    ];
    for user in users {
        assert_eq!(store.find_user(&user.name).await.unwrap(), None);
        assert!(store.create_user(&user).await.unwrap());
        assert_eq!(store.find_user(&user.name).await.unwrap(), Some(user));
    }
}

/// "False if the name is taken, and then nothing changes."
pub(super) async fn a_taken_user_name_changes_nothing(store: SharedStore) {
    let first = user(&unique("ada"));
    assert!(store.create_user(&first).await.unwrap());
    let second = User { role: Role::Admin, password_hash: None, ..first.clone() };
    assert!(!store.create_user(&second).await.unwrap());
    assert_eq!(store.find_user(&first.name).await.unwrap(), Some(first));
}

/// "Registers a producer together with its first key, or nothing."
pub(super) async fn producers_come_with_their_key_or_not_at_all(store: SharedStore) {
    let (new, first_key) = producer(&unique("shop"));
    assert_eq!(store.find_producer(&new.name).await.unwrap(), None);
    let registered = store.register_producer(&new, &first_key).await.unwrap();
    assert_eq!(registered.settings, new);
    assert_eq!(store.find_producer(&new.name).await.unwrap().as_ref(), Some(&registered));
    assert_eq!(store.find_api_key(&first_key.id).await.unwrap().as_ref(), Some(&first_key));

    // The name is taken: the second key is not kept.
    let (_, second_key) = producer(new.name.as_str());
    let other = NewProducer { topics: Vec::new(), disabled: false, ..new.clone() };
    let refused = store.register_producer(&other, &second_key).await;
    assert!(matches!(&refused, Err(RegisterProducerError::Exists(found)) if **found == registered), "{refused:?}");
    assert_eq!(store.find_api_key(&second_key.id).await.unwrap(), None);

    // The key's id is taken: the producer is not kept.
    let (third, _) = producer(&unique("shop"));
    let refused = store.register_producer(&third, &first_key).await;
    assert!(matches!(refused, Err(RegisterProducerError::Store(_))), "{refused:?}");
    assert_eq!(store.find_producer(&third.name).await.unwrap(), None);
}

/// "Producers whose names come after `after`, in the byte order of names."
pub(super) async fn producers_are_listed_in_byte_order(store: SharedStore) {
    let prefix = unique("p");
    let names = ["-b", ".a", "0", "_a", "a", "a-b", "aa"].map(|end| format!("{prefix}{end}"));
    for name in names.iter().rev() {
        let (new, key) = producer(name);
        store.register_producer(&new, &key).await.unwrap();
    }
    let listed = async |after: &str, limit| -> Vec<String> {
        let producers = store.list_producers(after, limit).await.unwrap();
        producers.iter().map(|producer| producer.settings.name.to_string()).collect()
    };
    assert_eq!(listed(&prefix, 7).await, names);
    assert_eq!(listed(&names[1], 2).await, names[2..4]);
    assert_eq!(listed("zzzz", 10).await, [""; 0]);
    assert!(listed("", 100_000).await.is_sorted());
}

/// A key comes back as it was kept, whoever owns it.
pub(super) async fn api_keys_round_trip(store: SharedStore) {
    let owners = [
        KeyOwner::User(Username::parse("ada").unwrap()),
        KeyOwner::Producer(ProducerName::parse("ada").unwrap()),
        KeyOwner::Consumer(ConsumerName::parse("ada").unwrap()),
    ];
    for (n, owner) in owners.into_iter().enumerate() {
        let expire_time = (n > 0).then_some(Timestamp::MAX);
        let key = ApiKeyRecord { expire_time, revoked: n == 2, ..key(owner) };
        assert_eq!(store.find_api_key(&key.id).await.unwrap(), None);
        store.create_api_key(&key).await.unwrap();
        assert_eq!(store.find_api_key(&key.id).await.unwrap(), Some(key));
    }
}

/// "Its id is new": a second key cannot take the place of the first.
pub(super) async fn an_api_key_id_is_used_once(store: SharedStore) {
    let first = key(KeyOwner::User(Username::parse("ada").unwrap()));
    store.create_api_key(&first).await.unwrap();
    let second = ApiKeyRecord { secret_hash: [9; 32], ..first.clone() };
    store.create_api_key(&second).await.unwrap_err();
    assert_eq!(store.find_api_key(&first.id).await.unwrap(), Some(first));
}

/// "Ends a session; one that has ended, or never was, stays so."
pub(super) async fn sessions_end_once(store: SharedStore) {
    let time = |micros| Timestamp::from_micros(micros).unwrap();
    let session = SessionRecord {
        id: Uuid::new_v4(),
        user: Username::parse("ada").unwrap(),
        refresh_hash: std::array::from_fn(|n| 255 - n as u8),
        create_time: time(1),
        expire_time: time(1_900_000_000_000_000),
        end_time: None,
    };
    assert_eq!(store.find_session(session.id).await.unwrap(), None);
    store.create_session(&session).await.unwrap();
    assert_eq!(store.find_session(session.id).await.unwrap().as_ref(), Some(&session));

    store.end_session(session.id, time(5)).await.unwrap();
    let ended = SessionRecord { end_time: Some(time(5)), ..session };
    assert_eq!(store.find_session(ended.id).await.unwrap().as_ref(), Some(&ended));
    store.end_session(ended.id, time(6)).await.unwrap();
    assert_eq!(store.find_session(ended.id).await.unwrap().as_ref(), Some(&ended));

    let missing = Uuid::new_v4();
    store.end_session(missing, time(7)).await.unwrap();
    assert_eq!(store.find_session(missing).await.unwrap(), None);
}
