//! Credentials over a real store: what works, and what stops working when.

use std::{sync::Arc, time::Duration};

use eventflow::{
    auth::{Auth, AuthError, AuthOptions},
    domain::{Caller, CredentialRef, Principal, ProducerName, Role, Timestamp, TopicPattern},
    store::{KeyOwner, SharedStore, sqlite::SqliteStore},
};
use secrecy::ExposeSecret;
use sqlx::{Connection, SqliteConnection};

use crate::world::{NEVER, PASSWORD, World, username};

fn role(principal: &Principal) -> Option<Role> {
    match &principal.caller {
        Caller::User { role, .. } => Some(*role),
        Caller::Producer { .. } | Caller::Consumer { .. } => None,
    }
}

/// How often the store was asked by the statement of this name.
fn asked(store: &SharedStore, statement: &str) -> u64 {
    let counts = store.statement_counts();
    counts.iter().find(|(name, _)| *name == statement).map(|(_, count)| *count).unwrap()
}

#[tokio::test]
async fn a_login_gives_a_token_of_the_user() {
    let world = World::new().await;
    let tokens = world.ada().await;
    let principal = world.principal(&tokens.access_token).await.unwrap();
    assert_eq!((&*principal.name, role(&principal)), ("users/ada", Some(Role::Operator)));
    assert_eq!(principal.expires, Some(tokens.expire_time));
    let ttl = tokens.expire_time.since(Timestamp::now());
    assert!(ttl > Duration::from_secs(890) && ttl <= Duration::from_secs(900), "{ttl:?}");
}

#[tokio::test]
async fn a_refresh_token_is_no_access_token() {
    let world = World::new().await;
    let tokens = world.ada().await;
    assert!(matches!(world.principal(&tokens.refresh_token).await, Err(AuthError::Invalid)));
    assert!(matches!(world.auth.authenticate("").await, Err(AuthError::Missing)));
    assert!(matches!(world.auth.authenticate(&"e".repeat(100_000)).await, Err(AuthError::Invalid)));
}

#[tokio::test]
async fn a_token_expires() {
    let world = World::with(AuthOptions { token_ttl: Duration::from_secs(1), ..AuthOptions::default() }).await;
    let tokens = world.ada().await;
    let principal = world.principal(&tokens.access_token).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(matches!(world.principal(&tokens.access_token).await, Err(AuthError::Expired)));
    if let Ok(principal) = principal {
        assert!(matches!(world.auth.recheck(&principal).await, Err(AuthError::Expired)));
    }
}

#[tokio::test]
async fn a_session_that_ended_takes_its_token_along() {
    let world = World::new().await;
    let tokens = world.ada().await;
    let principal = world.principal(&tokens.access_token).await.unwrap();
    let CredentialRef::Session { id } = principal.credential else { panic!("{principal:?}") };
    world.store.end_session(id, Timestamp::now()).await.unwrap();
    assert!(world.auth.recheck(&principal).await.is_ok(), "it is remembered until the cache is emptied");

    world.auth.clear();
    assert!(matches!(world.auth.recheck(&principal).await, Err(AuthError::Revoked)));
    assert!(matches!(world.principal(&tokens.access_token).await, Err(AuthError::Revoked)));
}

#[tokio::test]
async fn without_a_message_the_end_is_noticed_when_the_cache_is_old() {
    let cache_age = Duration::from_millis(300);
    let world = World::with(AuthOptions { cache_age, ..AuthOptions::default() }).await;
    let tokens = world.ada().await;
    let principal = world.principal(&tokens.access_token).await.unwrap();
    world.change("update users set disabled = 1 where name = 'ada'").await;
    tokio::time::sleep(cache_age).await;
    assert!(matches!(world.auth.recheck(&principal).await, Err(AuthError::Revoked)));
}

#[tokio::test]
async fn a_token_without_its_session_or_user_is_revoked() {
    for sql in ["delete from sessions", "delete from users", "update users set disabled = 1"] {
        let world = World::new().await;
        let tokens = world.ada().await;
        world.change(sql).await;
        assert!(matches!(world.principal(&tokens.access_token).await, Err(AuthError::Revoked)), "{sql}");
    }
    let world = World::new().await;
    let tokens = world.ada().await;
    world.change("update sessions set expire_time = 1").await;
    assert!(matches!(world.principal(&tokens.access_token).await, Err(AuthError::Expired)));
}

