//! What is never shown.

use nix::sys::signal::Signal;
use serde_json::Value;

use super::shell::{Done, Shell};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_printed_but_the_key_of_a_new_producer() {
    let (server, shell) = Shell::embedded().await;
    let password = std::fs::read_to_string(shell.password_file()).unwrap().trim().to_owned();
    let embedded = std::fs::read_to_string(server.data_dir().join("embedded-key")).unwrap().trim().to_owned();
    shell.ok(&["topic", "create", "orders"]).await;
    let registered = shell.json(&["producer", "register", "shop", "--topic", "orders"]).await.remove(0);
    let key = registered["secret"].as_str().unwrap().to_owned();
    assert!(!registered.to_string().replacen(&key, "", 1).contains(&key), "the key is shown twice");
    let login = shell.fed(&["-v", "login", "admin"], &password).await;
    let text = std::fs::read_to_string(shell.home().join("config/eventflow/credentials.json")).unwrap();
    let kept: Value = serde_json::from_str(&text).unwrap();
    let session = kept["servers"].as_object().unwrap().values().next().unwrap();
    let token = |name: &str| session[name].as_str().unwrap().to_owned();
    let secrets = [password, embedded, key.clone(), token("access_token"), token("refresh_token")];

    let mut written = vec![login];
    for arguments in [
        &["-v", "whoami"][..],
        &["-v", "whoami", "-o", "json"],
        &["-v", "server", "info", "-o", "json"],
        &["-v", "producer", "get", "shop", "-o", "json"],
        &["-v", "producer", "list", "-o", "json"],
        &["-v", "publish", "orders", "--type", "x", "--data", "x", "--api-key", &key],
        &["-v", "publish", "other", "--type", "x", "--data", "x", "--api-key", &key],
        &["-v", "topic", "list", "--token", &secrets[3]],
        &["-v", "user", "list", "-o", "json"],
        &["-v", "key", "list", "-o", "json"],
        &["-v", "key", "create", &key],
        &["-v", "topic", "list", "--token", &secrets[3], "--api-key", &key],
        &["-v", "tail", "orders", "--earliest", "--until-head"],
        &["topic", "list", "--help"],
        &["--no-such-flag"],
    ] {
        let mut command = shell.command(arguments);
        if arguments[0] == "topic" {
            command.env("EVENTFLOW_API_KEY", &key).env("EVENTFLOW_TOKEN", &secrets[3]);
        }
        written.push(super::shell::finished(command, "").await);
    }
    let mut tail = shell.follow(&["-v", "tail", "orders", "--earliest"]);
    tail.printed(2).await;
    tail.signal(Signal::SIGTERM);
    assert_eq!(tail.ended().await, 0);
    written.push(Done { code: 0, out: tail.lines().join("\n"), err: server.log() });
    for Done { out, err, .. } in &written {
        for secret in &secrets {
            // Neither whole nor its telling half.
            let half = &secret[secret.len() / 2..];
            assert!(!out.contains(half) && !err.contains(half), "a secret was written:\n{out}\n{err}");
        }
    }
}
