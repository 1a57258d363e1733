//! What a shell is told to complete commands with.

use super::shell::{Shell, finished};

/// What bash offers for the last of these words.
async fn offered(shell: &Shell, words: &[&str]) -> Vec<String> {
    let line = r#"source <("$0" completions bash); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        _eventflow eventflow "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"; printf '%s\n' "${COMPREPLY[@]}""#;
    let mut bash = tokio::process::Command::new("bash");
    bash.args(["-c", line, super::shell::PROGRAM]).args(words).current_dir(shell.home());
    finished(bash, "").await.ok().lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn bash_completes_commands_flags_and_values() {
    let (_server, shell) = Shell::embedded().await;
    assert_eq!(offered(&shell, &["eventflow", "consumer", "pa"]).await, ["pause"]);
    assert_eq!(offered(&shell, &["eventflow", "topic", "trim", "--bef"]).await, ["--before"]);
    assert_eq!(offered(&shell, &["eventflow", "user", "create", "--role", ""]).await, ["viewer", "operator", "admin"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_shell_gets_a_script_that_knows_the_commands() {
    let (_server, shell) = Shell::embedded().await;
    for name in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = shell.ok(&["completions", name]).await;
        assert!(["publish", "until-head", "revoke"].iter().all(|word| script.contains(word)), "{name}");
    }
    shell.fails(2, &["completions", "tcsh"]).await;
}