#[tokio::test]
async fn a_token_of_one_user_does_not_open_the_session_of_another() {
    let world = World::new().await;
    let tokens = world.ada().await;
    world.add_user("eve", Role::Admin, false, None).await;
    world.change("update sessions set user = 'eve'").await;
    world.auth.clear();
    assert!(matches!(world.principal(&tokens.access_token).await, Err(AuthError::Invalid)));
}

#[tokio::test]
async fn the_role_is_that_of_the_user_now_and_not_that_of_the_token() {
    let world = World::new().await;
    let tokens = world.ada().await;
    let before = world.principal(&tokens.access_token).await.unwrap();
    world.change("update users set role = 'viewer' where name = 'ada'").await;
    world.auth.clear();
    let after = world.principal(&tokens.access_token).await.unwrap();
    assert_eq!(role(&after), Some(Role::Viewer));
    assert_eq!(role(&world.auth.current(&before).await.unwrap()), Some(Role::Viewer));
    let recheck = world.auth.recheck(&before).await;
    assert!(matches!(recheck, Err(AuthError::RoleLowered { .. })), "it may do less than it began: {recheck:?}");
    assert!(world.auth.recheck(&after).await.is_ok());

    world.change("update users set role = 'admin' where name = 'ada'").await;
    world.auth.clear();
    assert!(world.auth.recheck(&after).await.is_ok(), "who may do more may go on");
}

#[tokio::test]
async fn a_key_stands_for_its_owner_with_the_right_secret_only() {
    let world = World::new().await;
    let shop = world.add_producer("shop", false).await;
    let principal = world.principal(&shop).await.unwrap();
    assert_eq!(&*principal.name, "producers/shop");
    let Caller::Producer { topics, .. } = &principal.caller else { panic!("{principal:?}") };
    assert_eq!(**topics, [TopicPattern::parse("orders*").unwrap()]);

    let (id, secret) = shop.expose_secret()["efk_".len()..].split_once('_').unwrap();
    let turned = secret.chars().rev().collect::<String>();
    for forged in [format!("efk_{id}_{turned}"), format!("efk_{}_{secret}", "a".repeat(16)), format!("efk_{id}_")] {
        assert!(matches!(world.auth.authenticate(&forged).await, Err(AuthError::Invalid)), "{forged}");
    }
}

#[tokio::test]
async fn keys_end_by_revocation_time_and_the_end_of_their_owner() {
    let world = World::new().await;
    world.add_user("ci", Role::Viewer, false, None).await;
    world.add_user("gone", Role::Viewer, true, None).await;
    let of_user = |name| KeyOwner::User(username(name));

    let good = world.key(of_user("ci"), Some(NEVER)).await;
    let principal = world.principal(&good).await.unwrap();
    assert_eq!(role(&principal), Some(Role::Viewer));
    assert!(principal.expires.is_some());

    let expired = world.key(of_user("ci"), Some(Duration::ZERO)).await;
    assert!(matches!(world.principal(&expired).await, Err(AuthError::Expired)));
    let key = world.key(of_user("gone"), None).await;
    assert!(matches!(world.principal(&key).await, Err(AuthError::Revoked)), "its user is disabled");
    // A key that lost its owner, which no change of the store's own leaves behind.
    for (owner, sql) in [
        (of_user("bob"), "delete from users where name = 'bob'"),
        (KeyOwner::Producer(ProducerName::parse("shop").unwrap()), "delete from producers where name = 'shop'"),
    ] {
        world.add_owner(&owner).await;
        let key = world.key(owner.clone(), None).await;
        assert!(world.principal(&key).await.is_ok());
        world.change(sql).await;
        world.auth.clear();
        assert!(matches!(world.principal(&key).await, Err(AuthError::Revoked)), "{owner:?}");
    }

    let principal = world.principal(&good).await.unwrap();
    world.change("update api_keys set revoked = 1").await;
    assert!(world.auth.recheck(&principal).await.is_ok(), "it is remembered until the cache is emptied");
    world.auth.clear();
    assert!(matches!(world.auth.recheck(&principal).await, Err(AuthError::Revoked)));
    assert!(matches!(world.principal(&good).await, Err(AuthError::Revoked)));
}

