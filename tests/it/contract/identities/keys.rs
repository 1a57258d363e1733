//! "Keeping API keys. They go with their owner, and never work for another owner of its name."

use eventflow::{
    domain::{Offset, ProducerName, Timestamp},
    store::{ApiKeyRecord, KeyOwner, SharedStore, Whose},
};
use tokio::task::JoinSet;

use super::{added, key, producer, time, user};
use crate::contract::fixtures::{consumer, topic, unique};

/// A user, a producer and a consumer of the case's own.
async fn owners(store: &SharedStore) -> [KeyOwner; 3] {
    let ada = added(store, user(&unique("ada"))).await;
    let (shop, first_key) = producer(&unique("shop"));
    store.register_producer(&shop, &first_key).await.unwrap();
    let billing = consumer(store, &topic(store).await).await;
    [KeyOwner::User(ada.name), KeyOwner::Producer(shop.name), KeyOwner::Consumer(billing.settings.name)]
}

async fn created(store: &SharedStore, key: ApiKeyRecord) -> ApiKeyRecord {
    assert!(store.create_api_key(&key).await.unwrap());
    key
}

async fn found(store: &SharedStore, key: &ApiKeyRecord) -> ApiKeyRecord {
    store.find_api_key(&key.id).await.unwrap().unwrap()
}

/// A key comes back as it was kept, whoever owns it.
pub(crate) async fn api_keys_round_trip(store: SharedStore) {
    for (n, owner) in owners(&store).await.into_iter().enumerate() {
        let key = ApiKeyRecord { expire_time: (n > 0).then_some(Timestamp::MAX), ..key(owner) };
        assert_eq!(store.find_api_key(&key.id).await.unwrap(), None);
        let key = created(&store, key).await;
        assert_eq!(found(&store, &key).await, key);
    }
}

/// "Its id is new": a second key cannot take the place of the first.
pub(crate) async fn an_api_key_id_is_used_once(store: SharedStore) {
    let [owner, ..] = owners(&store).await;
    let first = created(&store, key(owner)).await;
    let second = ApiKeyRecord { secret_hash: [9; 32], ..first.clone() };
    store.create_api_key(&second).await.unwrap_err();
    assert_eq!(found(&store, &first).await, first);
}

/// "False if its owner does not exist (any more), and then nothing changes."
pub(crate) async fn a_key_needs_its_owner(store: SharedStore) {
    let [user, _, consumer] = owners(&store).await;
    let KeyOwner::User(name) = &user else { panic!("{user:?}") };
    let KeyOwner::Consumer(billing) = &consumer else { panic!("{consumer:?}") };
    let of_consumer = created(&store, key(consumer.clone())).await;
    store.delete_user(name).await.unwrap();
    store.delete_consumer(billing).await.unwrap();
    assert_eq!(store.find_api_key(&of_consumer.id).await.unwrap(), None, "it went with its owner");
    // A producer of the user's name is another owner.
    let (namesake, first_key) = producer(name.as_str());
    store.register_producer(&namesake, &first_key).await.unwrap();
    for owner in [user.clone(), consumer, KeyOwner::Producer(ProducerName::parse(&unique("none")).unwrap())] {
        let key = key(owner);
        assert!(!store.create_api_key(&key).await.unwrap());
        assert_eq!(store.find_api_key(&key.id).await.unwrap(), None);
    }
}

/// "They go with their owner": also those that are created while it is deleted and created anew.
pub(crate) async fn no_key_outlives_its_owner(store: SharedStore) {
    let topic = topic(&store).await;
    let first = consumer(&store, &topic).await;
    let name = first.settings.name.clone();
    let mut tasks = JoinSet::new();
    for _ in 0..40 {
        let (store, key) = (store.clone(), key(KeyOwner::Consumer(name.clone())));
        tasks.spawn(async move { store.create_api_key(&key).await.unwrap().then_some(key.id) });
    }
    store.delete_consumer(&name).await.unwrap();
    let mut ids: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    store.register_consumer(&first.settings, topic.id, Offset::ZERO).await.unwrap();
    ids.retain(|id| !id.is_empty());
    for id in ids {
        assert_eq!(store.find_api_key(&id).await.unwrap(), None, "a key of the one before is left");
    }
}

