//! "Registering consumers, holding them, and storing their offsets."

use std::time::Duration;

use eventflow::{
    domain::{
        ConsumerName, Filter, Mode, NewConsumer, Offset, QueuePolicy, StartFrom, Timestamp, TopicId, TypePattern,
    },
    store::{RegisterConsumerError, SharedStore},
};

use super::fixtures::{NO_TOPIC, append, at, batch_of, consumer, new_consumer, topic, unique};

/// "Registers a consumer whose stored offset is `stored`."
pub(super) async fn consumers_round_trip(store: SharedStore) {
    let topic = topic(&store).await;
    append(&store, topic.id, &batch_of(9)).await;
    let plain = new_consumer(&topic, &unique("consumer"));
    let unusual = NewConsumer {
        mode: Mode::Queue,
        filter: Filter {
            types: vec![TypePattern::new("order.*"), TypePattern::new("*"), TypePattern::new("exact \"'")],
            keys: vec!["".into(), "key 'ä' {}".into()],
            attributes: [("region".into(), "eu, \"west\"".into()), ("b".into(), "".into())].into(),
            correlation_ids: vec!["c\\1".into()],
            producers: vec!["producers/shop".into(), "users/ada".into()],
        },
        start: StartFrom::After(at(7)),
        queue: QueuePolicy {
            lease: Duration::from_micros(1_500_001),
            backoff: vec![Duration::ZERO, Duration::from_millis(1), Duration::from_secs(86_400)],
            max_attempts: 17,
            max_in_flight: 3,
        },
        ..new_consumer(&topic, &unique("consumer"))
    };
    let starts = [StartFrom::Earliest, StartFrom::Head, StartFrom::Time(Timestamp::MIN)];
    let started = starts.map(|start| NewConsumer { start, ..new_consumer(&topic, &unique("consumer")) });
    for (n, new) in [plain, unusual].into_iter().chain(started).enumerate() {
        let stored = at(n as i64);
        let registered = store.register_consumer(&new, topic.id, stored).await.unwrap();
        assert_eq!(registered.settings, new);
        assert_eq!((registered.topic_id, registered.stored), (topic.id, stored));
        assert_eq!((registered.paused, registered.trimmed_events), (false, 0));
        assert_eq!(store.find_consumer(&new.name).await.unwrap(), Some(registered));
    }
}

/// "`RegisterConsumerError::Exists` carries the consumer that has the name."
pub(super) async fn a_taken_name_shows_its_consumer(store: SharedStore) {
    let (left, right) = (topic(&store).await, topic(&store).await);
    let existing = consumer(&store, &left).await;
    let other = NewConsumer { mode: Mode::Queue, ..new_consumer(&right, existing.settings.name.as_str()) };
    for (new, topic) in [(&existing.settings, left.id), (&other, right.id)] {
        let refused = store.register_consumer(new, topic, at(3)).await;
        assert!(
            matches!(&refused, Err(RegisterConsumerError::Exists(found)) if **found == existing),
            "{refused:?} is not {existing:?}"
        );
    }
    assert_eq!(store.find_consumer(&existing.settings.name).await.unwrap(), Some(existing));
}

/// "There is no such topic (any more)."
pub(super) async fn a_missing_topic_is_refused(store: SharedStore) {
    let topic = topic(&store).await;
    let new = new_consumer(&topic, &unique("consumer"));
    let refused = store.register_consumer(&new, NO_TOPIC, Offset::ZERO).await;
    assert!(matches!(refused, Err(RegisterConsumerError::TopicNotFound)), "{refused:?}");
    assert_eq!(store.find_consumer(&new.name).await.unwrap(), None);
}

/// "Consumers (of one topic, if given) whose names come after `after`, in the byte order of names."
pub(super) async fn consumers_are_listed_in_byte_order(store: SharedStore) {
    let (left, right) = (topic(&store).await, topic(&store).await);
    let prefix = unique("c");
    let names = ["-b", ".a", "0", "_a", "a", "a-b", "aa"].map(|end| format!("{prefix}{end}"));
    for (n, name) in names.iter().enumerate().rev() {
        let topic = if n % 2 == 0 { &left } else { &right };
        store.register_consumer(&new_consumer(topic, name), topic.id, Offset::ZERO).await.unwrap();
    }
    let listed = async |topic: Option<TopicId>, after: &str, limit| -> Vec<String> {
        let consumers = store.list_consumers(topic, after, limit).await.unwrap();
        consumers.iter().map(|consumer| consumer.settings.name.to_string()).collect()
    };
    assert_eq!(listed(Some(left.id), "", 100).await, [&*names[0], &names[2], &names[4], &names[6]]);
    assert_eq!(listed(Some(right.id), "", 2).await, [&*names[1], &names[3]]);
    assert_eq!(listed(Some(right.id), &names[3], 2).await, [&*names[5]]);
    assert_eq!(listed(None, &prefix, 7).await, names);
    assert_eq!(listed(Some(NO_TOPIC), "", 7).await, [""; 0]);
    assert!(listed(None, "", 100_000).await.is_sorted());
}

/// "Its name is free at once", and its id is never used again.
pub(super) async fn a_deleted_consumer_is_gone_and_its_name_free(store: SharedStore) {
    let topic = topic(&store).await;
    let first = consumer(&store, &topic).await;
    let name = first.settings.name.clone();
    assert_eq!(store.delete_consumer(&name).await.unwrap(), Some(first.id));
    assert_eq!(store.find_consumer(&name).await.unwrap(), None);
    assert_eq!(store.list_consumers(Some(topic.id), "", 10).await.unwrap(), []);
    assert_eq!(store.delete_consumer(&name).await.unwrap(), None);
    let second = store.register_consumer(&first.settings, topic.id, Offset::ZERO).await.unwrap();
    assert!(second.id > first.id, "{:?} was used again", first.id);
    let missing = ConsumerName::parse(&unique("missing")).unwrap();
    assert_eq!(store.delete_consumer(&missing).await.unwrap(), None);
}
