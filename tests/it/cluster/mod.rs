//! Many servers over one Postgres and one Redis, and what breaks around them.

mod first_start;
mod in_turn;
mod partitions;
mod rolling;
mod standstill;
mod terminations;

use crate::{
    client::Client,
    harness::{databases::Database, redis::Redis, server::Server},
    observe::hears_others,
};

/// Two servers that wake each other, an admin of each, and the topic `orders`.
struct Pair {
    first: Server,
    second: Server,
    here: Client,
    there: Client,
}

impl Pair {
    /// On a new database, with the settings of production.
    async fn start() -> Self {
        Self::over(&Database::fresh().await, &[]).await
    }

    /// On a new database, never looking for events that nobody told them of.
    async fn without_polls() -> Self {
        Self::over(&Database::fresh().await, &[("--poll-interval", "1h")]).await
    }

    /// On a database, with flags.
    async fn over(database: &Database, flags: &[(&str, &str)]) -> Self {
        let redis = Redis::shared().await;
        let start =
            || flags.iter().fold(Server::cluster(database, redis), |start, (name, value)| start.flag(name, value));
        let (first, second) = (start().start().await, start().start().await);
        let here = Client::admin(&first).await;
        let there = here.on(&second).await;
        here.create_topic("orders").await;
        hears_others(&first).await;
        hears_others(&second).await;
        Self { first, second, here, there }
    }
}
