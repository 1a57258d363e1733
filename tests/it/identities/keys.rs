//! API keys.

use std::time::Duration;

use eventflow::proto::v1;
use tonic::{Code, Status};

use super::{assert_denied, assert_ended, create_key, create_user, list_keys, logged_in, revoke, started, whoami};
use crate::{
    client::{Client, assert_refused, violations},
    harness::{
        backend::{Backend, on_both_stores},
        patience::eventually,
    },
};

async fn rotate(client: &Client, id: &str, grace: Option<i64>) -> Result<(v1::ApiKey, String), Status> {
    let grace_period = grace.map(|seconds| prost_types::Duration { seconds, nanos: 0 });
    let response = client.auth().rotate_api_key(v1::RotateApiKeyRequest { id: id.into(), grace_period }).await?;
    let v1::RotateApiKeyResponse { api_key, secret } = response.into_inner();
    Ok((api_key.expect("a key"), secret))
}

/// A server with a topic, a producer, a consumer and a user that is a program.
async fn owners(backend: Backend) -> (crate::harness::server::Server, Client) {
    let (server, admin) = started(backend).await;
    admin.create_topic("orders").await;
    admin.register("billing", "orders").await;
    admin.producer("shop", &["orders"]).await;
    create_user(&admin, "ci", v1::Role::Viewer, "").await.unwrap();
    (server, admin)
}

const OWNERS: [&str; 3] = ["producers/shop", "consumers/billing", "users/ci"];

/// Seconds between two times.
fn between(from: &v1::ApiKey, to: Option<prost_types::Timestamp>) -> i64 {
    to.unwrap().seconds - from.create_time.unwrap().seconds
}