/// "Keys whose ids come after `after`, in the byte order of ids."
pub(crate) async fn api_keys_are_listed_by_owner(store: SharedStore) {
    let owners = owners(&store).await;
    let mut keys = Vec::new();
    for n in 0..9 {
        keys.push(created(&store, key(owners[n % 3].clone())).await);
    }
    keys.sort_by(|a, b| a.id.cmp(&b.id));
    let listed = async |whose: Whose, after: &str, limit| store.list_api_keys(&whose, after, limit).await.unwrap();
    for owner in owners {
        let own: Vec<_> = keys.iter().filter(|key| key.owner == owner).cloned().collect();
        let found = listed(Whose::Owner(owner.clone()), "", 100).await;
        let first = matches!(owner, KeyOwner::Producer(_)) as usize;
        assert_eq!(found.len(), own.len() + first, "a producer has its first key too");
        assert!(own.iter().all(|key| found.contains(key)) && found.is_sorted_by(|a, b| a.id < b.id));
        assert_eq!(listed(Whose::Owner(owner.clone()), &found[0].id, 1).await, found[1..2]);
        assert_eq!(listed(Whose::Owner(owner), "zzzz", 9).await, []);
    }
    let (all, programs) = (listed(Whose::Everybodys, "", 10_000).await, listed(Whose::Programs, "", 10_000).await);
    let is_user = |key: &ApiKeyRecord| matches!(key.owner, KeyOwner::User(_));
    assert!(all.is_sorted_by(|a, b| a.id < b.id) && keys.iter().all(|key| all.contains(key)));
    assert_eq!(all.into_iter().filter(|key| !is_user(key)).collect::<Vec<_>>(), programs);
}

/// "Keeps `key`, which has the same owner, and lets the key `old` work until `old_expire_time` at most."
pub(crate) async fn a_rotated_key_goes_on_for_a_while(store: SharedStore) {
    for owner in owners(&store).await {
        let endless = created(&store, key(owner.clone())).await;
        let short = created(&store, ApiKeyRecord { expire_time: Some(time(50)), ..key(owner.clone()) }).await;
        for (old, end) in [(endless, time(100)), (short, time(50))] {
            let next = ApiKeyRecord { expire_time: Some(time(900)), ..key(owner.clone()) };
            assert!(store.rotate_api_key(&old.id, time(100), &next).await.unwrap());
            assert_eq!(found(&store, &next).await, next);
            assert_eq!(found(&store, &old).await, ApiKeyRecord { expire_time: Some(end), ..old });
        }
        let next = key(owner);
        assert!(!store.rotate_api_key(&unique("none"), time(100), &next).await.unwrap());
        assert_eq!(store.find_api_key(&next.id).await.unwrap(), None);
    }
}

/// "Revokes a key for good and returns it."
pub(crate) async fn a_revoked_key_stays_revoked(store: SharedStore) {
    let [owner, ..] = owners(&store).await;
    let key = created(&store, key(owner)).await;
    let revoked = ApiKeyRecord { revoked: true, ..key.clone() };
    for _ in 0..2 {
        assert_eq!(store.revoke_api_key(&key.id).await.unwrap().as_ref(), Some(&revoked));
        assert_eq!(found(&store, &key).await, revoked);
    }
    assert_eq!(store.revoke_api_key(&unique("none")).await.unwrap(), None);
}

/// "Notes when keys were last used; times never go back, and missing keys are skipped."
pub(crate) async fn the_last_use_of_keys_is_noted(store: SharedStore) {
    let [owner, ..] = owners(&store).await;
    let (one, two) = (created(&store, key(owner.clone())).await, created(&store, key(owner)).await);
    let used = async |uses: &[(&str, Timestamp)]| {
        let uses: Vec<_> = uses.iter().map(|(id, time)| (id.to_string(), *time)).collect();
        store.use_api_keys(&uses).await.unwrap();
        (found(&store, &one).await.last_used_time, found(&store, &two).await.last_used_time)
    };
    assert_eq!(used(&[(&one.id, time(5)), ("none", time(9))]).await, (Some(time(5)), None));
    assert_eq!(used(&[(&two.id, time(7)), (&one.id, time(4))]).await, (Some(time(5)), Some(time(7))));
    assert_eq!(used(&[]).await, (Some(time(5)), Some(time(7))));
}
