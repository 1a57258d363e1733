//! Creating, listing, changing and deleting users.

use eventflow::proto::v1;
use tonic::Code;

use super::{
    PASSWORD, assert_denied, assert_ended, create_key, create_user, delete_user, list_keys, logged_in, login, logout,
    set_disabled, set_role, started, update_user, whoami,
};
use crate::{
    client::{assert_refused, violations},
    harness::backend::{Backend, on_both_stores},
};

on_both_stores! {
    async fn a_user_is_created_and_may_do_what_its_role_says(backend: Backend) {
        let (_server, admin) = started(backend).await;
        let user = create_user(&admin, "ada", v1::Role::Operator, PASSWORD).await.unwrap();
        assert_eq!((user.username.as_str(), user.role(), user.disabled), ("ada", v1::Role::Operator, false));
        assert!(user.create_time.is_some());
        let ada = admin.with(&login(&admin, "ada", PASSWORD).await.unwrap().access_token);
        ada.create_topic("orders").await;
        assert_denied(create_user(&ada, "eve", v1::Role::Admin, PASSWORD).await);

        let refusal = create_user(&admin, "ada", v1::Role::Viewer, PASSWORD).await.unwrap_err();
        assert_refused(&refusal, Code::AlreadyExists, "USER_EXISTS");
        assert_eq!(whoami(&ada).await.unwrap(), "users/ada");

        // A program has no password to log in with, also not the empty one.
        create_user(&admin, "ci", v1::Role::Viewer, "").await.unwrap();
        for password in ["", PASSWORD] {
            let refusal = login(&admin, "ci", password).await.unwrap_err();
            assert_refused(&refusal, Code::Unauthenticated, "CREDENTIAL_INVALID");
        }
        let (_, key) = create_key(&admin, "users/ci", None).await.unwrap();
        assert_eq!(whoami(&admin.with(&key)).await.unwrap(), "users/ci");
    }

    async fn a_user_that_cannot_be_is_refused_with_all_that_is_wrong(backend: Backend) {
        let (_server, admin) = started(backend).await;
        let refusal = create_user(&admin, "Ada", v1::Role::Unspecified, "short").await.unwrap_err();
        assert_refused(&refusal, Code::InvalidArgument, "REQUEST_INVALID");
        assert_eq!(violations(&refusal), ["password", "user.username", "user.role"]);
        assert!(!refusal.message().contains("short"), "{refusal}");
        let refusal = create_user(&admin, "a/b", v1::Role::Viewer, "").await.unwrap_err();
        assert_refused(&refusal, Code::InvalidArgument, "NAME_INVALID");
        for password in ["x".repeat(11), "x".repeat(129), "12345678901\0".into()] {
            let refusal = create_user(&admin, "ada", v1::Role::Viewer, &password).await.unwrap_err();
            assert_eq!(violations(&refusal), ["password"]);
        }
        let refusal = admin.auth().create_user(v1::CreateUserRequest::default()).await.unwrap_err();
        assert_eq!(violations(&refusal), ["user"]);
        let user = v1::User { username: "ada".into(), role: 9, ..Default::default() };
        let request = v1::CreateUserRequest { user: Some(user), password: String::new() };
        assert_eq!(violations(&admin.auth().create_user(request).await.unwrap_err()), ["user.role"]);
        let refusal = set_role(&admin, "admin", v1::Role::Unspecified).await.unwrap_err();
        assert_eq!(violations(&refusal), ["role"]);
        for (ok, length) in [("a", 12), ("b", 128)] {
            create_user(&admin, ok, v1::Role::Viewer, &"ä".repeat(length)).await.unwrap();
        }
    }

    async fn pages_of_users_are_ordered_by_name(backend: Backend) {
        let (_server, admin) = started(backend).await;
        for name in ["zoe", "b.2", "b-1", "ada", "b_3"] {
            create_user(&admin, name, v1::Role::Viewer, "").await.unwrap();
        }
        let (mut names, mut page_token, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let request = v1::ListUsersRequest { page_size: 2, page_token };
            let page = admin.auth().list_users(request).await.unwrap().into_inner();
            assert!(page.users.len() <= 2);
            names.extend(page.users.into_iter().map(|user| user.username));
            (page_token, pages) = (page.next_page_token, pages + 1);
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!((names, pages), (["ada", "admin", "b-1", "b.2", "b_3", "zoe"].map(str::to_owned).to_vec(), 3));
        let producers = v1::ListProducersRequest { page_size: 1, ..Default::default() };
        for name in ["a", "b"] {
            admin.producer(name, &[]).await;
        }
        let foreign = admin.producers().list_producers(producers).await.unwrap().into_inner().next_page_token;
        for page_token in [foreign, "x".into()] {
            let refusal = admin.auth().list_users(v1::ListUsersRequest { page_size: 2, page_token }).await.unwrap_err();
            assert_refused(&refusal, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
        }
    }

    async fn a_disabled_user_can_do_nothing_until_it_is_enabled(backend: Backend) {
        let (_server, admin) = started(backend).await;
        let (_, ada) = logged_in(&admin, "ada", v1::Role::Operator).await;
        let (_, key) = create_key(&admin, "users/ada", None).await.unwrap();
        let program = admin.with(&key);
        let user = set_disabled(&admin, "ada", true).await.unwrap();
        assert_eq!((user.disabled, user.role()), (true, v1::Role::Operator));
        assert_ended(whoami(&ada).await, "CREDENTIAL_REVOKED");
        assert_ended(whoami(&program).await, "CREDENTIAL_REVOKED");
        let refusal = login(&admin, "ada", PASSWORD).await.unwrap_err();
        assert_refused(&refusal, Code::Unauthenticated, "CREDENTIAL_INVALID");

        set_disabled(&admin, "ada", false).await.unwrap();
        assert_ended(whoami(&ada).await, "CREDENTIAL_REVOKED");
        assert_eq!(whoami(&program).await.unwrap(), "users/ada");
        assert!(login(&admin, "ada", PASSWORD).await.is_ok());
    }

    async fn a_change_leaves_what_it_does_not_name(backend: Backend) {
        let (_server, admin) = started(backend).await;
        let (_, ada) = logged_in(&admin, "ada", v1::Role::Operator).await;
        let user = set_role(&admin, "ada", v1::Role::Viewer).await.unwrap();
        assert_eq!((user.role(), user.disabled), (v1::Role::Viewer, false));
        let topic = v1::Topic { name: "orders".into(), ..Default::default() };
        let create = v1::CreateTopicRequest { topic: Some(topic), if_not_exists: false };
        assert_denied(ada.topics().create_topic(create).await);
        let same = v1::UpdateUserRequest { username: "ada".into(), ..Default::default() };
        assert_eq!(update_user(&admin, same).await.unwrap(), user);

        for name in ["nobody", "users/ada"] {
            let refusal = set_disabled(&admin, name, true).await.unwrap_err();
            let (code, reason) = match name {
                "nobody" => (Code::NotFound, "USER_NOT_FOUND"),
                _ => (Code::InvalidArgument, "NAME_INVALID"),
            };
            assert_refused(&refusal, code, reason);
            assert_refused(&delete_user(&admin, name).await.unwrap_err(), code, reason);
        }
    }

    async fn a_deleted_user_is_gone_and_one_created_anew_is_another_one(backend: Backend) {
        let (_server, admin) = started(backend).await;
        let (_, ada) = logged_in(&admin, "ada", v1::Role::Operator).await;
        let (_, key) = create_key(&admin, "users/ada", None).await.unwrap();
        let program = admin.with(&key);
        assert_eq!(whoami(&program).await.unwrap(), "users/ada");
        delete_user(&admin, "ada").await.unwrap();
        assert_refused(&delete_user(&admin, "ada").await.unwrap_err(), Code::NotFound, "USER_NOT_FOUND");
        let refusal = list_keys(&admin, "users/ada").await.unwrap_err();
        assert_refused(&refusal, Code::NotFound, "USER_NOT_FOUND");

        create_user(&admin, "ada", v1::Role::Admin, "another password").await.unwrap();
        assert_eq!(list_keys(&admin, "users/ada").await.unwrap(), []);
        assert_ended(whoami(&ada).await, "CREDENTIAL_REVOKED");
        assert_ended(whoami(&program).await, "CREDENTIAL_INVALID");
        let refusal = login(&admin, "ada", PASSWORD).await.unwrap_err();
        assert_refused(&refusal, Code::Unauthenticated, "CREDENTIAL_INVALID");
        assert!(login(&admin, "ada", "another password").await.is_ok());
    }

    async fn a_logout_ends_the_session_alone(backend: Backend) {
        let (_server, admin) = started(backend).await;
        let (_, here) = logged_in(&admin, "ada", v1::Role::Viewer).await;
        let there = admin.with(&login(&admin, "ada", PASSWORD).await.unwrap().access_token);
        logout(&here).await.unwrap();
        assert_ended(whoami(&here).await, "CREDENTIAL_REVOKED");
        assert_refused(&logout(&here).await.unwrap_err(), Code::Unauthenticated, "CREDENTIAL_REVOKED");
        assert_eq!(whoami(&there).await.unwrap(), "users/ada");

        // A key has no session to be ended.
        let (_, key) = create_key(&admin, "users/ada", None).await.unwrap();
        assert_denied(logout(&admin.with(&key)).await);
        assert_eq!(whoami(&there).await.unwrap(), "users/ada");
    }
}
