//! Redis is missing, dies, stands still, lies, or cannot be reached: readers get everything, only later.

mod flood;
mod lost;
mod missing;
mod outages;
mod partitions;

use std::time::Duration;

use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_client::HealthClient},
};

use crate::{
    client::Client,
    feed::Witness,
    harness::{
        chaos::Proxy,
        databases::Database,
        patience::{DEADLINE, eventually_within},
        redis::Redis,
        server::Server,
    },
};

/// The time within which a lost Redis must be noticed: 2 s without the own beat; here with some patience.
const NOTICE: Duration = Duration::from_secs(10);
/// Servers that never look for events that nobody told them of.
const NO_POLLS: [(&str, &str); 1] = [("--poll-interval", "1h")];
const POLLS: &str = "eventflow_polls_total";

/// Two servers over one new database, each with its own way to one Redis.
struct World {
    database: Database,
    first: Server,
    second: Server,
    /// Between each server and Redis.
    ways: [Proxy; 2],
    here: Client,
    there: Client,
}

impl World {
    /// With flags; Redis may be away. There is the topic `orders`.
    async fn start(redis: &Redis, flags: &[(&str, &str)]) -> Self {
        let database = Database::fresh().await;
        let ways = [Proxy::to_redis(redis.address()).await, Proxy::to_redis(redis.address()).await];
        let [first, second] = ways.each_ref().map(|way| {
            let url = redis.url_through(way.address());
            let start = Server::cluster(&database, redis).environment("EVENTFLOW_REDIS_URL", &url);
            flags.iter().fold(start, |start, (name, value)| start.flag(name, value)).start()
        });
        let (first, second) = (first.await, second.await);
        let here = Client::admin(&first).await;
        let there = here.on(&second).await;
        here.create_topic("orders").await;
        Self { database, first, second, ways, here, there }
    }

    /// As [`World::start`], once both servers rely on Redis.
    async fn healthy(redis: &Redis, flags: &[(&str, &str)]) -> Self {
        let world = Self::start(redis, flags).await;
        world.rely_on_redis(true).await;
        world
    }

    fn servers(&self) -> [&Server; 2] {
        [&self.first, &self.second]
    }

    fn clients(&self) -> [Client; 2] {
        [self.here.clone(), self.there.clone()]
    }

    /// Waits until both servers say that they can rely on Redis, or that they cannot.
    async fn rely_on_redis(&self, rely: bool) {
        for server in self.servers() {
            relies_on_redis(server, rely).await;
        }
    }

    /// Readers of `orders` on both servers, in turn, whose streams must live through everything.
    async fn witnesses(&self) -> Vec<Witness> {
        let mut witnesses = Vec::new();
        for client in [&self.here, &self.there, &self.here, &self.there] {
            witnesses.push(Witness::start(client, "orders").await);
        }
        witnesses
    }
}

/// Waits until a server says that it can rely on Redis, or that it cannot; it always says that it serves.
async fn relies_on_redis(server: &Server, rely: bool) {
    let deadline = if rely { DEADLINE } else { NOTICE };
    let wanted = if rely { ServingStatus::Serving } else { ServingStatus::NotServing };
    let mut health = HealthClient::new(server.channel().await);
    eventually_within(deadline, &format!("a notifier that is {wanted}"), async || {
        assert_eq!(serving(&mut health, "").await, ServingStatus::Serving as i32, "Redis is needed to serve");
        (serving(&mut health, "eventflow.notifier").await == wanted as i32).then_some(())
    })
    .await;
}

async fn serving(health: &mut HealthClient<tonic::transport::Channel>, service: &str) -> i32 {
    let request = HealthCheckRequest { service: service.into() };
    health.check(request).await.expect("health is served").into_inner().status
}