#[tokio::test]
async fn a_producer_can_be_disabled_and_its_topics_changed_while_it_streams() {
    let world = World::new().await;
    let shop = world.add_producer("shop", false).await;
    let principal = world.principal(&shop).await.unwrap();
    world.change(r#"update producers set topics = '["other"]'"#).await;
    world.auth.clear();
    let now = world.auth.current(&principal).await.unwrap();
    let Caller::Producer { topics, .. } = &now.caller else { panic!("{now:?}") };
    assert_eq!(**topics, [TopicPattern::parse("other").unwrap()]);

    world.change("update producers set disabled = 1").await;
    world.auth.clear();
    assert!(matches!(world.auth.recheck(&principal).await, Err(AuthError::ProducerDisabled { .. })));
    assert!(matches!(world.principal(&shop).await, Err(AuthError::ProducerDisabled { .. })));
}

#[tokio::test]
async fn a_credential_in_use_costs_no_reads() {
    let world = World::new().await;
    let (tokens, shop) = (world.ada().await, world.add_producer("shop", false).await);
    let statements = ["find_user", "find_session", "find_api_key", "find_producer"];
    for _ in 0..2 {
        world.principal(&tokens.access_token).await.unwrap();
        world.principal(&shop).await.unwrap();
    }
    let before = statements.map(|name| asked(&world.store, name));
    for _ in 0..100 {
        let principal = world.principal(&shop).await.unwrap();
        world.auth.recheck(&principal).await.unwrap();
        world.principal(&tokens.access_token).await.unwrap();
    }
    assert_eq!(statements.map(|name| asked(&world.store, name)), before);
}

#[tokio::test]
async fn a_key_that_does_not_exist_is_looked_for_once() {
    let world = World::new().await;
    let unknown = format!("efk_{}_{}", "a".repeat(16), "b".repeat(43));
    for _ in 0..100 {
        assert!(matches!(world.auth.authenticate(&unknown).await, Err(AuthError::Invalid)));
    }
    assert_eq!(asked(&world.store, "find_api_key"), 1);
}

#[tokio::test]
async fn servers_that_start_at_once_share_one_signing_key() {
    let folder = tempfile::tempdir().unwrap();
    let store: SharedStore = Arc::new(SqliteStore::open(folder.path()).await.unwrap());
    let open = || Auth::new(Arc::clone(&store), AuthOptions::default());
    let (first, second, third) = tokio::join!(open(), open(), open());
    assert_eq!(store.signing_keys().await.unwrap().len(), 1);

    let (first, second, third) = (first.unwrap(), second.unwrap(), third.unwrap());
    let world = World { folder, store, auth: first };
    let tokens = world.ada().await;
    for server in [second, third] {
        assert!(server.authenticate(tokens.access_token.expose_secret()).await.is_ok());
    }
}

#[tokio::test]
async fn a_key_that_another_server_added_is_found_and_hostile_ones_cost_nothing() {
    let world = World::new().await;
    // An older key than the first one signs at once on a server that knows it.
    let pair = aws_lc_rs::signature::Ed25519KeyPair::generate().unwrap();
    let url = format!("sqlite:{}", world.folder.path().join("eventflow.db").display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("insert into signing_keys (id, pkcs8, create_time) values ('further', ?, 1)")
        .bind(pair.to_pkcs8().unwrap().as_ref().to_vec())
        .execute(&mut connection)
        .await
        .unwrap();
    let other = Auth::new(Arc::clone(&world.store), AuthOptions::default()).await.unwrap();
    world.add_user("ada", Role::Viewer, false, Some(PASSWORD)).await;
    let tokens = other.login("ada", &PASSWORD.into()).await.unwrap();
    assert!(world.principal(&tokens.access_token).await.is_ok(), "the further key was not looked for");

    let before = asked(&world.store, "signing_keys");
    let token = tokens.access_token.expose_secret();
    let (_, rest) = token.split_once('.').unwrap();
    for n in 0..200 {
        let header = format!(r#"{{"typ":"JWT","alg":"EdDSA","kid":"hostile{n}"}}"#);
        let header = base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, header);
        assert!(matches!(world.auth.authenticate(&format!("{header}.{rest}")).await, Err(AuthError::Invalid)));
    }
    let looks = asked(&world.store, "signing_keys") - before;
    assert!(looks <= 3, "200 unknown keys cost {looks} looks");
}

#[tokio::test]
async fn debug_shows_no_secret() {
    let world = World::new().await;
    let (tokens, shop) = (world.ada().await, world.add_producer("shop", false).await);
    let principal = world.principal(&shop).await.unwrap();
    world.principal(&tokens.access_token).await.unwrap();
    let shown = format!("{:?} {tokens:?} {principal:?} {shop:?}", world.auth);
    let user = world.store.find_user(&username("ada")).await.unwrap().unwrap();
    let shown = format!("{shown} {user:?}");
    let hash = user.password_hash.unwrap();
    for secret in
        [tokens.access_token.expose_secret(), tokens.refresh_token.expose_secret(), shop.expose_secret(), &hash]
    {
        assert!(!shown.contains(secret), "{shown}");
    }
}
