//! "Deletes a topic. From then on nothing finds it, …"

use eventflow::{
    domain::{Offset, Timestamp, TopicChange, TopicId},
    store::{AppendError, DeleteTopicError, RegisterConsumerError, Removed, SharedStore},
};
use tokio::task::JoinSet;

use super::fixtures::{
    ALL, NO_TOPIC, append, at, batch, batch_of, consumer, identified, identity, new_consumer, offsets, read, topic,
    unique,
};

/// Removes all that a deleted topic left, and returns how much that was.
async fn remove_all(store: &SharedStore, topic: TopicId) -> Removed {
    let mut sum = Removed::default();
    let mut rest = Some(Offset::ZERO);
    while let Some(after) = rest {
        let Removed { events, segments, more } = store.remove_deleted(topic, after).await.unwrap();
        sum = Removed { events: sum.events + events, segments: sum.segments + segments, more };
        rest = more;
    }
    sum
}

async fn deleted(store: &SharedStore) -> Vec<TopicId> {
    store.deleted_topics(100_000).await.unwrap()
}

/// "Nothing finds it, nothing can be appended to it and no consumer registered on it."
pub(super) async fn nothing_finds_a_deleted_topic(store: SharedStore) {
    let topic = topic(&store).await;
    append(&store, topic.id, &batch(vec![identified("a")])).await;
    let (id, name) = (topic.id, &topic.settings.name);
    assert_eq!(store.delete_topic(name).await.unwrap(), id);

    assert_eq!(store.find_topic(name).await.unwrap(), None);
    assert_eq!(store.list_topics(name.as_str(), "", 10).await.unwrap(), []);
    assert_eq!(store.heads(&[id]).await.unwrap(), []);
    assert!(store.read(id, at(0), ALL).await.unwrap().is_none());
    assert_eq!(store.before_time(id, Timestamp::now()).await.unwrap(), None);
    assert_eq!(store.trim(id, at(1)).await.unwrap(), None);
    let change = TopicChange { sealed: Some(true), ..TopicChange::default() };
    assert_eq!(store.update_topic(name, &change).await.unwrap(), None);
    let refused = store.append(id, &batch_of(1)).await;
    assert!(matches!(refused, Err(AppendError::TopicNotFound)), "{refused:?}");
    let refused = store.register_consumer(&new_consumer(&topic, &unique("consumer")), id, Offset::ZERO).await;
    assert!(matches!(refused, Err(RegisterConsumerError::TopicNotFound)), "{refused:?}");
    let refused = store.delete_topic(name).await;
    assert!(matches!(refused, Err(DeleteTopicError::NotFound)), "{refused:?}");
}

/// "Its name is free, and its id is never used again."
pub(super) async fn a_topic_created_anew_is_another_one(store: SharedStore) {
    let first = topic(&store).await;
    append(&store, first.id, &batch(vec![identified("a"), identified("b")])).await;
    store.delete_topic(&first.settings.name).await.unwrap();
    let second = store.create_topic(&first.settings).await.unwrap();
    assert!(second.id > first.id, "{} was used again", first.id);
    assert_ne!(second.log_id, first.log_id);
    assert_eq!(second.bounds.head, at(0));
    assert_eq!(store.find_ids(second.id, &[identity("a").key]).await.unwrap(), []);
    assert_eq!(append(&store, second.id, &batch(vec![identified("a")])).await.0, at(1));

    remove_all(&store, first.id).await;
    assert_eq!(offsets(&read(&store, second.id, 0, ALL).await), [1], "the old topic took events of the new one");
    assert_eq!(store.find_ids(second.id, &[identity("a").key]).await.unwrap().len(), 1);
    assert_eq!(store.delete_topic(&first.settings.name).await.unwrap(), second.id);
}

/// "Refused with `DeleteTopicError::InUse` while a consumer is registered on it."
pub(super) async fn a_topic_in_use_stays(store: SharedStore) {
    let topic = topic(&store).await;
    let consumer = consumer(&store, &topic).await;
    let refused = store.delete_topic(&topic.settings.name).await;
    let named =
        matches!(&refused, Err(DeleteTopicError::InUse { consumer: found }) if *found == consumer.settings.name);
    assert!(named, "{refused:?}");
    assert_eq!(store.find_topic(&topic.settings.name).await.unwrap(), Some(topic.clone()));
    store.delete_consumer(&consumer.settings.name).await.unwrap();
    assert_eq!(store.delete_topic(&topic.settings.name).await.unwrap(), topic.id);
}

