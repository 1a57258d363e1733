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
        fail(&nobody, &mut secrets).await;
        admin.subscribe(from_earliest("orders")).await.unwrap().events(3).await;
        assert_eq!(server.terminate().await, 0);

        let log = server.log();
        assert!(log.contains("\"level\":\"TRACE\""), "the log is not at trace level");
        assert!(secrets.0.len() >= 20, "{} secrets", secrets.0.len());
        for (what, secret) in &secrets.0 {
            if let Some(line) = log.lines().find(|line| line.contains(secret.as_str())) {
                panic!("{what} is in the log: {}", line.chars().take(600).collect::<String>());
            }
        }
    }
}