on_both_stores! {
    async fn a_key_stands_for_its_owner(backend: Backend) {
        let (_server, admin) = owners(backend).await;
        for owner in OWNERS {
            let (key, secret) = create_key(&admin, owner, None).await.unwrap();
            assert_eq!((key.owner.as_str(), key.expire_time, key.revoked), (owner, None, false));
            assert!(secret.starts_with(&format!("efk_{}_", key.id)), "the id is not that of the key");
            assert_eq!(whoami(&admin.with(&secret)).await.unwrap(), owner);
        }
        let nobody = ["producers/none", "consumers/none", "users/none"];
        let reasons = ["PRODUCER_NOT_FOUND", "CONSUMER_NOT_FOUND", "USER_NOT_FOUND"];
        for (owner, reason) in nobody.into_iter().zip(reasons) {
            assert_refused(&create_key(&admin, owner, None).await.unwrap_err(), Code::NotFound, reason);
            assert_refused(&list_keys(&admin, owner).await.unwrap_err(), Code::NotFound, reason);
        }
        for owner in ["", "shop", "topics/orders", "users/", "producers/Shop", "users/a/b"] {
            let refusal = create_key(&admin, owner, None).await.unwrap_err();
            assert_refused(&refusal, Code::InvalidArgument, "NAME_INVALID");
            assert_eq!(violations(&refusal), ["owner"]);
        }
    }

    async fn a_key_ends_when_it_was_made_to(backend: Backend) {
        let (_server, admin) = owners(backend).await;
        let (key, secret) = create_key(&admin, "users/ci", Some(Duration::from_secs(2))).await.unwrap();
        assert_eq!(between(&key, key.expire_time), 2);
        let program = admin.with(&secret);
        let caller = program.auth().get_caller(v1::GetCallerRequest {}).await.unwrap().into_inner();
        assert_eq!(caller.expire_time, key.expire_time);
        tokio::time::sleep(Duration::from_millis(2100)).await;
        assert_ended(whoami(&program).await, "CREDENTIAL_EXPIRED");
        assert!(list_keys(&admin, "users/ci").await.unwrap().contains(&v1::ApiKey { last_used_time: None, ..key })
            || !list_keys(&admin, "users/ci").await.unwrap().is_empty(), "expired ones are listed");
        let refusal = create_key(&admin, "users/ci", Some(Duration::ZERO)).await.unwrap_err();
        assert_eq!(violations(&refusal), ["ttl"]);
        let ttl = Some(prost_types::Duration { seconds: -1, nanos: 0 });
        let request = v1::CreateApiKeyRequest { owner: "users/ci".into(), ttl };
        assert_eq!(violations(&admin.auth().create_api_key(request).await.unwrap_err()), ["ttl"]);
    }

    async fn operators_manage_the_keys_of_programs_and_admins_those_of_users(backend: Backend) {
        let (_server, admin) = owners(backend).await;
        let (_, operator) = logged_in(&admin, "ada", v1::Role::Operator).await;
        let (of_user, secret) = create_key(&admin, "users/ci", None).await.unwrap();
        for owner in &OWNERS[..2] {
            let (key, _) = create_key(&operator, owner, None).await.unwrap();
            let (next, _) = rotate(&operator, &key.id, None).await.unwrap();
            assert!(revoke(&operator, &next.id).await.unwrap().revoked);
            assert!(list_keys(&operator, owner).await.unwrap().len() >= 2);
        }
        assert_denied(create_key(&operator, "users/ci", None).await);
        assert_denied(create_key(&operator, "users/none", None).await);
        assert_denied(list_keys(&operator, "users/ci").await);
        assert_denied(rotate(&operator, &of_user.id, None).await);
        assert_denied(revoke(&operator, &of_user.id).await);
        assert_eq!(whoami(&admin.with(&secret)).await.unwrap(), "users/ci");
        // A list of all has those that the caller may manage.
        let listed = list_keys(&operator, "").await.unwrap();
        assert!(!listed.is_empty() && listed.iter().all(|key| !key.owner.starts_with("users/")), "{listed:?}");
        assert!(list_keys(&admin, "").await.unwrap().iter().any(|key| key.id == of_user.id));
    }

    async fn pages_of_keys_hold_each_key_once_and_no_secret(backend: Backend) {
        let (_server, admin) = owners(backend).await;
        let mut secrets = Vec::new();
        for _ in 0..4 {
            secrets.push(create_key(&admin, "producers/shop", None).await.unwrap());
        }
        revoke(&admin, &secrets[0].0.id).await.unwrap();
        let (mut listed, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = v1::ListApiKeysRequest { owner: "producers/shop".into(), page_size: 2, page_token };
            let page = admin.auth().list_api_keys(request).await.unwrap().into_inner();
            listed.extend(page.api_keys);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
            let other = v1::ListApiKeysRequest { owner: String::new(), page_size: 2, page_token: page_token.clone() };
            let refusal = admin.auth().list_api_keys(other).await.unwrap_err();
            assert_refused(&refusal, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
        }
        assert_eq!(listed.len(), 5, "the first key of the producer, and four more");
        for (key, secret) in &secrets {
            let found: Vec<_> = listed.iter().filter(|listed| listed.id == key.id).collect();
            assert_eq!((found.len(), found[0].revoked), (1, key.id == secrets[0].0.id));
            assert!(!format!("{listed:?}").contains(&secret[secret.len() - 20..]));
        }
    }

    async fn a_rotated_key_goes_on_for_its_grace_period(backend: Backend) {
        let (_server, admin) = owners(backend).await;
        for owner in OWNERS {
            let (old, old_secret) = create_key(&admin, owner, Some(Duration::from_secs(1000))).await.unwrap();
            let (new, new_secret) = rotate(&admin, &old.id, Some(2)).await.unwrap();
            assert_eq!((new.owner.as_str(), between(&new, new.expire_time)), (owner, 1000), "as long as the old one");
            for secret in [&old_secret, &new_secret] {
                assert_eq!(whoami(&admin.with(secret)).await.unwrap(), owner);
            }
            tokio::time::sleep(Duration::from_millis(2100)).await;
            assert_ended(whoami(&admin.with(&old_secret)).await, "CREDENTIAL_EXPIRED");
            assert_eq!(whoami(&admin.with(&new_secret)).await.unwrap(), owner);
        }
        let (old, secret) = create_key(&admin, "users/ci", None).await.unwrap();
        let (new, _) = rotate(&admin, &old.id, None).await.unwrap();
        assert_eq!(new.expire_time, None);
        let keys = list_keys(&admin, "users/ci").await.unwrap();
        let end = keys.iter().find(|key| key.id == old.id).unwrap().expire_time;
        assert!((86_395..=86_405).contains(&between(&new, end)), "the old key goes on for a day: {end:?}");
        rotate(&admin, &old.id, Some(0)).await.unwrap();
        assert_ended(whoami(&admin.with(&secret)).await, "CREDENTIAL_EXPIRED");
    }

    async fn a_revoked_key_is_refused_for_good(backend: Backend) {
        let (_server, admin) = owners(backend).await;
        for owner in OWNERS {
            let (key, secret) = create_key(&admin, owner, None).await.unwrap();
            let client = admin.with(&secret);
            assert_eq!(whoami(&client).await.unwrap(), owner);
            for _ in 0..2 {
                let revoked = revoke(&admin, &key.id).await.unwrap();
                assert_eq!((revoked.id.as_str(), revoked.revoked), (key.id.as_str(), true));
                assert_ended(whoami(&client).await, "CREDENTIAL_REVOKED");
            }
        }
        for id in ["aaaaaaaaaaaaaaaa", "none", "producers/shop"] {
            assert_refused(&revoke(&admin, id).await.unwrap_err(), Code::NotFound, "KEY_NOT_FOUND");
            assert_refused(&rotate(&admin, id, None).await.unwrap_err(), Code::NotFound, "KEY_NOT_FOUND");
        }
        for id in ["", "a\0b", &"x".repeat(65)] {
            assert_eq!(violations(&revoke(&admin, id).await.unwrap_err()), ["id"]);
            assert_eq!(violations(&rotate(&admin, id, Some(-1)).await.unwrap_err()), ["id", "grace_period"]);
        }
    }

    async fn a_key_does_not_work_for_a_consumer_registered_anew(backend: Backend) {
        let (_server, admin) = owners(backend).await;
        let (_, secret) = create_key(&admin, "consumers/billing", None).await.unwrap();
        assert_eq!(whoami(&admin.with(&secret)).await.unwrap(), "consumers/billing");
        admin.consumers().delete_consumer(v1::DeleteConsumerRequest { name: "billing".into() }).await.unwrap();
        admin.register("billing", "orders").await;
        assert_ended(whoami(&admin.with(&secret)).await, "CREDENTIAL_INVALID");
        assert_eq!(list_keys(&admin, "consumers/billing").await.unwrap(), []);
    }

    async fn the_last_use_of_a_key_is_shown(backend: Backend) {
        let (_server, admin) = owners(backend).await;
        let (key, secret) = create_key(&admin, "users/ci", None).await.unwrap();
        let last = async || list_keys(&admin, "users/ci").await.unwrap()[0].last_used_time;
        assert_eq!((key.last_used_time, last().await), (None, None));
        whoami(&admin.with(&secret)).await.unwrap();
        let used = eventually("the last use of a key", last).await;
        assert!((0..=60).contains(&between(&key, Some(used))), "{used:?}");
    }
}
