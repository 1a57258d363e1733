//! No secret is in any log, not even at trace level.

use std::fs;

use eventflow::proto::v1;

use crate::{
    client::{Client, event, from_earliest},
    harness::backend::{Backend, on_both_stores},
};

/// Secrets, by what they are.
#[derive(Default)]
struct Secrets(Vec<(String, String)>);

impl Secrets {
    fn add(&mut self, what: &str, secret: &str) {
        assert!(secret.len() >= 12, "{what} is too short to be looked for: {secret:?}");
        self.0.push((what.to_owned(), secret.to_owned()));
    }

    /// The parts that alone would do: of a key what follows its id, of a token its signature.
    fn add_credential(&mut self, what: &str, secret: &str) {
        self.add(what, secret);
        let tail = secret.rsplit(['_', '.']).next().unwrap_or_default();
        if tail.len() >= 12 {
            self.add(&format!("the end of {what}"), tail);
        }
    }
}

async fn log_in(client: &Client, password: &str, secrets: &mut Secrets) -> Client {
    let request = v1::LoginRequest { username: "admin".into(), password: password.into() };
    let tokens = client.auth().login(request).await.unwrap().into_inner().tokens.unwrap();
    secrets.add_credential("an access token", &tokens.access_token);
    secrets.add_credential("a refresh token", &tokens.refresh_token);
    client.with(&tokens.access_token)
}

/// A new producer's key.
async fn key(admin: &Client, name: &str, secrets: &mut Secrets) -> Client {
    let producer = v1::Producer { name: name.into(), topics: vec!["orders".into()], ..Default::default() };
    let request = v1::RegisterProducerRequest { producer: Some(producer), if_not_exists: false };
    let secret = admin.producers().register_producer(request).await.unwrap().into_inner().secret;
    secrets.add_credential("a key", &secret);
    admin.with(&secret)
}

/// Everything that makes, trades or ends a credential.
async fn manage(admin: &Client, secrets: &mut Secrets) {
    let password = "a-password-of-ada-1";
    secrets.add("the password of a user", password);
    let user = v1::User { username: "ada".into(), role: v1::Role::Operator.into(), ..Default::default() };
    let request = v1::CreateUserRequest { user: Some(user), password: password.into() };
    admin.auth().create_user(request).await.unwrap();
    let request = v1::LoginRequest { username: "ada".into(), password: password.into() };
    let tokens = admin.auth().login(request).await.unwrap().into_inner().tokens.unwrap();
    secrets.add_credential("an access token", &tokens.access_token);
    secrets.add_credential("a refresh token", &tokens.refresh_token);
    let refresh = v1::RefreshTokenRequest { refresh_token: tokens.refresh_token };
    let next = admin.auth().refresh_token(refresh.clone()).await.unwrap().into_inner().tokens.unwrap();
    secrets.add_credential("a further access token", &next.access_token);
    secrets.add_credential("a further refresh token", &next.refresh_token);
    // What they have in common is as good as one of them for ending the session.
    let (front, _) = next.refresh_token.split_once('.').unwrap();
    secrets.add("what refresh tokens have in common", &front[front.len() - 43..]);
    let ada = admin.with(&next.access_token);
    let (old_password, new_password) = (password.to_owned(), "a-password-of-ada-2".to_owned());
    secrets.add("a new password", &new_password);
    let wrong = "not-the-password-of-ada".to_owned();
    secrets.add("a wrong old password", &wrong);
    let request = v1::ChangePasswordRequest { old_password: wrong, new_password, ..Default::default() };
    ada.auth().change_password(request.clone()).await.unwrap_err();
    ada.auth().change_password(v1::ChangePasswordRequest { old_password, ..request }).await.unwrap();
    admin.auth().refresh_token(refresh).await.unwrap_err();

    let create = v1::CreateApiKeyRequest { owner: "users/ada".into(), ttl: None };
    let created = admin.auth().create_api_key(create).await.unwrap().into_inner();
    secrets.add_credential("a key of a user", &created.secret);
    let id = created.api_key.unwrap().id;
    let rotate = v1::RotateApiKeyRequest { id: id.clone(), grace_period: None };
    let rotated = admin.auth().rotate_api_key(rotate).await.unwrap().into_inner();
    secrets.add_credential("a rotated key", &rotated.secret);
    for key in [&created.secret, &rotated.secret] {
        admin.with(key).auth().get_caller(v1::GetCallerRequest {}).await.unwrap();
    }
    admin.auth().revoke_api_key(v1::RevokeApiKeyRequest { id }).await.unwrap();
    admin.with(&created.secret).auth().get_caller(v1::GetCallerRequest {}).await.unwrap_err();
    admin.auth().delete_user(v1::DeleteUserRequest { username: "ada".into() }).await.unwrap();
}

