//! Clients in other languages, which know the server by its protos or by reflection alone.

mod grpcurl;
mod python;
mod tools;

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use eventflow::proto::v1;
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

use crate::{
    client::Client,
    harness::{backend::Backend, server::Server},
};

/// How long a foreign program may take: starting Python on a busy machine takes seconds.
const PATIENCE: Duration = Duration::from_secs(90);

/// A server with a topic `orders`, and two credentials.
struct Shop {
    server: Server,
    /// Of the admin.
    token: String,
    /// Of the producer `shop`, which may publish to `orders`.
    key: String,
}

impl Shop {
    async fn open(backend: Backend) -> Self {
        let server = backend.server().await.start().await;
        let password = std::fs::read_to_string(server.data_dir().join("admin-password")).unwrap();
        let anonymous = Client::anonymous(&server).await;
        let login = v1::LoginRequest { username: "admin".into(), password: password.trim().into() };
        let tokens = anonymous.auth().login(login).await.unwrap().into_inner().tokens;
        let token = tokens.unwrap().access_token;
        let admin = anonymous.with(&token);
        admin.create_topic("orders").await;
        let producer = v1::Producer { name: "shop".into(), topics: vec!["orders".into()], ..Default::default() };
        let request = v1::RegisterProducerRequest { producer: Some(producer), if_not_exists: false };
        let key = admin.producers().register_producer(request).await.unwrap().into_inner().secret;
        Self { server, token, key }
    }
}

/// Runs a command with this standard input to its end.
async fn finished(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    timeout(PATIENCE, child.wait_with_output()).await.expect("the program ends in time").unwrap()
}

/// What a program printed, which must have succeeded.
#[track_caller]
fn printed(output: Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}
