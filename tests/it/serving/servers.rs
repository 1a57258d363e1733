//! Servers see each other.

use std::time::{Duration, Instant};

use eventflow::proto::v1;

use crate::{
    client::Client,
    harness::{databases::Database, patience::eventually_within, redis::Redis, server::Server},
};

/// A lease of 15 s; here with some patience.
const BY_LEASE: Duration = Duration::from_secs(25);

async fn names(client: &Client) -> Vec<String> {
    let info = client.auth().get_server_info(v1::GetServerInfoRequest {}).await.unwrap().into_inner();
    assert!(info.servers.iter().all(|server| server.version == info.version && server.start_time.is_some()));
    info.servers.into_iter().map(|server| server.name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_listed_until_they_end_or_were_killed_for_15_s() {
    let (database, redis) = (Database::fresh().await, Redis::shared().await);
    let start = async || Server::cluster(&database, redis).start().await;
    let (first, mut second, mut third) = (start().await, start().await, start().await);
    let client = Client::admin(&first).await;
    let all: Vec<_> = [&first, &second, &third].iter().map(|server| server.listen().to_string()).collect();
    let listed = async |wanted: &[&String]| {
        let seen = async || names(&client).await.iter().eq(wanted.iter().copied()).then_some(());
        eventually_within(BY_LEASE, "the right servers to be listed", seen).await;
    };
    listed(&[&all[0], &all[1], &all[2]]).await;
    third.kill().await;
    let killed = Instant::now();
    assert_eq!(second.terminate().await, 0);
    assert_eq!(
        names(&client).await,
        [all[0].clone(), all[2].clone()],
        "a stopped server left, a killed one did not yet"
    );
    listed(&[&all[0]]).await;
    assert!(killed.elapsed() > Duration::from_secs(5), "a lease lasts longer than {:?}", killed.elapsed());
}
