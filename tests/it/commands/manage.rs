//! Topics, producers and consumers.

use super::shell::{Shell, field};

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_created_shown_listed_and_updated() {
    let (_server, shell) = Shell::embedded().await;
    let created = shell.ok(&["topic", "create", "orders", "--description", "All orders", "--retention", "30d"]).await;
    assert_eq!((field(&created, "name"), field(&created, "description")), ("orders", "All orders"));
    assert_eq!((field(&created, "retention"), field(&created, "head"), field(&created, "earliest")), ("30d", "0", "1"));
    assert_eq!(shell.ok(&["topic", "get", "orders"]).await, created);
    let again = ["topic", "create", "orders", "--description", "All orders", "--retention", "30d", "--if-not-exists"];
    assert_eq!(shell.ok(&again).await, created);

    let updated = shell.ok(&["topic", "update", "orders", "--sealed", "true", "--retention", "0s"]).await;
    assert_eq!((field(&updated, "sealed"), field(&updated, "retention")), ("yes", "for ever"));
    assert_eq!(field(&updated, "description"), "All orders", "what was not given has changed");
    let sealed = shell.fails(6, &["publish", "orders", "--type", "x", "--data", "x"]).await;
    assert!(sealed.contains("TOPIC_SEALED"), "{sealed}");

    shell.ok(&["topic", "create", "payments"]).await;
    let listed = shell.ok(&["topic", "list"]).await;
    let lines: Vec<_> = listed.lines().collect();
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>().join(" "),
        "NAME HEAD EARLIEST RETENTION SEALED DESCRIPTION"
    );
    assert!(lines[1].starts_with("orders ") && lines[2].starts_with("payments ") && lines.len() == 3, "{listed}");
    let listed = shell.ok(&["topic", "list", "pay"]).await;
    assert!(listed.lines().count() == 2 && listed.contains("payments"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_one_object_a_line_with_the_names_of_the_protos() {
    let (_server, shell) = Shell::embedded().await;
    let created = shell.json(&["topic", "create", "orders", "--retention", "60m"]).await;
    assert_eq!((&created[0]["head_offset"], &created[0]["retention"]), (&"0".into(), &"3600s".into()), "{created:?}");
    assert_eq!(shell.json(&["topic", "get", "orders"]).await, created);
    shell.ok(&["topic", "create", "payments"]).await;
    let listed = shell.json(&["topic", "list"]).await;
    let names: Vec<_> = listed.iter().map(|topic| topic["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["orders", "payments"]);
    assert_eq!(listed[0], created[0]);
    let info = shell.json(&["server", "info"]).await;
    assert_eq!((&info[0]["version"], &info[0]["store"]), (&env!("CARGO_PKG_VERSION").into(), &"sqlite".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn trimming_asks_first_and_then_removes_the_oldest_events() {
    let (_server, shell) = Shell::embedded().await;
    shell.ok(&["topic", "create", "orders"]).await;
    shell.fed(&["publish", "orders", "--type", "x"], "1\n2\n3\n4\n5\n").await.ok();
    let refused = shell.fails(2, &["topic", "trim", "orders", "--before", "4"]).await;
    assert!(refused.contains("--yes"), "{refused}");
    let tried = shell.ok(&["topic", "trim", "orders", "--before", "4", "--validate-only"]).await;
    assert_eq!(field(&tried, "trimmed"), "3");
    assert_eq!(field(&shell.ok(&["topic", "get", "orders"]).await, "earliest"), "1", "a trial removed events");

    let trimmed = shell.ok(&["topic", "trim", "orders", "--before", "4", "--yes"]).await;
    assert_eq!((field(&trimmed, "trimmed"), field(&trimmed, "earliest")), ("3", "4"));
    let refused = shell.fails(1, &["tail", "orders", "--from", "1", "--until-head"]).await;
    assert!(refused.contains("OFFSET_TRIMMED"), "{refused}");
    let rest = shell.ok(&["tail", "orders", "--from", "1", "--until-head", "--skip-trimmed"]).await;
    assert_eq!(super::shell::offsets(rest.lines()), [4, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_sealed_and_unsealed() {
    let (_server, shell) = Shell::embedded().await;
    shell.ok(&["topic", "create", "orders"]).await;
    assert_eq!(field(&shell.ok(&["topic", "seal", "orders"]).await, "sealed"), "yes");
    let refused = shell.fails(6, &["publish", "orders", "--type", "x", "--data", "x"]).await;
    assert!(refused.contains("TOPIC_SEALED"), "{refused}");
    assert_eq!(shell.json(&["topic", "unseal", "orders"]).await[0]["sealed"], false);
    shell.ok(&["publish", "orders", "--type", "x", "--data", "x"]).await;
    for command in ["seal", "unseal"] {
        shell.fails(3, &["topic", command, "missing"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_topic_asks_first_and_is_refused_while_it_has_consumers() {
    let (_server, shell) = Shell::embedded().await;
    shell.ok(&["topic", "create", "orders"]).await;
    shell.ok(&["consumer", "register", "billing", "orders"]).await;
    let refused = shell.fails(2, &["topic", "delete", "orders"]).await;
    assert!(refused.contains("--yes"), "{refused}");
    let refused = shell.fails(6, &["topic", "delete", "orders", "--yes"]).await;
    assert!(refused.contains("TOPIC_IN_USE") && refused.contains("billing"), "{refused}");
    shell.ok(&["consumer", "delete", "billing", "--yes"]).await;
    assert_eq!(shell.ok(&["topic", "delete", "orders", "--yes"]).await, "deleted orders\n");
    shell.fails(3, &["topic", "get", "orders"]).await;
    shell.fails(3, &["topic", "delete", "orders", "--yes"]).await;
    shell.ok(&["topic", "create", "orders"]).await;
    assert_eq!(shell.ok(&["topic", "delete", "orders", "--yes", "-o", "json"]).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registered_producer_publishes_with_the_key_that_is_shown_once() {
    let (_server, shell) = Shell::embedded().await;
    shell.ok(&["topic", "create", "orders"]).await;
    shell.ok(&["topic", "create", "payments"]).await;
    let register = ["producer", "register", "shop", "--topic", "orders", "--description", "The shop"];
    let registered = shell.ok(&register).await;
    let key = field(&registered, "key");
    assert!(key.starts_with("efk_") && key.len() > 40, "{} characters", key.len());
    assert_eq!((field(&registered, "topics"), field(&registered, "disabled")), ("orders", "no"));
    let again = shell.ok(&[&register[..], &["--if-not-exists"]].concat()).await;
    assert_eq!(field(&again, "key"), "not shown again");
    for text in [shell.ok(&["producer", "get", "shop"]).await, shell.ok(&["producer", "list"]).await] {
        assert!(text.contains("shop") && text.contains("The shop") && !text.contains("efk_"), "{text}");
    }

    shell.ok(&["publish", "orders", "--type", "x", "--data", "x", "--api-key", key]).await;
    let event = shell.json(&["tail", "orders", "--earliest", "--until-head"]).await.remove(0);
    assert_eq!((&event["producer"], &event["source"]), (&"producers/shop".into(), &"/producers/shop".into()));
    let refused = shell.fails(4, &["publish", "payments", "--type", "x", "--data", "x", "--api-key", key]).await;
    assert!(refused.contains("PERMISSION_DENIED"), "{refused}");

    let mut command = shell.command(&["whoami"]);
    command.env("EVENTFLOW_API_KEY", key);
    assert_eq!(field(&super::shell::finished(command, "").await.ok(), "name"), "producers/shop");
    let json = shell.json(&["producer", "register", "till", "--topic", "*"]).await.remove(0);
    assert!(json["secret"].as_str().unwrap().starts_with("efk_"));
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_are_registered_shown_listed_and_deleted() {
    let (_server, shell) = Shell::embedded().await;
    shell.ok(&["topic", "create", "orders"]).await;
    shell.fed(&["publish", "orders", "--type", "x"], "1\n2\n3\n").await.ok();
    let registered = shell.ok(&["consumer", "register", "billing", "orders", "--filter", "type=order.*"]).await;
    assert_eq!((field(&registered, "position"), field(&registered, "lag")), ("0", "3"), "{registered}");
    assert_eq!((field(&registered, "state"), field(&registered, "mode")), ("idle", "ordered"));
    assert!(field(&registered, "filter").contains("order.*"), "{registered}");
    let head = shell.json(&["consumer", "register", "audit", "orders", "--head"]).await.remove(0);
    assert_eq!(head["status"]["position"]["offset"], "3");
    assert_eq!(field(&shell.ok(&["consumer", "get", "audit"]).await, "position"), "3");
    let listed = shell.ok(&["consumer", "list", "orders"]).await;
    let names: Vec<_> = listed.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["NAME", "audit", "billing"]);

    let refused = shell.fails(2, &["consumer", "delete", "audit"]).await;
    assert!(refused.contains("--yes"), "{refused}");
    assert_eq!(shell.ok(&["consumer", "delete", "audit", "--yes"]).await, "deleted audit\n");
    shell.fails(3, &["consumer", "get", "audit"]).await;
    shell.fails(3, &["consumer", "delete", "audit", "--yes"]).await;
}
