//! "Keeping producers."

use eventflow::{
    domain::{ProducerName, TopicPattern},
    store::{KeyOwner, NewProducer, Producer, ProducerChange, RegisterProducerError, SharedStore},
};

use super::{key, producer};
use crate::contract::fixtures::unique;

/// "Registers a producer together with its first key, or nothing."
pub(crate) async fn producers_come_with_their_key_or_not_at_all(store: SharedStore) {
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
pub(crate) async fn producers_are_listed_in_byte_order(store: SharedStore) {
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

/// "Changes what `change` names, and returns the producer as it is then."
pub(crate) async fn changes_touch_what_they_name(store: SharedStore) {
    let (new, first_key) = producer(&unique("shop"));
    let before = store.register_producer(&new, &first_key).await.unwrap();
    let update = async |change| store.update_producer(&new.name, &change).await.unwrap().unwrap().settings;
    assert_eq!(update(ProducerChange::default()).await, new);
    let mut expected = new.clone();

    expected.description = String::new();
    let change = ProducerChange { description: Some(String::new()), ..Default::default() };
    assert_eq!(update(change).await, expected);
    for topics in [vec![], vec![TopicPattern::parse("other*").unwrap()]] {
        expected.topics = topics.clone();
        assert_eq!(update(ProducerChange { topics: Some(topics), ..Default::default() }).await, expected);
    }
    expected.disabled = false;
    assert_eq!(update(ProducerChange { disabled: Some(false), ..Default::default() }).await, expected);
    let after = Producer { settings: expected, ..before };
    assert_eq!(store.find_producer(&new.name).await.unwrap(), Some(after));

    let missing = ProducerName::parse(&unique("missing")).unwrap();
    assert_eq!(store.update_producer(&missing, &ProducerChange::default()).await.unwrap(), None);
}

/// "Deletes a producer with its keys, or nothing; false if there is none of this name."
pub(crate) async fn a_deleted_producer_takes_its_keys_along(store: SharedStore) {
    let ((shop, shop_key), (till, till_key)) = (producer(&unique("shop")), producer(&unique("till")));
    store.register_producer(&shop, &shop_key).await.unwrap();
    store.register_producer(&till, &till_key).await.unwrap();
    let further = key(KeyOwner::Producer(shop.name.clone()));
    assert!(store.create_api_key(&further).await.unwrap());

    assert!(store.delete_producer(&shop.name).await.unwrap());
    assert!(!store.delete_producer(&shop.name).await.unwrap());
    assert_eq!(store.find_producer(&shop.name).await.unwrap(), None);
    let (_, new_key) = producer(shop.name.as_str());
    store.register_producer(&shop, &new_key).await.unwrap();
    for (key, left) in [(&shop_key, false), (&further, false), (&till_key, true), (&new_key, true)] {
        assert_eq!(store.find_api_key(&key.id).await.unwrap().is_some(), left);
    }
}