async fn fail(client: &Client, secrets: &mut Secrets) {
    for n in 0..4 {
        let password = format!("wrong-horse-battery-{n}");
        let username = ["admin", "nobody"][n % 2].to_owned();
        let request = v1::LoginRequest { username, password: password.clone() };
        client.auth().login(request).await.unwrap_err();
        secrets.add("a wrong password", &password);
    }
    for garbage in [
        "garbage-credential-1",
        "efk_aaaaaaaaaaaaaaaa_garbagegarbagegarbage",
        "efk_garbage-without-an-end",
        "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhZG1pbiJ9.Z2FyYmFnZWdhcmJhZ2U",
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbmlzdHJhdG9yIn0.",
    ] {
        client.with(garbage).auth().get_caller(v1::GetCallerRequest {}).await.unwrap_err();
        let refresh = v1::RefreshTokenRequest { refresh_token: format!("efr_{garbage}") };
        client.auth().refresh_token(refresh).await.unwrap_err();
        secrets.add("a wrong credential", garbage);
    }
}

on_both_stores! {
    async fn no_password_key_or_token_is_ever_logged(backend: Backend) {
        let mut server = backend.server().await.flag("--log", "trace").flag("--log-format", "json").start().await;
        let mut secrets = Secrets::default();
        let password = fs::read_to_string(server.data_dir().join("admin-password")).unwrap().trim().to_owned();
        secrets.add("the admin's password", &password);
        if backend == Backend::Sqlite {
            let key = fs::read_to_string(server.data_dir().join("embedded-key")).unwrap();
            secrets.add_credential("the embedded key", key.trim());
        } else {
            secrets.add("the password of Redis", crate::harness::redis::Redis::shared().await.password());
        }
        let nobody = Client::anonymous(&server).await;
        let admin = log_in(&nobody, &password, &mut secrets).await;
        log_in(&nobody, &password, &mut secrets).await;
        admin.create_topic("orders").await;
        for name in ["a", "b", "c"] {
            let producer = key(&admin, name, &mut secrets).await;
            let payload = format!("the-payload-of-{name}-is-private");
            producer.publish("orders", vec![event(&payload)]).await.unwrap();
            secrets.add("a payload", &payload);
            producer.publish("elsewhere", vec![event(&payload)]).await.unwrap_err();
        }
        manage(&admin, &mut secrets).await;
        fail(&nobody, &mut secrets).await;
        admin.subscribe(from_earliest("orders")).await.unwrap().events(3).await;
        assert_eq!(server.terminate().await, 0);

        let log = server.log();
        assert!(log.contains("\"level\":\"TRACE\""), "the log is not at trace level");
        assert!(secrets.0.len() >= 40, "{} secrets", secrets.0.len());
        for (what, secret) in &secrets.0 {
            if let Some(line) = log.lines().find(|line| line.contains(secret.as_str())) {
                panic!("{what} is in the log: {}", line.chars().take(600).collect::<String>());
            }
        }
    }
}
