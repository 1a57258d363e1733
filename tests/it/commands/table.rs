//! Every RPC by a command, against a table written by hand.

use std::collections::BTreeSet;

use super::shell::Shell;
use crate::{
    api,
    harness::{patience::eventually, server::Server},
};

const TABLE: &str = include_str!("table.txt");

/// The rows: an RPC, and the command that makes it.
fn rows() -> Vec<(&'static str, &'static str)> {
    let rows = TABLE.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    rows.map(|row| row.split_once(' ').map(|(rpc, command)| (rpc, command.trim())).unwrap()).collect()
}

/// How often the log of a server says that a call of this RPC succeeded.
fn succeeded(server: &Server, rpc: &str) -> usize {
    server.log().matches(&format!("/eventflow.v1.{rpc} ended with Ok")).count()
}

/// A server on which everything exists that the table names, and what the words in braces stand for.
async fn prepared() -> (Server, Shell, [(&'static str, String); 4]) {
    // So short that each command after the login has to renew its token.
    let server = Server::embedded().flag("--token-ttl", "9s").start().await;
    let shell = Shell::of(&server);
    let password = shell.home().join("password");
    std::fs::write(&password, "correct horse battery\n").unwrap();
    for name in ["orders", "old"] {
        shell.ok(&["topic", "create", name]).await;
    }
    for name in ["shop", "old"] {
        shell.ok(&["producer", "register", name, "--topic", "orders"]).await;
    }
    for name in ["billing", "old"] {
        shell.ok(&["consumer", "register", name, "orders"]).await;
    }
    shell.ok(&["topic", "create", "jobs"]).await;
    shell.ok(&["publish", "jobs", "--type", "mail", "--data", "x"]).await;
    shell.ok(&["consumer", "register", "mailer", "jobs", "--mode", "queue", "--max-attempts", "1"]).await;
    let lease = shell.json(&["consumer", "poll", "mailer"]).await.remove(0);
    for name in ["ada", "old"] {
        shell.ok(&["user", "create", name, "--role", "operator", "--program"]).await;
    }
    let key = shell.json(&["key", "create", "producers/shop"]).await.remove(0);
    let words = [
        ("{admin}", shell.password_file()),
        ("{password}", password.display().to_string()),
        ("{lease}", lease["lease_id"].as_str().unwrap().to_owned()),
        ("{key}", key["api_key"]["id"].as_str().unwrap().to_owned()),
    ];
    (server, shell, words)
}

#[test]
fn the_table_has_every_rpc_of_the_protos() {
    let described: BTreeSet<_> = api::methods().iter().map(api::path).collect();
    let path = |rpc: &str| format!("/eventflow.v1.{rpc}");
    let listed: Vec<_> = rows().iter().map(|(rpc, _)| path(rpc)).collect();
    assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), described);
    assert_eq!(listed.len(), described.len(), "an RPC is listed twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rpc_is_made_by_its_command() {
    let (server, shell, words) = prepared().await;
    for (rpc, command) in rows() {
        let before = succeeded(&server, rpc);
        let fill = |word: &str| match words.iter().find(|(name, _)| *name == word) {
            Some((_, value)) => value.clone(),
            None => word.to_owned(),
        };
        let arguments: Vec<_> = command.split_whitespace().map(fill).collect();
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        shell.fed(&arguments, "one line\n").await.ok();
        // The line of a stream is written when its end is seen.
        let what = format!("a call of {rpc} by `eventflow {command}`");
        eventually(&what, async || (succeeded(&server, rpc) > before).then_some(())).await;
    }
}
