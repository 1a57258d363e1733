//! Faults leave nothing behind: no tasks, descriptors, connections or memory.

use std::time::Duration;

use sqlx::{Connection, PgConnection};

use crate::{
    client::{Client, Stream, as_consumer, from_earliest},
    feed::publish_surely,
    harness::{
        chaos::Proxy,
        patience::{eventually, eventually_within},
        postgres::Postgres,
        redis::Redis,
        server::Server,
    },
    observe::{Metrics, descriptors, resident},
};

/// Rounds of all faults before the first look, so that pools and caches have their size.
const WARM: usize = 2;
/// Rounds between the two looks.
const ROUNDS: usize = 6;
/// Streams that are open during a round, half of them of one connection that is cut.
const STREAMS: usize = 40;
/// Postgres may take a while to come back.
const PATIENCE: Duration = Duration::from_secs(40);

/// A server with all that can be broken around it.
struct World {
    postgres: Postgres,
    redis: Redis,
    to_postgres: Proxy,
    to_redis: Proxy,
    to_server: Proxy,
    server: Server,
    admin: Client,
}

/// What a server uses while nobody wants anything of it.
#[derive(Debug, Clone, Copy)]
struct Footprint {
    tasks: u64,
    descriptors: usize,
    connections: i64,
    memory: u64,
}

impl World {
    async fn new() -> World {
        let (postgres, redis) = (Postgres::private().await, Redis::private().await);
        let (to_postgres, to_redis) = (Proxy::to_unix(postgres.socket()).await, Proxy::to_redis(redis.address()).await);
        let url = format!("postgres://eventflow@{}/postgres?sslmode=disable", to_postgres.address());
        let server = Server::embedded()
            .environment("EVENTFLOW_DATABASE_URL", &url)
            .environment("EVENTFLOW_REDIS_URL", &redis.url_through(to_redis.address()))
            .start()
            .await;
        let to_server = Proxy::to_tcp(server.listen()).await;
        let admin = Client::admin(&server).await;
        admin.create_topic("orders").await;
        admin.register("billing", "orders").await;
        World { postgres, redis, to_postgres, to_redis, to_server, server, admin }
    }

    /// Everything breaks once, with streams open and events on their way.
    async fn round(&mut self, round: usize) {
        let near = self.admin.on(&self.server).await;
        let far = self.admin.through(self.to_server.address()).await;
        let mut streams: Vec<Stream> = Vec::new();
        for n in 0..STREAMS {
            let client = if n % 2 == 0 { &near } else { &far };
            streams.push(self.surely(|| client.subscribe(from_earliest("orders"))).await);
        }
        let held = self.surely(|| near.subscribe(as_consumer("billing"))).await;
        self.to_postgres.cut();
        self.publish(round, 0).await;
        self.to_redis.cut();
        self.publish(round, 1).await;
        self.redis.kill();
        self.postgres.crash().await;
        self.postgres.start_again().await;
        self.publish(round, 2).await;
        self.redis.start_again().await;
        self.to_server.cut();
        self.publish(round, 3).await;
        drop((streams, held, near, far));
    }

    async fn publish(&self, round: usize, step: usize) {
        let events: Vec<_> = (0..50)
            .map(|n| eventflow::proto::v1::NewEvent {
                id: format!("{round}-{step}-{n}"),
                ..crate::client::event(&"x".repeat(1000))
            })
            .collect();
        publish_surely(&self.admin, "orders", &events).await;
    }

    async fn surely<T, F>(&self, open: impl Fn() -> F) -> T
    where
        F: Future<Output = Result<T, tonic::Status>>,
    {
        eventually_within(PATIENCE, "a stream to open", async || open().await.ok()).await
    }

    /// What the server uses once all is quiet.
    async fn footprint(&self) -> Footprint {
        eventually_within(PATIENCE, "a quiet server", async || {
            let metrics = Metrics::of(&self.server).await;
            let quiet = metrics.get("eventflow_subscriptions") == 0
                && metrics.get("eventflow_calls_in_flight") == 0
                && metrics.get("eventflow_connections") <= 1
                && metrics.get("eventflow_notifier_healthy") == 1;
            quiet.then_some(())
        })
        .await;
        let mut postgres =
            eventually("Postgres", async || PgConnection::connect(&self.postgres.url("postgres")).await.ok()).await;
        let connections = "select count(*) from pg_stat_activity where application_name = 'eventflow'";
        Footprint {
            tasks: Metrics::of(&self.server).await.get("eventflow_tasks"),
            descriptors: descriptors(&self.server),
            connections: sqlx::query_scalar(connections).fetch_one(&mut postgres).await.unwrap(),
            memory: resident(&self.server),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rounds_of_faults_leave_no_tasks_descriptors_connections_or_memory_behind() {
    let mut world = World::new().await;
    for round in 0..WARM {
        world.round(round).await;
    }
    let before = world.footprint().await;
    for round in WARM..WARM + ROUNDS {
        world.round(round).await;
    }
    let after = world.footprint().await;
    println!("before {ROUNDS} rounds: {before:?}; after: {after:?}");
    // A leak would show by as many as there are rounds, connections or streams in them.
    assert!(after.tasks <= before.tasks + 4, "tasks: {before:?}, {after:?}");
    assert!(after.descriptors <= before.descriptors + 8, "descriptors: {before:?}, {after:?}");
    assert!(after.connections <= 20, "connections to Postgres: {before:?}, {after:?}");
    assert!(after.memory <= before.memory + (48 << 20), "memory: {before:?}, {after:?}");
    let events = crate::feed::everything(&world.admin, "orders").await;
    assert_eq!(events.len(), (WARM + ROUNDS) * 200, "something was lost or stored twice");
}
