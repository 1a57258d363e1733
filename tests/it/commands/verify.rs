//! `topic verify`: what it prints, and that only what is confirmed succeeds.

use sqlx::{Connection, Executor, SqliteConnection};

use super::shell::{Shell, field};
use crate::harness::{patience::eventually, server::Server};

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_confirmed_succeeds() {
    let mut server = Server::embedded().flag("--pack-after", "1s").start().await;
    let shell = Shell::of(&server);
    shell.ok(&["topic", "create", "orders"]).await;
    let empty = shell.ok(&["topic", "verify", "orders"]).await;
    assert_eq!((field(&empty, "verified"), field(&empty, "hash"), field(&empty, "packed")), ("0", "-", "0"));
    shell.fed(&["publish", "orders", "--type", "x"], "1\n2\n3\n4\n").await.ok();
    // So large that it is packed alone.
    let large = shell.home().join("large");
    std::fs::write(&large, "x".repeat(300_000)).unwrap();
    shell.ok(&["publish", "orders", "--type", "x", "--file", &large.display().to_string()]).await;
    let verify = async || shell.ok(&["topic", "verify", "orders"]).await;
    let packed = eventually("all to be packed", async || {
        let found = verify().await;
        (field(&found, "packed") == "5").then_some(found)
    })
    .await;
    assert_eq!((field(&packed, "verified"), field(&packed, "events"), field(&packed, "head")), ("5", "5", "5"));
    let hash = field(&packed, "hash");
    let noted = shell.ok(&["topic", "verify", "orders", "--hash", hash, "--offset", "5"]).await;
    assert_eq!(field(&noted, "noted"), "matches");
    let json = shell.json(&["topic", "verify", "orders", "--hash", hash, "--offset", "5"]).await;
    assert_eq!((&json[0]["hash"], &json[0]["noted"]), (&hash.into(), &"NOTED_HASH_MATCHES".into()), "{json:?}");

    for (offset, word, why) in [("4", "differs", "another hash"), ("6", "beyond the end", "the chain ends before")] {
        let done = shell.run(&["topic", "verify", "orders", "--hash", hash, "--offset", offset]).await;
        assert_eq!((done.code, field(&done.out, "noted")), (1, word), "{done:?}");
        assert!(done.err.contains(why), "{}", done.err);
    }
    shell.fails(2, &["topic", "verify", "orders", "--hash", hash]).await;
    shell.fails(2, &["topic", "verify", "orders", "--offset", "5"]).await;
    shell.fails(1, &["topic", "verify", "orders", "--hash", "x", "--offset", "5"]).await;
    shell.fails(3, &["topic", "verify", "missing"]).await;

    server.restart_with("--pack-after", "off").await;
    let url = format!("sqlite://{}", server.data_dir().join("eventflow.db").display());
    let mut file = SqliteConnection::connect(&url).await.unwrap();
    file.execute("drop trigger events_never_change").await.unwrap();
    file.execute("update events set payload = 'other' where \"offset\" = 5").await.unwrap();
    let done = shell.run(&["topic", "verify", "orders"]).await;
    assert_eq!((done.code, field(&done.out, "altered"), field(&done.out, "verified")), (1, "5 to 5", "4"), "{done:?}");
    let said = "offsets 5 to 5 of topic orders are not what they were: the events, or their hash, were changed";
    assert!(done.err.contains(said), "{}", done.err);
}
