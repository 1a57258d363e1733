//! Servers are started, searched, killed, and started again.

use std::path::Path;

use crate::harness::{
    backend::{Backend, on_both_stores},
    server::Server,
};

const FAKE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/harness_works/fake_server.sh");

on_both_stores! {
    async fn a_server_gets_a_store_of_the_kind(backend: Backend) {
        let server = backend.server().await.program(Path::new(FAKE)).start().await;
        let store = match backend {
            Backend::Sqlite => "over a file",
            Backend::Postgres => "over postgres://",
        };
        server.logged(store).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_started_again_keeps_its_folder_and_its_port() {
    let mut server = Server::embedded().program(Path::new(FAKE)).start().await;
    let (instance, pid) = (server.instance().to_owned(), server.pid());
    std::fs::write(server.data_dir().join("kept"), "").unwrap();

    server.restart().await;

    assert_ne!((server.instance(), server.pid()), (instance.as_str(), pid));
    assert_eq!((server.listen().port(), server.http_listen().port()), (9, 9));
    assert!(server.data_dir().join("kept").exists());
    let log = server.log();
    assert!(log.contains("asked for 127.0.0.1:0") && log.contains("asked for 127.0.0.1:9"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_server_tells_its_exit_code_and_a_killed_one_cannot_drain() {
    let mut server = Server::embedded().program(Path::new(FAKE)).start().await;
    assert_eq!(server.terminate().await, 7);
    assert!(server.log().contains("draining"));

    let mut server = Server::embedded().program(Path::new(FAKE)).start().await;
    server.kill().await;
    assert!(!server.log().contains("draining"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_to_start_says_why() {
    let refusal = Server::embedded().program(Path::new(FAKE)).flag("--refuse", "nonsense").refused().await;
    assert_eq!((refusal.code, refusal.log.trim()), (2, "refused: nonsense"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_leads_to_the_server() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = Server::embedded().program(Path::new(FAKE)).environment("FAKE_LISTEN", &address).start().await;
    let (_channel, accepted) = tokio::join!(server.channel(), listener.accept());
    accepted.unwrap();
}
