//! `serve`, where it refuses.

use super::shell::Shell;
use crate::harness::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_in_the_same_folder_is_refused_and_disturbs_nothing() {
    let (server, shell) = Shell::embedded().await;
    shell.ok(&["topic", "create", "orders"]).await;
    let record = std::fs::read(server.data_dir().join("server.json")).unwrap();
    let second = Server::embedded().flag("--data-dir", &server.data_dir().display().to_string());
    let refusal = second.refused().await;
    assert_eq!(refusal.code, 1, "{}", refusal.log);
    let folder = server.data_dir().display().to_string();
    assert!(refusal.log.starts_with("error: ") && refusal.log.contains(&folder), "{}", refusal.log);
    assert!(refusal.log.contains("another server"), "{}", refusal.log);
    assert_eq!(std::fs::read(server.data_dir().join("server.json")).unwrap(), record);
    shell.ok(&["publish", "orders", "--type", "x", "--data", "x"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_network_is_served_only_after_saying_so() {
    let refusal = Server::embedded().flag("--listen", "0.0.0.0:0").refused().await;
    assert_eq!(refusal.code, 2, "{}", refusal.log);
    assert!(refusal.log.starts_with("error: ") && refusal.log.contains("--insecure"), "{}", refusal.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named() {
    let (server, _shell) = Shell::embedded().await;
    let address = server.listen().to_string();
    let refusal = Server::embedded().flag("--listen", &address).refused().await;
    assert_eq!(refusal.code, 1, "{}", refusal.log);
    assert!(refusal.log.starts_with(&format!("error: cannot listen on {address}; ")), "{}", refusal.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_leaves_no_address_behind() {
    let (mut server, shell) = Shell::embedded().await;
    assert_eq!(server.terminate().await, 0);
    assert!(!server.data_dir().join("server.json").exists());
    let err = shell.run(&["health"]).await;
    // The default address: whoever listens there is not this server.
    assert!(err.code == 5 || err.out == "SERVING\n", "{err:?}");
}
