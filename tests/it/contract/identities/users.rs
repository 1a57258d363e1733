//! "Keeping people, and programs with a role."

use eventflow::{
    domain::Role,
    store::{KeyOwner, SharedStore, User, UserChange, UserError},
};
use tokio::task::JoinSet;

use super::{HASH, added, key, name, sessions::session, time, user};
use crate::contract::fixtures::unique;

const DISABLE: UserChange = UserChange { role: None, disabled: Some(true) };
const DEMOTE: UserChange = UserChange { role: Some(Role::Operator), disabled: None };

fn admin(username: &str) -> User {
    User { role: Role::Admin, ..user(username) }
}

/// "Of two servers that create the same user at once, exactly one gets true." The store is empty.
pub(crate) async fn of_twenty_creations_of_a_user_one_succeeds(store: SharedStore) {
    assert!(!store.has_users().await.unwrap());
    let name = unique("ada");
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

/// "None leaves the store without an admin who is enabled." The store has none yet.
pub(crate) async fn of_many_ends_of_all_admins_one_is_refused(store: SharedStore) {
    let mut left: Option<User> = None;
    for round in 0..10 {
        let mut admins: Vec<User> = left.into_iter().collect();
        for _ in 0..4 {
            admins.push(added(&store, admin(&unique("admin"))).await);
        }
        let mut tasks = JoinSet::new();
        for (n, admin) in admins.into_iter().enumerate() {
            let store = store.clone();
            tasks.spawn(async move {
                let outcome = match (n + round) % 3 {
                    0 => store.update_user(&admin.name, DISABLE, time(9)).await.map(drop),
                    1 => store.update_user(&admin.name, DEMOTE, time(9)).await.map(drop),
                    _ => store.delete_user(&admin.name).await,
                };
                match outcome {
                    Ok(()) => None,
                    Err(UserError::LastAdmin) => Some(admin),
                    Err(error) => panic!("{error:?}"),
                }
            });
        }
        let mut refused: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
        assert_eq!(refused.len(), 1, "{refused:?} were refused");
        left = refused.pop();
    }
    let last = left.unwrap();
    assert!(matches!(store.delete_user(&last.name).await, Err(UserError::LastAdmin)));
    assert_eq!(store.find_user(&last.name).await.unwrap().as_ref(), Some(&last), "it was not touched");
    // What ends nobody's being an admin is allowed, and one that is disabled does not count.
    let stays = UserChange { role: Some(Role::Admin), disabled: Some(false) };
    assert_eq!(store.update_user(&last.name, stays, time(9)).await.unwrap(), last);
    let off = added(&store, User { disabled: true, ..admin(&unique("admin")) }).await;
    assert!(matches!(store.update_user(&last.name, DISABLE, time(9)).await, Err(UserError::LastAdmin)));
    store.delete_user(&off.name).await.unwrap();
}

/// A user comes back as it was created.
pub(crate) async fn users_round_trip(store: SharedStore) {
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
pub(crate) async fn a_taken_user_name_changes_nothing(store: SharedStore) {
    let first = added(&store, user(&unique("ada"))).await;
    let second = User { role: Role::Admin, password_hash: None, ..first.clone() };
    assert!(!store.create_user(&second).await.unwrap());
    assert_eq!(store.find_user(&first.name).await.unwrap(), Some(first));
}

/// "Users whose names come after `after`, in the byte order of names."
pub(crate) async fn users_are_listed_in_byte_order(store: SharedStore) {
    let prefix = unique("u");
    let names = ["-b", ".a", "0", "_a", "a", "a-b", "aa"].map(|end| format!("{prefix}{end}"));
    for name in names.iter().rev() {
        added(&store, user(name)).await;
    }
    let listed = async |after: &str, limit| -> Vec<String> {
        store.list_users(after, limit).await.unwrap().iter().map(|user| user.name.to_string()).collect()
    };
    assert_eq!(listed(&prefix, 7).await, names);
    assert_eq!(listed(&names[1], 2).await, names[2..4]);
    assert_eq!(listed("zzzz", 10).await, [""; 0]);
    assert!(listed("", 100_000).await.is_sorted());
}

/// "Changes a user and returns it as it is then; disabling it ends its sessions at `now`."
pub(crate) async fn changes_touch_what_they_name(store: SharedStore) {
    let ada = added(&store, user(&unique("ada"))).await;
    let (one, two) = (session(&ada), session(&ada));
    for session in [&one, &two] {
        assert!(store.create_session(session, HASH).await.unwrap());
    }
    store.end_session(two.id, time(5)).await.unwrap();

    let change = UserChange { role: Some(Role::Viewer), disabled: None };
    let viewer = store.update_user(&ada.name, change, time(7)).await.unwrap();
    assert_eq!(viewer, User { role: Role::Viewer, ..ada.clone() });
    assert_eq!(store.update_user(&ada.name, UserChange::default(), time(7)).await.unwrap(), viewer);
    assert_eq!(store.find_session(one.id).await.unwrap().unwrap().end_time, None, "a new role ends nothing");

    let off = store.update_user(&ada.name, DISABLE, time(8)).await.unwrap();
    assert_eq!(off, User { disabled: true, ..viewer.clone() });
    assert_eq!(store.find_session(one.id).await.unwrap().unwrap().end_time, Some(time(8)));
    assert_eq!(store.find_session(two.id).await.unwrap().unwrap().end_time, Some(time(5)), "it had ended");
    let on = UserChange { role: None, disabled: Some(false) };
    assert_eq!(store.update_user(&ada.name, on, time(9)).await.unwrap(), viewer);
    assert_eq!(store.find_session(one.id).await.unwrap().unwrap().end_time, Some(time(8)), "it stays over");
    assert_eq!(store.find_user(&ada.name).await.unwrap(), Some(viewer));
}

/// A user that is not there is neither changed nor deleted.
pub(crate) async fn a_missing_user_is_refused(store: SharedStore) {
    let missing = name(&unique("missing"));
    for change in [DISABLE, DEMOTE, UserChange::default()] {
        let refused = store.update_user(&missing, change, time(1)).await;
        assert!(matches!(refused, Err(UserError::NotFound)), "{refused:?}");
    }
    assert!(matches!(store.delete_user(&missing).await, Err(UserError::NotFound)));
    assert!(!store.set_password(&missing, None, "new", time(1)).await.unwrap());
}

/// "Deletes a user with its sessions and keys, or nothing. What is created for the name later is opened
/// by none of them."
pub(crate) async fn a_deleted_user_takes_its_credentials_along(store: SharedStore) {
    let (ada, bob) = (user(&unique("ada")), user(&unique("bob")));
    let mut kept = Vec::new();
    for user in [&ada, &bob] {
        added(&store, user.clone()).await;
        let (session, key) = (session(user), key(KeyOwner::User(user.name.clone())));
        assert!(store.create_session(&session, HASH).await.unwrap());
        assert!(store.create_api_key(&key).await.unwrap());
        kept.push((session.id, key.id));
    }
    store.delete_user(&ada.name).await.unwrap();
    assert_eq!(store.find_user(&ada.name).await.unwrap(), None);
    added(&store, ada).await;
    for ((session, key), left) in kept.into_iter().zip([false, true]) {
        assert_eq!(store.find_session(session).await.unwrap().is_some(), left);
        assert_eq!(store.find_api_key(&key).await.unwrap().is_some(), left);
    }
}

/// "Replaces a user's password and ends its sessions at `now`. With `old_hash` only if that still is."
pub(crate) async fn a_new_password_ends_the_sessions(store: SharedStore) {
    let ada = added(&store, user(&unique("ada"))).await;
    let session = session(&ada);
    assert!(store.create_session(&session, HASH).await.unwrap());
    let (end, hash) = (
        async || store.find_session(session.id).await.unwrap().unwrap().end_time,
        async || store.find_user(&ada.name).await.unwrap().unwrap().password_hash.unwrap(),
    );
    assert!(!store.set_password(&ada.name, Some("another"), "new", time(3)).await.unwrap());
    assert_eq!((hash().await.as_str(), end().await), (HASH, None), "the old one was wrong, and nothing changed");
    assert!(store.set_password(&ada.name, Some(HASH), "new", time(4)).await.unwrap());
    assert_eq!((hash().await.as_str(), end().await), ("new", Some(time(4))));

    let program = added(&store, User { password_hash: None, ..user(&unique("ci")) }).await;
    assert!(!store.set_password(&program.name, Some(""), "new", time(5)).await.unwrap());
    assert!(store.set_password(&program.name, None, "new", time(5)).await.unwrap());
    let hash = store.find_user(&program.name).await.unwrap().unwrap().password_hash;
    assert_eq!(hash.as_deref(), Some("new"));
}