/// "Of a deletion and a registration at the same time, one is refused."
pub(super) async fn of_a_deletion_and_a_registration_one_is_refused(store: SharedStore) {
    for round in 0..30 {
        let topic = topic(&store).await;
        let new = new_consumer(&topic, &unique("consumer"));
        let pause = std::time::Duration::from_micros(round * 50);
        let register = async {
            tokio::time::sleep(pause).await;
            store.register_consumer(&new, topic.id, Offset::ZERO).await
        };
        let (deleted, registered) = tokio::join!(store.delete_topic(&topic.settings.name), register);
        match (&deleted, &registered) {
            (Ok(_), Err(RegisterConsumerError::TopicNotFound)) => {
                assert_eq!(store.find_consumer(&new.name).await.unwrap(), None);
            }
            (Err(DeleteTopicError::InUse { .. }), Ok(_)) => {
                assert!(store.find_topic(&topic.settings.name).await.unwrap().is_some());
            }
            other => panic!("not one of both: {other:?}"),
        }
    }
}

/// Every append that was acknowledged came before the deletion: what is removed is what was acknowledged.
pub(super) async fn appends_are_before_the_deletion_or_refused(store: SharedStore) {
    for _ in 0..5 {
        let topic = topic(&store).await;
        let mut appenders = JoinSet::new();
        for _ in 0..4 {
            let (store, id) = (store.clone(), topic.id);
            appenders.spawn(async move {
                let mut acknowledged = 0;
                loop {
                    match store.append(id, &batch_of(3)).await {
                        Ok(_) => acknowledged += 3,
                        Err(AppendError::TopicNotFound) => return acknowledged,
                        Err(error) => panic!("{error:?}"),
                    }
                }
            });
        }
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        store.delete_topic(&topic.settings.name).await.unwrap();
        let removed = remove_all(&store, topic.id).await;
        let acknowledged: u64 = appenders.join_all().await.into_iter().sum();
        assert_eq!(removed.events, acknowledged);
        assert_eq!(remove_all(&store, topic.id).await.events, 0, "something came after the deletion");
    }
}

/// "Removes some of what a deleted topic left … when nothing is left, the topic is not listed any more."
pub(super) async fn what_a_deleted_topic_left_goes_in_steps(store: SharedStore) {
    let (gone, kept) = (topic(&store).await, topic(&store).await);
    for _ in 0..30 {
        let events = (0..1000).map(|_| identified(&uuid::Uuid::now_v7().to_string())).collect();
        append(&store, gone.id, &batch(events)).await;
    }
    append(&store, kept.id, &batch(vec![identified("a")])).await;
    assert!(!deleted(&store).await.contains(&gone.id));
    store.delete_topic(&gone.settings.name).await.unwrap();
    assert!(deleted(&store).await.contains(&gone.id));
    assert_eq!(store.deleted_topics(0).await.unwrap(), []);

    let step = store.remove_deleted(gone.id, Offset::ZERO).await.unwrap();
    assert!((1000..10_000).contains(&step.events) && step.segments < 10 && step.more.is_some(), "{step:?}");
    assert!(deleted(&store).await.contains(&gone.id));
    // As after a server was killed in between: from the beginning, and by two at once.
    let (one, other) = tokio::join!(remove_all(&store, gone.id), remove_all(&store, gone.id));
    assert!(one.events + other.events >= 30_000 - step.events);
    assert!(!deleted(&store).await.contains(&gone.id));
    assert_eq!(store.remove_deleted(gone.id, Offset::ZERO).await.unwrap(), Removed::default());
    assert_eq!(store.find_ids(kept.id, &[identity("a").key]).await.unwrap().len(), 1);
}

/// "Of a topic that lives, nothing goes that is kept."
pub(super) async fn a_topic_that_lives_loses_nothing(store: SharedStore) {
    let topic = topic(&store).await;
    append(&store, topic.id, &batch_of(3)).await;
    assert_eq!(store.remove_deleted(topic.id, Offset::ZERO).await.unwrap(), Removed::default());
    assert_eq!(store.remove_deleted(NO_TOPIC, Offset::ZERO).await.unwrap(), Removed::default());
    assert_eq!(store.find_topic(&topic.settings.name).await.unwrap().unwrap().bounds.head, at(3));
    assert_eq!(offsets(&read(&store, topic.id, 0, ALL).await), [1, 2, 3]);
}

/// "`NotFound` if there is none of this name."
pub(super) async fn a_missing_topic_is_refused(store: SharedStore) {
    let missing = super::fixtures::new_topic(&unique("missing")).name;
    let refused = store.delete_topic(&missing).await;
    assert!(matches!(refused, Err(DeleteTopicError::NotFound)), "{refused:?}");
}
