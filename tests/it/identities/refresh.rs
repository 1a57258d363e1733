//! Refresh tokens, which work once.

use std::time::Duration;

use eventflow::proto::v1;
use tokio::task::JoinSet;
use tonic::Code;

use super::{assert_ended, delete_user, logged_in, login, logout, refresh, set_disabled, started, whoami};
use crate::{
    client::assert_refused,
    harness::backend::{Backend, on_both_stores},
    world::{PASSWORD, World},
};

/// The right answer to a token that is none, or none any more.
#[track_caller]
fn refused(outcome: Result<v1::Tokens, tonic::Status>, reason: &str) {
    assert_refused(&outcome.unwrap_err(), Code::Unauthenticated, reason);
}

on_both_stores! {
    async fn each_token_of_a_session_works_once_and_an_earlier_one_ends_it(backend: Backend) {
        let (_server, admin) = started(backend).await;
        let (first, client) = logged_in(&admin, "ada", v1::Role::Viewer).await;
        let second = refresh(&admin, &first.refresh_token).await.unwrap();
        let third = refresh(&admin, &second.refresh_token).await.unwrap();
        assert!(first.refresh_token != second.refresh_token && second.refresh_token != third.refresh_token);
        for tokens in [&first, &second, &third] {
            assert_eq!(whoami(&admin.with(&tokens.access_token)).await.unwrap(), "users/ada");
        }
        let other = login(&admin, "ada", PASSWORD).await.unwrap();

        refused(refresh(&admin, &first.refresh_token).await, "CREDENTIAL_REVOKED");
        refused(refresh(&admin, &third.refresh_token).await, "CREDENTIAL_REVOKED");
        refused(refresh(&admin, &second.refresh_token).await, "CREDENTIAL_REVOKED");
        assert_ended(whoami(&client).await, "CREDENTIAL_REVOKED");
        assert_ended(whoami(&admin.with(&third.access_token)).await, "CREDENTIAL_REVOKED");
        // The other session of the same user goes on.
        let next = refresh(&admin, &other.refresh_token).await.unwrap();
        assert_eq!(whoami(&admin.with(&next.access_token)).await.unwrap(), "users/ada");
    }

    async fn of_many_refreshes_with_one_token_one_succeeds_and_the_session_ends(backend: Backend) {
        let (_server, admin) = started(backend).await;
        let (tokens, client) = logged_in(&admin, "ada", v1::Role::Viewer).await;
        let mut tasks = JoinSet::new();
        for _ in 0..16 {
            let (admin, token) = (admin.clone(), tokens.refresh_token.clone());
            tasks.spawn(async move { refresh(&admin, &token).await });
        }
        let (winners, losers): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().partition(Result::is_ok);
        assert_eq!(winners.len(), 1);
        for loser in losers {
            refused(loser, "CREDENTIAL_REVOKED");
        }
        let won = winners.into_iter().next().unwrap().unwrap();
        refused(refresh(&admin, &won.refresh_token).await, "CREDENTIAL_REVOKED");
        assert_ended(whoami(&admin.with(&won.access_token)).await, "CREDENTIAL_REVOKED");
        assert_ended(whoami(&client).await, "CREDENTIAL_REVOKED");
    }

    async fn what_is_no_refresh_token_is_invalid_and_ends_nothing(backend: Backend) {
        let (_server, admin) = started(backend).await;
        let (tokens, client) = logged_in(&admin, "ada", v1::Role::Viewer).await;
        let good = &tokens.refresh_token;
        let (id, parts) = good["efr_".len()..].split_once('_').unwrap();
        let (family, secret) = parts.split_once('.').unwrap();
        let turned = |text: &str| text.chars().rev().collect::<String>();
        let cases = [
            String::new(),
            "garbage".into(),
            tokens.access_token.clone(),
            good[..good.len() - 1].into(),
            format!("{good}a"),
            format!("efr_{}_{parts}", "0".repeat(32)),
            format!("efr_{}_{parts}", id.to_uppercase()),
            format!("efr_{id}_{}.{secret}", turned(family)),
            format!("efr_{id}_{secret}.{family}"),
            format!("efr_{id}_{secret}"),
            "\0".into(),
            "x".repeat(100_000),
        ];
        for case in cases {
            refused(refresh(&admin, &case).await, "CREDENTIAL_INVALID");
        }
        assert_eq!(whoami(&client).await.unwrap(), "users/ada");
        refresh(&admin, good).await.unwrap();
    }

    async fn a_token_ends_with_its_session_and_its_user(backend: Backend) {
        let (_server, admin) = started(backend).await;
        let (tokens, client) = logged_in(&admin, "ada", v1::Role::Viewer).await;
        logout(&client).await.unwrap();
        refused(refresh(&admin, &tokens.refresh_token).await, "CREDENTIAL_REVOKED");

        let tokens = login(&admin, "ada", PASSWORD).await.unwrap();
        set_disabled(&admin, "ada", true).await.unwrap();
        refused(refresh(&admin, &tokens.refresh_token).await, "CREDENTIAL_REVOKED");
        set_disabled(&admin, "ada", false).await.unwrap();
        refused(refresh(&admin, &tokens.refresh_token).await, "CREDENTIAL_REVOKED");

        let tokens = login(&admin, "ada", PASSWORD).await.unwrap();
        delete_user(&admin, "ada").await.unwrap();
        refused(refresh(&admin, &tokens.refresh_token).await, "CREDENTIAL_INVALID");
    }
}

#[tokio::test]
async fn a_token_works_for_its_time_and_no_longer_than_its_session() {
    use eventflow::auth::{AuthError, AuthOptions, RefreshError};

    let second = Duration::from_secs(1);
    let expired = |outcome| matches!(outcome, Err(RefreshError::Credential(AuthError::Expired)));
    let world = World::with(AuthOptions { refresh_ttl: second, ..AuthOptions::default() }).await;
    let tokens = world.ada().await;
    let next = world.auth.refresh(&tokens.refresh_token).await.unwrap();
    tokio::time::sleep(second + Duration::from_millis(50)).await;
    assert!(expired(world.auth.refresh(&next.refresh_token).await));
    assert!(world.principal(&next.access_token).await.is_ok(), "the session goes on until its tokens end");

    let options = AuthOptions { session_ttl: second, ..AuthOptions::default() };
    let world = World::with(options).await;
    let tokens = world.ada().await;
    let next = world.auth.refresh(&tokens.refresh_token).await.unwrap();
    assert!(next.expire_time <= tokens.expire_time, "a refresh prolonged the session");
    tokio::time::sleep(second + Duration::from_millis(50)).await;
    assert!(expired(world.auth.refresh(&next.refresh_token).await));
}
