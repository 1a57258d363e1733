//! "A server says so again and again; one that was killed is forgotten when its lease runs out."

use std::time::Duration;

use eventflow::{domain::ServerId, store::SharedStore};
use uuid::Uuid;

use super::fixtures::{LONG, SHORT, moment, unique};

fn server() -> ServerId {
    ServerId(Uuid::new_v4())
}

async fn alive(store: &SharedStore) -> Vec<ServerId> {
    store.servers(100).await.unwrap().into_iter().map(|server| server.id).collect()
}

/// "In the order in which they came."
pub(super) async fn living_servers_are_listed(store: SharedStore) {
    let servers = [server(), server(), server()];
    for (n, id) in servers.iter().enumerate() {
        store.beat(*id, &format!("10.0.0.{n}:50051"), "1.2.3", LONG).await.unwrap();
    }
    let listed = store.servers(100).await.unwrap();
    assert_eq!(listed.iter().map(|server| server.id).collect::<Vec<_>>(), servers);
    assert_eq!((listed[1].name.as_str(), listed[1].version.as_str()), ("10.0.0.1:50051", "1.2.3"));
    assert_eq!(store.servers(2).await.unwrap(), listed[..2]);

    // Another beat changes nothing that is seen.
    store.beat(servers[0], "10.0.0.0:50051", "1.2.3", LONG).await.unwrap();
    assert_eq!(store.servers(100).await.unwrap(), listed);
    for id in servers {
        store.leave(id).await.unwrap();
        store.leave(id).await.unwrap();
    }
    assert_eq!(alive(&store).await, []);
}

/// "Forgotten when its lease runs out", unless it beats.
pub(super) async fn a_server_lives_as_long_as_its_lease(store: SharedStore) {
    let (lasting, silent) = (server(), server());
    store.beat(lasting, "a", "1", SHORT).await.unwrap();
    store.beat(silent, "b", "1", SHORT).await.unwrap();
    store.beat(lasting, "a", "1", LONG).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(alive(&store).await, [lasting]);
    store.beat(silent, "b", "1", LONG).await.unwrap();
    assert_eq!(alive(&store).await.len(), 2);
    store.leave(lasting).await.unwrap();
    store.leave(silent).await.unwrap();
}

/// "Takes a duty that one server does for all, or keeps it, for `lease` from now."
pub(super) async fn a_duty_has_one_server(store: SharedStore) {
    let (one, other) = (ServerId(Uuid::new_v4()), ServerId(Uuid::new_v4()));
    let (duty, unrelated) = (unique("duty"), unique("duty"));
    assert!(store.take_duty(&duty, one, LONG).await.unwrap());
    assert!(!store.take_duty(&duty, other, LONG).await.unwrap(), "two have it");
    assert!(store.take_duty(&unrelated, other, LONG).await.unwrap());
    // Renewed for less, it is free soon.
    assert!(store.take_duty(&duty, one, SHORT).await.unwrap());
    moment().await;
    assert!(store.take_duty(&duty, other, LONG).await.unwrap());
    assert!(!store.take_duty(&duty, one, LONG).await.unwrap());

    let contested = unique("duty");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (store, duty) = (store.clone(), contested.clone());
        tasks.spawn(async move { store.take_duty(&duty, ServerId(Uuid::new_v4()), LONG).await.unwrap() });
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|taken| *taken).count(), 1);
}
