//! Changing passwords.

use eventflow::proto::v1;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{
    PASSWORD, assert_denied, assert_ended, create_key, create_user, logged_in, login, refresh, started, whoami,
};
use crate::{
    client::{Client, assert_refused, violations},
    harness::backend::{Backend, on_both_stores},
};

const NEW: &str = "staple a horse to it";

async fn change(client: &Client, username: &str, old: &str, new: &str) -> Result<(), Status> {
    let (username, old_password, new_password) = (username.into(), old.into(), new.into());
    let request = v1::ChangePasswordRequest { username, old_password, new_password };
    client.auth().change_password(request).await.map(drop)
}

on_both_stores! {
    async fn a_new_password_ends_all_sessions_and_replaces_the_old_one(backend: Backend) {
        let (_server, admin) = started(backend).await;
        let (tokens, here) = logged_in(&admin, "ada", v1::Role::Viewer).await;
        let there = admin.with(&login(&admin, "ada", PASSWORD).await.unwrap().access_token);
        let (_, key) = create_key(&admin, "users/ada", None).await.unwrap();
        change(&here, "", PASSWORD, NEW).await.unwrap();
        for client in [&here, &there] {
            assert_ended(whoami(client).await, "CREDENTIAL_REVOKED");
        }
        let refusal = refresh(&admin, &tokens.refresh_token).await.unwrap_err();
        assert_refused(&refusal, Code::Unauthenticated, "CREDENTIAL_REVOKED");
        assert_eq!(whoami(&admin.with(&key)).await.unwrap(), "users/ada", "keys have nothing to do with it");
        assert_refused(&login(&admin, "ada", PASSWORD).await.unwrap_err(), Code::Unauthenticated, "CREDENTIAL_INVALID");

        // By its name too, and back again.
        let again = admin.with(&login(&admin, "ada", NEW).await.unwrap().access_token);
        change(&again, "ada", NEW, PASSWORD).await.unwrap();
        assert!(login(&admin, "ada", PASSWORD).await.is_ok());
    }

    async fn ones_own_password_takes_the_old_one(backend: Backend) {
        let (_server, admin) = started(backend).await;
        let (_, ada) = logged_in(&admin, "ada", v1::Role::Viewer).await;
        let refusal = change(&ada, "", "not the old password", NEW).await.unwrap_err();
        assert_refused(&refusal, Code::Unauthenticated, "CREDENTIAL_INVALID");
        assert_eq!(violations(&change(&ada, "ada", "", NEW).await.unwrap_err()), ["old_password"]);
        assert_eq!(violations(&change(&admin, "admin", "", NEW).await.unwrap_err()), ["old_password"]);
        for new in ["", "short", &"x".repeat(129)] {
            assert_eq!(violations(&change(&ada, "", PASSWORD, new).await.unwrap_err()), ["new_password"]);
        }
        assert_eq!(whoami(&ada).await.unwrap(), "users/ada");
        assert!(login(&admin, "ada", PASSWORD).await.is_ok(), "nothing was changed");
    }

    async fn an_admin_sets_the_password_of_another_user(backend: Backend) {
        let (_server, admin) = started(backend).await;
        let (_, ada) = logged_in(&admin, "ada", v1::Role::Operator).await;
        create_user(&admin, "ci", v1::Role::Viewer, "").await.unwrap();
        assert_denied(change(&ada, "admin", "", NEW).await);
        assert_denied(change(&ada, "nobody", "", NEW).await);
        let refusal = change(&admin, "nobody", "", NEW).await.unwrap_err();
        assert_refused(&refusal, Code::NotFound, "USER_NOT_FOUND");
        assert_refused(&change(&admin, "No", "", NEW).await.unwrap_err(), Code::InvalidArgument, "NAME_INVALID");
        assert_eq!(violations(&change(&admin, "ada", PASSWORD, NEW).await.unwrap_err()), ["old_password"]);

        change(&admin, "ada", "", NEW).await.unwrap();
        assert_ended(whoami(&ada).await, "CREDENTIAL_REVOKED");
        assert!(login(&admin, "ada", NEW).await.is_ok());
        // A program becomes a person by it.
        let (_, key) = create_key(&admin, "users/ci", None).await.unwrap();
        let refusal = change(&admin.with(&key), "", "anything at all", NEW).await.unwrap_err();
        assert_refused(&refusal, Code::Unauthenticated, "CREDENTIAL_INVALID");
        change(&admin, "ci", "", NEW).await.unwrap();
        assert!(login(&admin, "ci", NEW).await.is_ok());
    }

    async fn wrong_passwords_are_slowed_down_together_with_logins(backend: Backend) {
        let (_server, admin) = started(backend).await;
        let (_, ada) = logged_in(&admin, "ada", v1::Role::Viewer).await;
        for n in 0..10 {
            let refusal = match n % 2 {
                0 => change(&ada, "", "not the old password", NEW).await.unwrap_err(),
                _ => login(&admin, "ada", "not the password").await.unwrap_err(),
            };
            assert_refused(&refusal, Code::Unauthenticated, "CREDENTIAL_INVALID");
        }
        for refusal in [
            change(&ada, "", PASSWORD, NEW).await.unwrap_err(),
            login(&admin, "ada", PASSWORD).await.unwrap_err(),
        ] {
            assert_refused(&refusal, Code::ResourceExhausted, "LOGIN_THROTTLED");
            assert!(refusal.get_details_retry_info().and_then(|info| info.retry_delay).is_some(), "no RetryInfo");
        }
        assert!(login(&admin, "admin", "not the password").await.is_err_and(|e| e.code() == Code::Unauthenticated));
        // An admin is not slowed down by what others tried.
        change(&admin, "ada", "", NEW).await.unwrap();
    }
}
