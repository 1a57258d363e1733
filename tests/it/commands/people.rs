//! Users, keys and sessions.

use super::shell::{Shell, field};
use crate::harness::{backend::Backend, server::Server};

const PASSWORD: &str = "correct horse battery";

/// The first words of a table's lines, but for its head.
fn names(table: &str) -> Vec<&str> {
    table.lines().skip(1).map(|line| line.split(' ').next().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_created_listed_changed_and_deleted() {
    let (server, shell) = Shell::embedded().await;
    let created = shell.fed(&["user", "create", "ada", "--role", "operator"], "correct horse battery\n").await.ok();
    assert_eq!(
        (field(&created, "name"), field(&created, "role"), field(&created, "disabled")),
        ("ada", "operator", "no")
    );
    assert!(!created.contains(PASSWORD));
    shell.ok(&["user", "create", "ci", "--role", "viewer", "--program"]).await;
    let refused = shell.fed(&["user", "create", "eve", "--role", "viewer"], "\n").await;
    assert_eq!(refused.code, 2, "{refused:?}");
    shell.fails(2, &["user", "create", "eve", "--role", "king", "--program"]).await;
    assert!(shell.fails(6, &["user", "create", "ci", "--role", "viewer", "--program"]).await.contains("USER_EXISTS"));
    assert_eq!(names(&shell.ok(&["user", "list"]).await), ["ada", "admin", "ci"]);
    let json = shell.json(&["user", "list"]).await;
    assert_eq!((&json[0]["username"], &json[0]["role"]), (&"ada".into(), &"ROLE_OPERATOR".into()));

    let ada = Shell::of(&server);
    ada.fed(&["login", "ada"], PASSWORD).await.ok();
    assert_eq!(field(&ada.ok(&["whoami"]).await, "role"), "operator");
    assert!(ada.fails(4, &["user", "list"]).await.contains("PERMISSION_DENIED"));
    let updated = shell.ok(&["user", "update", "ada", "--role", "viewer"]).await;
    assert_eq!(field(&updated, "role"), "viewer");
    shell.fails(2, &["user", "update", "ada"]).await;
    shell.fails(3, &["user", "update", "nobody", "--role", "viewer"]).await;
    let last = shell.fails(6, &["user", "update", "admin", "--disabled", "true"]).await;
    assert!(last.contains("LAST_ADMIN"), "{last}");
    let disabled = shell.ok(&["user", "update", "ada", "--disabled", "true"]).await;
    assert_eq!(field(&disabled, "disabled"), "yes");
    assert!(ada.fails(4, &["whoami"]).await.contains("CREDENTIAL_REVOKED"));

    assert!(shell.fails(2, &["user", "delete", "ada"]).await.contains("--yes"));
    assert_eq!(shell.ok(&["user", "delete", "ada", "--yes"]).await, "deleted ada\n");
    shell.fails(3, &["user", "delete", "ada", "--yes"]).await;
    assert_eq!(shell.run(&["user", "delete", "ci", "--yes", "-o", "json"]).await.ok(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_changed_by_its_owner_and_by_an_admin() {
    let (server, shell) = Shell::embedded().await;
    shell.fed(&["user", "create", "ada", "--role", "viewer"], PASSWORD).await.ok();
    let ada = Shell::of(&server);
    ada.fed(&["login", "ada"], PASSWORD).await.ok();
    let wrong = ada.fed(&["user", "password"], "not the password\nanother password\n").await;
    assert!(wrong.code == 4 && wrong.err.contains("CREDENTIAL_INVALID"), "{wrong:?}");
    let said = ada.fed(&["user", "password"], "correct horse battery\nanother password\n").await.ok();
    assert!(said.contains("log in again"), "{said}");
    assert!(ada.fails(4, &["whoami"]).await.contains("CREDENTIAL_REVOKED"));
    assert_eq!(ada.fed(&["login", "ada"], PASSWORD).await.code, 4);
    ada.fed(&["login", "ada"], "another password").await.ok();

    let file = shell.home().join("new");
    std::fs::write(&file, "a third password\n").unwrap();
    shell.ok(&["user", "password", "ada", "--password-file", &file.display().to_string()]).await;
    ada.fed(&["login", "ada"], "a third password").await.ok();
    assert_eq!(ada.fed(&["user", "password", "admin"], "a third password").await.code, 4);
    assert_eq!(shell.fed(&["user", "password", "nobody"], "a third password").await.code, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_created_listed_rotated_and_revoked() {
    let (_server, shell) = Shell::embedded().await;
    shell.ok(&["topic", "create", "orders"]).await;
    shell.ok(&["consumer", "register", "billing", "orders"]).await;
    let created = shell.ok(&["key", "create", "consumers/billing", "--ttl", "90d"]).await;
    let (id, key) = (field(&created, "id"), field(&created, "key"));
    assert!(key.starts_with(&format!("efk_{id}_")) && field(&created, "expires") != "-");
    assert_eq!((field(&created, "owner"), field(&created, "state")), ("consumers/billing", "works"));
    assert_eq!(field(&shell.ok(&["whoami", "--api-key", key]).await, "name"), "consumers/billing");

    let rotated = shell.json(&["key", "rotate", id, "--grace", "0s"]).await.remove(0);
    let (next, secret) = (rotated["api_key"]["id"].as_str().unwrap(), rotated["secret"].as_str().unwrap());
    assert!(shell.fails(4, &["whoami", "--api-key", key]).await.contains("CREDENTIAL_EXPIRED"));
    shell.ok(&["whoami", "--api-key", secret]).await;
    let listed = shell.ok(&["key", "list", "consumers/billing"]).await;
    assert!(listed.contains("expired") && listed.contains("works") && !listed.contains("efk_"), "{listed}");
    assert_eq!(names(&listed).len(), 2);
    assert_eq!(names(&shell.ok(&["key", "list"]).await).len(), 3, "and the embedded key");

    assert!(shell.fails(2, &["key", "revoke", next]).await.contains("--yes"));
    for _ in 0..2 {
        assert_eq!(field(&shell.ok(&["key", "revoke", next, "--yes"]).await, "state"), "revoked");
    }
    assert!(shell.fails(4, &["whoami", "--api-key", secret]).await.contains("CREDENTIAL_REVOKED"));
    for arguments in [
        &["key", "revoke", "none", "--yes"][..],
        &["key", "rotate", "none"],
        &["key", "create", "producers/none"],
        &["key", "list", "users/none"],
    ] {
        shell.fails(3, arguments).await;
    }
    shell.fails(1, &["key", "create", "billing"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn producers_are_changed_and_deleted() {
    let (_server, shell) = Shell::embedded().await;
    shell.ok(&["topic", "create", "orders"]).await;
    let registered = shell.ok(&["producer", "register", "shop", "--topic", "other"]).await;
    let key = field(&registered, "key");
    let publish = ["publish", "orders", "--type", "x", "--data", "x", "--api-key", key];
    shell.fails(4, &publish).await;
    let updated = shell.ok(&["producer", "update", "shop", "--topic", "orders", "--topic", "a.*"]).await;
    assert_eq!(field(&updated, "topics"), "orders a.*");
    shell.ok(&publish).await;
    assert_eq!(field(&shell.ok(&["producer", "update", "shop", "--disabled", "true"]).await, "disabled"), "yes");
    assert!(shell.fails(6, &publish).await.contains("PRODUCER_DISABLED"));
    let nowhere = shell.ok(&["producer", "update", "shop", "--no-topics", "--disabled", "false"]).await;
    assert_eq!((field(&nowhere, "topics"), field(&nowhere, "disabled")), ("-", "no"));
    shell.fails(2, &["producer", "update", "shop"]).await;
    assert!(shell.fails(2, &["producer", "delete", "shop"]).await.contains("--yes"));
    assert_eq!(shell.ok(&["producer", "delete", "shop", "--yes"]).await, "deleted shop\n");
    shell.fails(3, &["producer", "get", "shop"]).await;
    shell.fails(4, &publish).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_ends_the_session_and_forgets_it() {
    let server = Backend::Postgres.server().await.start().await;
    let shell = Shell::of(&server);
    assert!(shell.fails(4, &["logout"]).await.contains("nobody is logged in"));
    let login = ["login", "admin", "--password-file", &shell.password_file()];
    shell.ok(&login).await;
    let token = kept(&shell, "access_token");
    assert_eq!(shell.ok(&["logout"]).await, format!("logged out at http://{} as admin\n", server.listen()));
    assert!(shell.fails(4, &["whoami"]).await.contains("CREDENTIAL_MISSING"));
    assert!(shell.fails(4, &["whoami", "--token", &token]).await.contains("CREDENTIAL_REVOKED"));

    // One that has ended elsewhere is forgotten all the same.
    shell.ok(&login).await;
    let token = kept(&shell, "access_token");
    shell.ok(&["logout", "--token", &token]).await;
    shell.fails(4, &["whoami"]).await;
    shell.ok(&["logout"]).await;
    assert!(shell.fails(4, &["logout"]).await.contains("nobody is logged in"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_renewed_by_one_command_of_many() {
    let server = Server::embedded().flag("--token-ttl", "11s").start().await;
    let shell = Shell::of(&server);
    shell.ok(&["login", "admin", "--password-file", &shell.password_file()]).await;
    let first = kept(&shell, "refresh_token");
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    // All of them find a token that ends in less than 10 s; a second use of its refresh token would end the session.
    let commands = (0..8).map(|_| shell.json(&["whoami"]));
    for caller in futures::future::join_all(commands).await {
        assert_eq!(caller[0]["name"], "users/admin");
    }
    let second = kept(&shell, "refresh_token");
    assert_ne!(first, second, "the token was not renewed");
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    shell.ok(&["topic", "create", "orders"]).await;
    assert_ne!(kept(&shell, "refresh_token"), second);
}

/// A part of the one login that is kept.
fn kept(shell: &Shell, part: &str) -> String {
    let text = std::fs::read_to_string(shell.home().join("config/eventflow/credentials.json")).unwrap();
    let kept: serde_json::Value = serde_json::from_str(&text).unwrap();
    kept["servers"].as_object().unwrap().values().next().unwrap()[part].as_str().unwrap().to_owned()
}
