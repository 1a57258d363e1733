//! "Creating topics and finding them."

use std::time::Duration;

use eventflow::{
    domain::{Bounds, NewTopic, Topic, TopicChange, TopicName},
    store::{SharedStore, TopicError},
};
use tokio::task::JoinSet;

use super::fixtures::{append, at, batch_of, new_topic, topic, unique};

/// A topic with no setting left at its default.
fn unusual(name: &str) -> NewTopic {
    NewTopic {
        description: "Bestellungen 🛒 'quoted'\n".into(),
        retention: Some(Duration::from_micros(86_400_000_001)),
        retention_bytes: 1 << 40,
        sealed: true,
        ..new_topic(name)
    }
}

/// "Visible to every later look on every server."
pub(super) async fn topics_round_trip(store: SharedStore) {
    for new in [unusual(&unique("topic")), new_topic(&unique("topic"))] {
        let created = store.create_topic(&new).await.unwrap();
        assert_eq!(created.settings, new);
        assert_eq!(created.bounds, Bounds { head: at(0), trimmed_to: at(0) });
        assert!(!created.log_id.0.is_nil());
        assert_eq!(store.find_topic(&new.name).await.unwrap(), Some(created.clone()));
        let missing = TopicName::parse(&unique("missing")).unwrap();
        let other = topic(&store).await;
        let names = [missing.clone(), new.name.clone(), other.settings.name.clone()];
        let mut found = store.find_topics(&names).await.unwrap();
        found.sort_by_key(|topic| topic.id);
        assert_eq!(found, [created, other]);
        assert_eq!(store.find_topics(&[missing]).await.unwrap(), []);
        assert_eq!(store.find_topics(&[]).await.unwrap(), []);
    }
    let (one, other) = (topic(&store).await, topic(&store).await);
    assert_ne!(one.id, other.id);
    assert_ne!(one.log_id, other.log_id);
}

/// "`TopicError::Exists` carries the topic that has the name, whatever its settings."
pub(super) async fn a_taken_name_shows_its_topic(store: SharedStore) {
    let created = topic(&store).await;
    append(&store, created.id, &batch_of(2)).await;
    let expected = Topic { bounds: Bounds { head: at(2), trimmed_to: at(0) }, ..created.clone() };
    for new in [created.settings.clone(), unusual(created.settings.name.as_str())] {
        let refused = store.create_topic(&new).await;
        assert!(matches!(&refused, Err(TopicError::Exists(topic)) if **topic == expected), "{refused:?}");
    }
    assert_eq!(store.find_topic(&created.settings.name).await.unwrap(), Some(expected));
}

/// Names are unique, also under concurrency.
pub(super) async fn of_eight_creations_one_succeeds(store: SharedStore) {
    let new = new_topic(&unique("topic"));
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let (store, new) = (store.clone(), new.clone());
        tasks.spawn(async move { store.create_topic(&new).await });
    }
    let results = tasks.join_all().await;
    let created: Vec<_> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
    assert_eq!(created.len(), 1, "{results:?}");
    for result in &results {
        if let Err(TopicError::Exists(existing)) = result {
            assert_eq!(existing.id, created[0].id);
        }
    }
    assert_eq!(results.iter().filter(|result| matches!(result, Err(TopicError::Exists(_)))).count(), 7);
}

/// "Topics whose names begin with `prefix` and come after `after`, in the byte order of names."
pub(super) async fn topics_are_listed_in_byte_order(store: SharedStore) {
    let prefix = unique("list");
    // In an order that no locale would use.
    let names = ["-b", ".a", "0", "9", "_a", "a", "a-b", "a.b", "aa", "b"].map(|end| format!("{prefix}{end}"));
    for name in names.iter().rev() {
        store.create_topic(&new_topic(name)).await.unwrap();
    }
    topic(&store).await;
    let listed = async |after: &str, limit| -> Vec<String> {
        let topics = store.list_topics(&prefix, after, limit).await.unwrap();
        topics.iter().map(|topic| topic.settings.name.to_string()).collect()
    };
    assert_eq!(listed("", 100).await, names);
    let mut pages = Vec::new();
    loop {
        let page = listed(pages.last().map_or("", String::as_str), 3).await;
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 3);
        pages.extend(page);
    }
    assert_eq!(pages, names);
    assert_eq!(listed(&names[9], 100).await, [""; 0]);
    assert_eq!(listed("zzz", 100).await, [""; 0]);
    assert_eq!(listed("", 0).await, [""; 0]);
    let all = store.list_topics("", "", 100_000).await.unwrap();
    assert!(all.is_sorted_by(|left, right| left.settings.name.as_str() < right.settings.name.as_str()));
    assert!(names.iter().all(|name| all.iter().any(|topic| topic.settings.name.as_str() == name)));
}

/// A prefix is plain text: `_` and `%` stand for themselves.
pub(super) async fn prefixes_are_no_patterns(store: SharedStore) {
    let prefix = unique("like");
    for end in ["_a", "xa", ".a"] {
        store.create_topic(&new_topic(&format!("{prefix}{end}"))).await.unwrap();
    }
    let count = async |end: &str| store.list_topics(&format!("{prefix}{end}"), "", 10).await.unwrap().len();
    assert_eq!(count("_").await, 1);
    assert_eq!(count("%").await, 0);
    assert_eq!(count("*").await, 0);
    assert_eq!(count("").await, 3);
    assert_eq!(count("xa").await, 1);
    assert_eq!(count("xab").await, 0);
}

/// "Changes a topic and returns it as it is then"; `None` leaves a setting as it is.
pub(super) async fn changes_touch_what_they_name(store: SharedStore) {
    let mut expected = topic(&store).await;
    let name = expected.settings.name.clone();
    let hour = Some(Duration::from_secs(3600));
    let changes = [
        TopicChange::default(),
        TopicChange { description: Some("new".into()), ..TopicChange::default() },
        TopicChange { retention: Some(hour), ..TopicChange::default() },
        TopicChange { retention_bytes: Some(5), ..TopicChange::default() },
        TopicChange { sealed: Some(true), ..TopicChange::default() },
        TopicChange { retention: Some(None), ..TopicChange::default() },
        TopicChange { retention: Some(hour), retention_bytes: Some(0), sealed: Some(false), description: None },
        TopicChange { description: Some(String::new()), ..TopicChange::default() },
    ];
    for change in changes {
        let TopicChange { description, retention, retention_bytes, sealed } = change.clone();
        let settings = &mut expected.settings;
        settings.description = description.unwrap_or(settings.description.clone());
        settings.retention = retention.unwrap_or(settings.retention);
        settings.retention_bytes = retention_bytes.unwrap_or(settings.retention_bytes);
        settings.sealed = sealed.unwrap_or(settings.sealed);
        let changed = store.update_topic(&name, &change).await.unwrap();
        assert_eq!(changed.as_ref(), Some(&expected), "{change:?}");
        assert_eq!(store.find_topic(&name).await.unwrap(), changed);
    }
}

/// "`None` if there is none of this name."
pub(super) async fn a_missing_topic_is_none(store: SharedStore) {
    let name = TopicName::parse(&unique("missing")).unwrap();
    assert_eq!(store.find_topic(&name).await.unwrap(), None);
    let change = TopicChange { sealed: Some(true), ..TopicChange::default() };
    assert_eq!(store.update_topic(&name, &change).await.unwrap(), None);
}
