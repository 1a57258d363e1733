//! "Keeping logins."

use std::time::Duration;

use eventflow::{
    domain::Timestamp,
    store::{RefreshTrade, Refreshed, SessionRecord, SharedStore, User, UserChange},
};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{HASH, added, time, user};
use crate::contract::fixtures::unique;

const FAMILY: [u8; 32] = [7; 32];

/// A login of a user.
pub(super) fn session(user: &User) -> SessionRecord {
    SessionRecord {
        id: Uuid::new_v4(),
        user: user.name.clone(),
        family_hash: FAMILY,
        refresh_hash: hash(1),
        create_time: time(2),
        refresh_expire_time: time(100),
        expire_time: time(1000),
        end_time: None,
    }
}

/// The hash of a refresh token.
fn hash(token: u8) -> [u8; 32] {
    std::array::from_fn(|n| token ^ n as u8)
}

/// A trade of one token for another at a time.
fn trade(old: u8, new: u8, now: Timestamp) -> RefreshTrade {
    let new_expire_time = now.plus(Duration::from_micros(50));
    RefreshTrade { family_hash: FAMILY, old_hash: hash(old), new_hash: hash(new), new_expire_time, now }
}

async fn opened(store: &SharedStore) -> SessionRecord {
    let session = session(&added(store, user(&unique("ada"))).await);
    assert!(store.create_session(&session, HASH).await.unwrap());
    session
}

async fn found(store: &SharedStore, id: Uuid) -> SessionRecord {
    store.find_session(id).await.unwrap().unwrap()
}

/// "Ends a session; one that has ended, or never was, stays so."
pub(crate) async fn sessions_end_once(store: SharedStore) {
    let ada = added(&store, user(&unique("ada"))).await;
    let session = session(&ada);
    assert_eq!(store.find_session(session.id).await.unwrap(), None);
    assert!(store.create_session(&session, HASH).await.unwrap());
    assert_eq!(store.find_session(session.id).await.unwrap().as_ref(), Some(&session));

    store.end_session(session.id, time(5)).await.unwrap();
    let ended = SessionRecord { end_time: Some(time(5)), ..session };
    assert_eq!(found(&store, ended.id).await, ended);
    store.end_session(ended.id, time(6)).await.unwrap();
    assert_eq!(found(&store, ended.id).await, ended);

    let missing = Uuid::new_v4();
    store.end_session(missing, time(7)).await.unwrap();
    assert_eq!(store.find_session(missing).await.unwrap(), None);
}

/// "If its user is enabled and has this password; false if not, and then nothing changes."
pub(crate) async fn a_session_needs_its_user_and_the_password(store: SharedStore) {
    let ada = added(&store, user(&unique("ada"))).await;
    let (nobody, program) = (user(&unique("nobody")), User { password_hash: None, ..user(&unique("ci")) });
    added(&store, program.clone()).await;
    let refused = session(&ada);
    assert!(!store.create_session(&refused, "another").await.unwrap());
    for (user, hash) in [(&nobody, HASH), (&program, HASH), (&program, "")] {
        assert!(!store.create_session(&session(user), hash).await.unwrap());
    }
    let off = UserChange { role: None, disabled: Some(true) };
    store.update_user(&ada.name, off, time(3)).await.unwrap();
    assert!(!store.create_session(&refused, HASH).await.unwrap());
    assert_eq!(store.find_session(refused.id).await.unwrap(), None);
}

/// "Sessions of the user that are over for a day are forgotten."
pub(crate) async fn old_sessions_are_forgotten(store: SharedStore) {
    let ada = added(&store, user(&unique("ada"))).await;
    let (day, minute) = (Duration::from_secs(24 * 3600), Duration::from_secs(60));
    let over = SessionRecord { expire_time: time(0), ..session(&ada) };
    assert!(store.create_session(&over, HASH).await.unwrap());
    let soon = SessionRecord { create_time: time(0).plus(day - minute), ..session(&ada) };
    assert!(store.create_session(&soon, HASH).await.unwrap());
    assert!(store.find_session(over.id).await.unwrap().is_some());
    let later = SessionRecord { create_time: time(0).plus(day + minute), ..session(&ada) };
    assert!(store.create_session(&later, HASH).await.unwrap());
    assert_eq!(store.find_session(over.id).await.unwrap(), None);
}

/// "Trades the session's refresh token for the next one", each once.
pub(crate) async fn a_refresh_token_works_once(store: SharedStore) {
    let session = opened(&store).await;
    let refresh = async |trade| store.refresh_session(session.id, &trade).await.unwrap();
    assert_eq!(refresh(trade(1, 2, time(10))).await, Refreshed::Renewed);
    assert_eq!(refresh(trade(2, 3, time(20))).await, Refreshed::Renewed);
    let now = found(&store, session.id).await;
    let expected = SessionRecord { refresh_hash: hash(3), refresh_expire_time: time(70), ..session.clone() };
    assert_eq!(now, expected);

    // Another family's token is nobody's, and harms nothing.
    let foreign = RefreshTrade { family_hash: [8; 32], ..trade(3, 4, time(30)) };
    assert_eq!(refresh(foreign).await, Refreshed::Unknown);
    assert_eq!(store.refresh_session(Uuid::new_v4(), &trade(3, 4, time(30))).await.unwrap(), Refreshed::Unknown);
    assert_eq!(found(&store, session.id).await, expected);

    // An earlier one ends the session, also for the one that would have worked next.
    assert_eq!(refresh(trade(1, 4, time(40))).await, Refreshed::Reused);
    assert_eq!(found(&store, session.id).await, SessionRecord { end_time: Some(time(40)), ..expected });
    assert_eq!(refresh(trade(3, 4, time(41))).await, Refreshed::Ended);
    assert_eq!(refresh(trade(1, 4, time(42))).await, Refreshed::Ended);
    assert_eq!(found(&store, session.id).await.end_time, Some(time(40)));
}

/// "The token or its session is over."
pub(crate) async fn a_refresh_token_ends_by_itself(store: SharedStore) {
    let session = opened(&store).await;
    let refresh = async |trade| store.refresh_session(session.id, &trade).await.unwrap();
    assert_eq!(refresh(trade(1, 2, time(100))).await, Refreshed::Expired);
    assert_eq!(refresh(trade(1, 2, time(99))).await, Refreshed::Renewed);
    assert_eq!(refresh(trade(2, 3, time(149))).await, Refreshed::Expired);
    let long = RefreshTrade { new_expire_time: time(5000), ..trade(2, 3, time(140)) };
    assert_eq!(refresh(long).await, Refreshed::Renewed);
    assert_eq!(refresh(trade(3, 4, time(1000))).await, Refreshed::Expired);
    assert_eq!(found(&store, session.id).await.end_time, None);
}

/// "Of several trades of one token, exactly one is `Refreshed::Renewed`, and the next one ends the
/// session."
pub(crate) async fn of_twenty_trades_of_a_token_one_succeeds(store: SharedStore) {
    let session = opened(&store).await;
    let mut tasks = JoinSet::new();
    for n in 0..20 {
        let (store, id) = (store.clone(), session.id);
        tasks.spawn(async move { store.refresh_session(id, &trade(1, 100 + n, time(10))).await.unwrap() });
    }
    let outcomes = tasks.join_all().await;
    let count = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    let counts = [Refreshed::Renewed, Refreshed::Reused, Refreshed::Ended].map(count);
    assert_eq!(counts, [1, 1, 18], "{outcomes:?}");
    assert_eq!(found(&store, session.id).await.end_time, Some(time(10)));
}
