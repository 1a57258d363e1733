//! "Keeping the keys that sign tokens."

use eventflow::store::{SharedStore, SigningKey};
use tokio::task::JoinSet;

use super::time;

fn key(n: u8, micros: i64) -> SigningKey {
    SigningKey { id: format!("key-{n}"), pkcs8: vec![n; 83], create_time: time(micros) }
}

async fn ids(store: &SharedStore) -> Vec<String> {
    store.signing_keys().await.unwrap().into_iter().map(|key| key.id).collect()
}

/// The store has no signing keys.
pub(crate) async fn signing_keys_follow_each_other(store: SharedStore) {
    of_twenty_first_signing_keys_one_is_kept(store.clone()).await;
    one_key_follows_another(store).await;
}

/// "Of two servers that do so at once, one wins, and both find the same key afterwards." There is none.
async fn of_twenty_first_signing_keys_one_is_kept(store: SharedStore) {
    assert!(store.signing_keys().await.unwrap().is_empty());
    let mut tasks = JoinSet::new();
    for n in 0..20_u8 {
        let store = store.clone();
        let key = key(n, i64::from(n));
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

/// "Keeps `key` if none is younger than `due`; of several servers at once, one does. Forgets each key
/// that has a younger one as old as `forget`."
async fn one_key_follows_another(store: SharedStore) {
    let first = ids(&store).await;
    let mut tasks = JoinSet::new();
    for n in 100..120_u8 {
        let store = store.clone();
        tasks.spawn(async move {
            let key = key(n, 1000);
            store.rotate_signing_key(&key, time(500), time(0)).await.unwrap().then_some(key.id)
        });
    }
    let added: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(added.len(), 1, "{added:?} were added");
    assert_eq!(ids(&store).await, [first[0].as_str(), &added[0]]);

    // Not due, and nothing to be forgotten: the newest key is a moment too young for either.
    assert!(!store.rotate_signing_key(&key(200, 2000), time(999), time(999)).await.unwrap());
    assert_eq!(ids(&store).await.len(), 2);
    assert!(!store.rotate_signing_key(&key(200, 2000), time(999), time(1000)).await.unwrap());
    assert_eq!(ids(&store).await, added, "the first key signed its last token long ago");
    assert!(store.rotate_signing_key(&key(200, 2000), time(1000), time(1000)).await.unwrap());
    assert_eq!(ids(&store).await, [added[0].as_str(), "key-200"]);
}
