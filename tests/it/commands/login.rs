//! `login` and `whoami`.

use std::os::unix::fs::PermissionsExt;

use super::shell::Shell;
use crate::harness::backend::Backend;

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_kept_for_the_other_commands_and_for_this_user_alone() {
    let server = Backend::Postgres.server().await.start().await;
    let shell = Shell::of(&server);
    let missing = shell.fails(4, &["whoami"]).await;
    assert!(missing.contains("CREDENTIAL_MISSING"), "{missing}");

    let said = shell.ok(&["login", "admin", "--password-file", &shell.password_file()]).await;
    assert_eq!(said, format!("logged in at http://{} as admin\n", server.listen()));
    let whoami = shell.json(&["whoami"]).await.remove(0);
    assert_eq!((&whoami["name"], &whoami["role"]), (&"users/admin".into(), &"ROLE_ADMIN".into()), "{whoami}");
    assert!(whoami["expire_time"].is_string());
    let file = shell.home().join("config/eventflow/credentials.json");
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);

    let elsewhere = Shell::of(&server);
    elsewhere.fails(4, &["topic", "list"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_refused_and_nothing_is_kept() {
    let server = Backend::Postgres.server().await.start().await;
    let shell = Shell::of(&server);
    let refused = shell.fed(&["login", "admin"], "not the password\n").await;
    assert_eq!((refused.code, refused.out.as_str()), (4, ""), "{refused:?}");
    assert!(refused.err.starts_with("error: ") && !refused.err.contains("not the password"), "{}", refused.err);
    let unknown = shell.fed(&["login", "nobody"], "not the password\n").await;
    assert_eq!(unknown.code, 4);
    let headline = |text: &str| text.lines().next().unwrap().to_owned();
    assert_eq!(headline(&unknown.err), headline(&refused.err), "it can be told who has a login");
    assert!(!shell.home().join("config/eventflow/credentials.json").exists());
    shell.fails(4, &["whoami"]).await;
    shell.fails(1, &["login", "admin", "--password-file", "missing"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_key_is_the_admins_until_another_credential_is_given() {
    let (server, shell) = Shell::embedded().await;
    let whoami = shell.json(&["whoami"]).await.remove(0);
    assert_eq!((&whoami["name"], &whoami["role"]), (&"users/admin".into(), &"ROLE_ADMIN".into()), "{whoami}");
    shell.fails(4, &["whoami", "--token", "wrong"]).await;
    let password = std::fs::read_to_string(shell.password_file()).unwrap();
    shell.fed(&["login", "admin"], &password).await.ok();
    assert!(shell.json(&["whoami"]).await[0]["expire_time"].is_string(), "the login is not preferred to the key");
    drop(server);
}
