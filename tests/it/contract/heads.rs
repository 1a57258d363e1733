//! "What these topics hold; those that do not exist are left out."

use std::collections::BTreeMap;

use eventflow::{domain::Bounds, store::SharedStore};

use super::fixtures::{NO_TOPIC, append, at, batch_of, topic};

/// Each topic's own, with missing ones left out.
pub(super) async fn heads_of_many_topics(store: SharedStore) {
    let mut expected = BTreeMap::new();
    for n in 0..30 {
        let topic = topic(&store).await.id;
        for _ in 0..n % 4 {
            append(&store, topic, &batch_of(3)).await;
        }
        let trimmed_to = if n % 4 > 1 { 3 } else { 0 };
        store.trim(topic, at(trimmed_to)).await.unwrap();
        expected.insert(topic, Bounds { head: at(n % 4 * 3), trimmed_to: at(trimmed_to) });
    }
    let mut asked: Vec<_> = expected.keys().copied().collect();
    asked.insert(7, NO_TOPIC);
    let heads = store.heads(&asked).await.unwrap();
    assert_eq!(heads.len(), expected.len(), "a topic is there twice, or a missing one is");
    assert_eq!(heads.iter().map(|head| (head.topic, head.bounds)).collect::<BTreeMap<_, _>>(), expected);
}

/// Nothing asked, nothing answered.
pub(super) async fn heads_of_no_topics(store: SharedStore) {
    assert_eq!(store.heads(&[]).await.unwrap(), []);
    assert_eq!(store.heads(&[NO_TOPIC]).await.unwrap(), []);
}
