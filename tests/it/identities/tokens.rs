//! Access tokens that the server did not make, or not so, and the keys that sign them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use aws_lc_rs::{
    hmac,
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use eventflow::{
    auth::{Auth, AuthOptions},
    proto::v1,
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};
use tonic::Code;

use super::{PASSWORD, create_user, login, started, whoami};
use crate::{
    client::{Client, assert_refused},
    harness::{backend::Backend, server::Server},
    world::World,
};

/// The parts of a token.
struct Parts {
    header: Value,
    claims: Value,
    signature: String,
}

fn take_apart(token: &str) -> Parts {
    let [header, claims, signature] = <[&str; 3]>::try_from(token.split('.').collect::<Vec<_>>()).unwrap();
    let json = |part: &str| serde_json::from_slice(&BASE64.decode(part).unwrap()).unwrap();
    Parts { header: json(header), claims: json(claims), signature: signature.to_owned() }
}

fn message(header: &Value, claims: &Value) -> String {
    format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()))
}

fn signed(pkcs8: &[u8], header: &Value, claims: &Value) -> String {
    let message = message(header, claims);
    let signature = Ed25519KeyPair::from_pkcs8(pkcs8).unwrap().sign(message.as_bytes());
    format!("{message}.{}", BASE64.encode(signature))
}

fn with(value: &Value, field: &str, new: Value) -> Value {
    let mut value = value.clone();
    value[field] = new;
    value
}

