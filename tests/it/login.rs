//! Logging in with the wrong password, again and again.

use std::time::Duration;

use eventflow::{auth::LoginError, domain::Role};

use crate::world::{PASSWORD, World};

#[tokio::test]
async fn every_failed_login_has_the_same_answer_and_costs_one_hash() {
    let world = World::new().await;
    world.add_user("ada", Role::Viewer, false, Some(PASSWORD)).await;
    world.add_user("off", Role::Viewer, true, Some(PASSWORD)).await;
    world.add_user("program", Role::Viewer, false, None).await;
    let long = "x".repeat(1_000_000);
    let wrong = "wrong horse battery";
    let attempts = [
        ("nobody", PASSWORD),
        ("off", PASSWORD),
        ("off", wrong),
        ("program", PASSWORD),
        ("program", ""),
        ("ada", wrong),
        ("ada", ""),
        ("ada", &long),
        ("Not A Name", PASSWORD),
        ("", ""),
    ];
    for (name, password) in attempts {
        let before = world.auth.hashes_run();
        let refusal = world.auth.login(name, &password.into()).await.unwrap_err();
        assert!(matches!(refusal, LoginError::Invalid), "{name}: {refusal:?}");
        assert_eq!(refusal.to_string(), "the name or the password is wrong");
        assert_eq!(world.auth.hashes_run() - before, 1, "{name}");
    }
    assert!(world.login("ada").await.is_ok());
}

#[tokio::test]
async fn after_ten_failures_even_the_right_password_waits_and_nothing_is_hashed() {
    let world = World::new().await;
    for name in ["ada", "nobody"] {
        if name == "ada" {
            world.add_user(name, Role::Viewer, false, Some(PASSWORD)).await;
        }
        for _ in 0..10 {
            let refusal = world.auth.login(name, &"wrong horse battery".into()).await;
            assert!(matches!(refusal, Err(LoginError::Invalid)), "{name}: {refusal:?}");
        }
        let before = world.auth.hashes_run();
        let Err(LoginError::Throttled { retry_in }) = world.login(name).await else { panic!("{name} was not delayed") };
        assert!(retry_in <= Duration::from_secs(1));
        assert_eq!(world.auth.hashes_run(), before);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(world.login("ada").await.is_ok());
}

#[tokio::test]
async fn many_attempts_at_once_are_no_way_round_the_delay() {
    let world = World::new().await;
    world.add_user("ada", Role::Viewer, false, Some(PASSWORD)).await;
    let before = world.auth.hashes_run();
    let attempts = (0..40).map(|_| {
        let auth = world.auth.clone();
        tokio::spawn(async move { auth.login("ada", &"wrong horse battery".into()).await })
    });
    for attempt in attempts.collect::<Vec<_>>() {
        assert!(attempt.await.unwrap().is_err());
    }
    assert!(world.auth.hashes_run() - before <= 11, "{} passwords were tried", world.auth.hashes_run() - before);
}
