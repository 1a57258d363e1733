//! Exit codes, and what is said with them.

use super::shell::Shell;

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_failure_has_its_exit_code_and_says_why() {
    let (_server, shell) = Shell::embedded().await;
    shell.ok(&["topic", "create", "orders"]).await;
    let unknown = format!("efk_{}_{}", "a".repeat(16), "b".repeat(43));
    for (code, arguments, why) in [
        (1, &["publish", "orders", "--type", "", "--data", "x"][..], "EVENT_INVALID: "),
        (1, &["topic", "get", "Orders"], "NAME_INVALID: "),
        (1, &["publish", "orders", "--type", "x", "--file", "missing"], "missing cannot be read"),
        (2, &["topic", "remove", "orders"], "unrecognized subcommand"),
        (2, &["topic", "update", "orders"], "nothing to change"),
        (2, &["topic", "list", "--server", "https://localhost:1"], "needs TLS"),
        (2, &["topic", "list", "--api-key", "a", "--token", "b"], "not both"),
        (3, &["topic", "get", "missing"], "TOPIC_NOT_FOUND: "),
        (3, &["consumer", "get", "missing"], "CONSUMER_NOT_FOUND: "),
        (3, &["tail", "missing"], "TOPIC_NOT_FOUND: "),
        (4, &["topic", "list", "--api-key", &unknown], "CREDENTIAL_INVALID: "),
        (5, &["topic", "list", "--server", "127.0.0.1:1"], "refused"),
        (5, &["tail", "orders", "--server", "127.0.0.1:1"], "refused"),
        (
            5,
            &["publish", "orders", "--type", "x", "--data", "x", "--server", "127.0.0.1:1", "--timeout", "1s"],
            "refused",
        ),
        (6, &["topic", "create", "orders"], "TOPIC_EXISTS: "),
        (6, &["publish", "orders", "--type", "x", "--data", "x", "--expected-head", "9"], "HEAD_MOVED: "),
    ] {
        let err = shell.fails(code, arguments).await;
        assert!(err.starts_with("error: ") && err.contains(why), "{arguments:?}: {err}");
    }
    assert!(shell.fails(1, &["topic", "get", "Orders"]).await.contains("request id: "));
    let away = shell.fails(5, &["topic", "list", "--server", "127.0.0.1:1"]).await;
    assert!(away.ends_with("\n  server: http://127.0.0.1:1; is it running there?\n"), "{away}");
    assert_eq!(shell.ok(&["health"]).await, "SERVING\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_violation_is_named_with_its_field() {
    let (_server, shell) = Shell::embedded().await;
    shell.ok(&["topic", "create", "orders"]).await;
    let one = shell.fails(1, &["publish", "orders", "--type", "", "--data", "x"]).await;
    assert_eq!(one.matches("events[0].type: ").count(), 1, "{one}");
    let two = shell.fails(1, &["publish", "orders", "--type", "", "--attr", "a b=c", "--data", "x"]).await;
    assert!(two.contains("\n  events[0].type: ") && two.contains("\n  events[0].attributes"), "{two}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misspelt_variable_is_refused_by_commands_and_by_serve() {
    let (_server, shell) = Shell::embedded().await;
    for arguments in [&["topic", "list"][..], &["serve", "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]] {
        let mut command = shell.command(arguments);
        command.env("EVENTFLOW_LISTN", "127.0.0.1:1");
        let done = super::shell::finished(command, "").await;
        assert_eq!((done.code, done.out.as_str()), (2, ""), "{arguments:?}: {}", done.err);
        assert!(done.err.contains("unknown environment variable EVENTFLOW_LISTN;"), "{}", done.err);
        assert!(done.err.contains("EVENTFLOW_LISTEN"), "the known ones are not named: {}", done.err);
    }
    let mut injected = shell.command(&["topic", "list"]);
    injected.env("EVENTFLOW_PORT_50051_TCP", "tcp://10.0.0.1:50051").env("EVENTFLOW_SERVICE_HOST", "10.0.0.1");
    super::shell::finished(injected, "").await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_seen_enough_is_no_failure() {
    let (_server, shell) = Shell::embedded().await;
    shell.ok(&["topic", "create", "orders"]).await;
    shell.fed(&["publish", "orders", "--type", "x"], &"x\n".repeat(2000)).await.ok();
    let line = format!("set -o pipefail; {} tail orders --earliest --until-head | head -n 1", super::shell::PROGRAM);
    let mut command = shell.command(&[]);
    let environment =
        command.as_std_mut().get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
    let environment: Vec<_> = environment.collect();
    let mut bash = tokio::process::Command::new("bash");
    bash.args(["-c", &line]).envs(environment).current_dir(shell.home());
    let out = super::shell::finished(bash, "").await.ok();
    assert!(out.starts_with("1  ") && out.lines().count() == 1, "{out}");
}