/// The key that the server signs with, as only its data folder has it.
async fn signing_key(server: &Server) -> Vec<u8> {
    let url = format!("sqlite:{}", server.data_dir().join("eventflow.db").display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    sqlx::query_scalar("select pkcs8 from signing_keys").fetch_one(&mut connection).await.unwrap()
}

async fn refused(client: &Client, token: &str, reason: &str, what: &str) {
    let refusal = whoami(&client.with(token)).await.expect_err(what);
    assert_eq!(refusal.code(), Code::Unauthenticated, "{what}: {refusal:?}");
    assert_refused(&refusal, Code::Unauthenticated, reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_token_is_not_accepted() {
    let (server, admin) = started(Backend::Sqlite).await;
    let viewer = create_user(&admin, "ada", v1::Role::Viewer, PASSWORD).await.unwrap();
    let token = login(&admin, &viewer.username, PASSWORD).await.unwrap().access_token;
    let Parts { header, claims, signature } = take_apart(&token);
    let own = signing_key(&server).await;
    assert_eq!(whoami(&admin.with(&signed(&own, &header, &claims))).await.unwrap(), "users/ada", "the forger is able");

    for alg in ["none", "None", "HS256", "RS256", "ES256", "EdDsa"] {
        let header = with(&header, "alg", json!(alg));
        refused(&admin, &signed(&own, &header, &claims), "CREDENTIAL_INVALID", alg).await;
        refused(&admin, &format!("{}.", message(&header, &claims)), "CREDENTIAL_INVALID", alg).await;
    }
    let public = Ed25519KeyPair::from_pkcs8(&own).unwrap().public_key().as_ref().to_vec();
    let hs256 = message(&with(&header, "alg", json!("HS256")), &claims);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &public), hs256.as_bytes());
    refused(&admin, &format!("{hs256}.{}", BASE64.encode(tag)), "CREDENTIAL_INVALID", "HMAC by the public key").await;

    let attacker = Ed25519KeyPair::generate().unwrap();
    let pkcs8 = attacker.to_pkcs8().unwrap().as_ref().to_vec();
    refused(&admin, &signed(&pkcs8, &header, &claims), "CREDENTIAL_INVALID", "another key").await;
    for kid in ["", "foreign", "../../../etc/passwd", "' or 1=1 --", "a\0b", &"k".repeat(2000)] {
        let header = with(&header, "kid", json!(kid));
        refused(&admin, &signed(&pkcs8, &header, &claims), "CREDENTIAL_INVALID", kid).await;
        refused(&admin, &signed(&own, &header, &claims), "CREDENTIAL_INVALID", kid).await;
    }
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": BASE64.encode(attacker.public_key()) });
    for (field, value) in
        [("jwk", jwk), ("jku", json!("http://127.0.0.1:1/keys")), ("x5u", json!("http://127.0.0.1:1"))]
    {
        let header = with(&header, field, value);
        refused(&admin, &signed(&pkcs8, &header, &claims), "CREDENTIAL_INVALID", field).await;
    }
    let now = claims["iat"].as_i64().unwrap();
    for (field, value, reason) in [
        ("iss", json!("another"), "CREDENTIAL_INVALID"),
        ("aud", json!("another"), "CREDENTIAL_INVALID"),
        ("sub", json!("admin"), "CREDENTIAL_INVALID"),
        ("sid", json!("nonsense"), "CREDENTIAL_INVALID"),
        ("sid", json!(uuid::Uuid::new_v4().to_string()), "CREDENTIAL_REVOKED"),
        ("exp", json!(now - 1), "CREDENTIAL_EXPIRED"),
        ("exp", json!(0), "CREDENTIAL_EXPIRED"),
        ("exp", json!(i64::MAX), "CREDENTIAL_INVALID"),
        ("exp", json!("never"), "CREDENTIAL_INVALID"),
        ("nbf", json!(now + 3600), "CREDENTIAL_INVALID"),
    ] {
        refused(&admin, &signed(&own, &header, &with(&claims, field, value)), reason, field).await;
    }
    // A higher role in the claims decides nothing.
    let higher = admin.with(&signed(&own, &header, &with(&claims, "role", json!("admin"))));
    let caller = higher.auth().get_caller(v1::GetCallerRequest {}).await.unwrap().into_inner();
    assert_eq!(caller.role(), v1::Role::Viewer);

    let changed = format!("{}.{signature}", message(&header, &with(&claims, "sub", json!("admin"))));
    refused(&admin, &changed, "CREDENTIAL_INVALID", "the signature of other claims").await;
    for length in (1..token.len()).step_by(7) {
        refused(&admin, &token[..length], "CREDENTIAL_INVALID", "a part of a token").await;
    }
}

#[tokio::test]
async fn signing_keys_follow_each_other_and_tokens_of_old_ones_go_on() {
    let ms = Duration::from_millis;
    let options = AuthOptions {
        token_ttl: Duration::from_secs(60),
        key_age: ms(800),
        key_notice: ms(400),
        key_kept: Duration::ZERO,
        ..AuthOptions::default()
    };
    let world = World::with(options).await;
    // Another server, which has not looked after the keys since it started.
    let other = Auth::new(Arc::clone(&world.store), options).await.unwrap();
    let first = world.ada().await;
    let kid = |token: &secrecy::SecretString| take_apart(token.expose_secret()).header["kid"].to_string();
    assert!(!world.auth.rotate_signing_keys().await.unwrap(), "the first key is young");

    tokio::time::sleep(ms(850)).await;
    let (here, there) = tokio::join!(world.auth.rotate_signing_keys(), other.rotate_signing_keys());
    assert_ne!(here.unwrap(), there.unwrap(), "one of two servers adds a key");
    assert_eq!(world.store.signing_keys().await.unwrap().len(), 2);
    let early = world.login("ada").await.unwrap();
    assert_eq!(kid(&early.access_token), kid(&first.access_token), "the new key is not used before all know it");
    tokio::time::sleep(ms(450)).await;
    let late = world.login("ada").await.unwrap();
    assert_ne!(kid(&late.access_token), kid(&first.access_token));

    let third = Auth::new(Arc::clone(&world.store), options).await.unwrap();
    for auth in [&world.auth, &other, &third] {
        for tokens in [&first, &early, &late] {
            assert!(auth.authenticate(tokens.access_token.expose_secret()).await.is_ok());
        }
    }
}

#[tokio::test]
async fn a_signing_key_is_forgotten_when_its_last_token_is_over() {
    let second = Duration::from_secs(1);
    let options = AuthOptions {
        token_ttl: second,
        key_age: second,
        key_notice: Duration::ZERO,
        key_kept: Duration::ZERO,
        ..AuthOptions::default()
    };
    let world = World::with(options).await;
    let mut seen = BTreeSet::new();
    for _ in 0..4 {
        world.auth.rotate_signing_keys().await.unwrap();
        let keys = world.store.signing_keys().await.unwrap();
        assert!(keys.len() <= 3, "{keys:?} are kept");
        seen.extend(keys.into_iter().map(|key| key.id));
        tokio::time::sleep(second + Duration::from_millis(50)).await;
    }
    assert!(seen.len() >= 4, "{seen:?}");
    assert!(world.store.signing_keys().await.unwrap().len() < seen.len(), "none was forgotten");
}
