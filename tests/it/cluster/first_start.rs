//! Servers that start at the same moment on an empty database.

use eventflow::proto::v1;
use futures::future::join_all;
use sqlx::PgConnection;

use crate::{
    client::{Client, event},
    feed::everything,
    harness::{databases::Database, redis::Redis, server::Server},
};

const SERVERS: usize = 4;

async fn count(postgres: &mut PgConnection, statement: &'static str) -> i64 {
    sqlx::query_scalar(statement).fetch_one(postgres).await.unwrap()
}

/// Logs in on a server.
async fn login(server: &Server, password: &str) -> Client {
    let anonymous = Client::anonymous(server).await;
    let request = v1::LoginRequest { username: "admin".into(), password: password.into() };
    let response = anonymous.auth().login(request).await.expect("the admin can log in").into_inner();
    anonymous.with(&response.tokens.expect("a login has tokens").access_token)
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_start_together_on_an_empty_database_become_one_cluster() {
    let (database, redis) = (Database::empty().await, Redis::shared().await);
    let servers = join_all((0..SERVERS).map(|_| Server::cluster(&database, redis).start())).await;

    let passwords: Vec<_> = servers
        .iter()
        .filter_map(|server| std::fs::read_to_string(server.data_dir().join("admin-password")).ok())
        .collect();
    let [password] = passwords.as_slice() else { panic!("{} servers wrote a password", passwords.len()) };
    let told = servers.iter().filter(|server| server.log().contains("The password of user admin lies in")).count();
    assert_eq!(told, 1, "servers that say where a password is");

    let mut postgres = database.connect().await;
    assert_eq!(count(&mut postgres, "select count(*) from eventflow.users").await, 1);
    assert_eq!(count(&mut postgres, "select count(*) from eventflow.cluster").await, 1);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres");
    let migrations = std::fs::read_dir(folder).unwrap().count() as i64;
    let applied: Vec<i64> =
        sqlx::query_scalar("select version from eventflow.migrations where success order by version")
            .fetch_all(&mut postgres)
            .await
            .unwrap();
    assert_eq!(applied, (1..=migrations).collect::<Vec<_>>());
    assert_eq!(count(&mut postgres, "select count(*) from eventflow.migrations").await, migrations);

    // A token of each server is good on the next one, and what one publishes all have.
    for (n, server) in servers.iter().enumerate() {
        let client = login(server, password.trim()).await.on(&servers[(n + 1) % SERVERS]).await;
        if n == 0 {
            client.create_topic("orders").await;
        }
        client.publish("orders", vec![event(&n.to_string())]).await.unwrap();
        for server in &servers {
            assert_eq!(everything(&client.on(server).await, "orders").await.len(), n + 1);
        }
    }
    println!("{SERVERS} servers started together, {migrations} migrations ran once");
}
