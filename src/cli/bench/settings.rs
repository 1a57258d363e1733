//! The command line of `bench`, and what follows from it.

use clap::{Args, ValueEnum, builder::RangedU64ValueParser};

use super::workload::Workload;

const EXAMPLES: &str = "\
Each run publishes to topics of its own, named bench.*, which are deleted when everything is measured, also after a \
failure or an interrupt, unless --keep is given. What was acknowledged and what arrived is counted and compared, by a checksum too, and a \
difference is a failure. Before its runs, each workload is run once with a tenth of the events, which is not counted \
(idle and growth publish instead).

A line is the workload, the median of the runs, and its unit, separated by tabs; on a terminal it is a table.

Examples:
  eventflow bench --embedded --events 20000 --runs 1
  eventflow bench publish_pipelined replay --events 1000000
  eventflow bench latency --second-server http://10.0.0.2:50051 --output json";

/// Arguments of `bench`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct BenchArgs {
    /// What to measure; everything if none is named.
    #[arg(value_enum, value_name = "WORKLOAD")]
    workloads: Vec<Workload>,
    /// Start a server on SQLite in a temporary folder (TMPDIR tells where), and measure that.
    #[arg(long, conflicts_with_all = ["second_server", "metrics_url"])]
    embedded: bool,
    /// Another server of the same store, which readers use in fanout, latency and replay.
    #[arg(long, value_name = "ADDRESS")]
    second_server: Option<String>,
    /// Where the server's metrics are, for the memory in idle: the address of its --http-listen.
    #[arg(long, value_name = "ADDRESS")]
    metrics_url: Option<String>,
    /// Leave the topics and consumers, for a look at how they are stored.
    #[arg(long, conflicts_with = "embedded")]
    keep: bool,
    /// Runs, of which the median counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    runs: u64,
    /// Events of a run; a quarter for publish_unary and rpc_empty, a tenth for fanout and growth, a fortieth for
    /// latency, a hundredth for publish_single.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    events: u64,
    /// Events that are published to get warm, instead of a tenth.
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(..=1_000_000_000))]
    warm_up: Option<u64>,
    /// Connections that publish.
    #[arg(long, default_value_t = 8, value_name = "COUNT", value_parser = count(1000))]
    connections: usize,
    /// Requests of one event that each connection has under way; a batched one has 16.
    #[arg(long, default_value_t = 256, value_name = "REQUESTS", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    depth: u64,
    /// Callers in publish_unary and rpc_empty, over these connections.
    #[arg(long, default_value_t = 64, value_name = "COUNT", value_parser = count(10_000))]
    callers: usize,
    /// Readers in fanout, each with a connection.
    #[arg(long, default_value_t = 50, value_name = "COUNT", value_parser = count(5000))]
    readers: usize,
    /// Events a second in latency.
    #[arg(long, default_value_t = 1000, value_name = "EVENTS", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// Topics in publish_spread, and idle ones in growth.
    #[arg(long, default_value_t = 1000, value_name = "COUNT", value_parser = count(100_000))]
    topics: usize,
    /// Events in the large topic of growth, ten times those of a run unless given; the small one has 20,000, or a
    /// tenth.
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(1000..=1_000_000_000))]
    stored: Option<u64>,
    /// Subscribers in idle.
    #[arg(long, default_value_t = 10_000, value_name = "COUNT", value_parser = count(1_000_000))]
    idle: usize,
    /// Connections in idle; a server takes 128 streams on each.
    #[arg(long, default_value_t = 100, value_name = "COUNT", value_parser = count(10_000))]
    idle_connections: usize,
    /// Settle so many events only in queue and queue_keyed, of a longer backlog.
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(1..))]
    measured: Option<u64>,
    /// Workers in queue and queue_keyed.
    #[arg(long, default_value_t = 8, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=1000))]
    workers: u64,
    /// Deliveries that each worker has at once.
    #[arg(long, default_value_t = 1000, value_name = "EVENTS", value_parser = clap::value_parser!(i32).range(1..=100_000))]
    in_flight: i32,
}

fn count(most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=most)
}

/// What is measured, where and how often.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) workloads: Vec<Workload>,
    pub(super) embedded: bool,
    pub(super) second_server: Option<String>,
    pub(super) metrics: Option<String>,
    pub(super) keep: bool,
    pub(super) runs: u64,
    pub(super) settings: Settings,
    warm_up: Option<u64>,
}

/// How each run is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    /// Events of this workload.
    pub(super) events: u64,
    pub(super) connections: usize,
    pub(super) depth: u64,
    pub(super) callers: usize,
    pub(super) readers: usize,
    pub(super) rate: u32,
    pub(super) topics: usize,
    pub(super) stored: u64,
    pub(super) idle: usize,
    pub(super) idle_connections: usize,
    pub(super) measured: u64,
    pub(super) workers: u64,
    pub(super) in_flight: i32,
}

impl BenchArgs {
    /// What is to be done.
    pub(super) fn plan(self) -> Plan {
        let settings = Settings {
            events: self.events,
            connections: self.connections,
            depth: self.depth,
            callers: self.callers,
            readers: self.readers,
            rate: self.rate,
            topics: self.topics,
            stored: self.stored.unwrap_or(self.events.saturating_mul(10)),
            idle: self.idle,
            idle_connections: self.idle_connections.min(self.idle),
            measured: self.measured.unwrap_or(u64::MAX),
            workers: self.workers,
            in_flight: self.in_flight,
        };
        let workloads = match self.workloads.is_empty() {
            true => Workload::value_variants().to_vec(),
            false => self.workloads,
        };
        Plan {
            workloads,
            embedded: self.embedded,
            second_server: self.second_server,
            metrics: self.metrics_url,
            keep: self.keep,
            runs: self.runs,
            settings,
            warm_up: self.warm_up,
        }
    }
}

impl Plan {
    /// Events to get warm with, for a workload of so many.
    pub(super) fn warm_up(&self, events: u64) -> u64 {
        self.warm_up.map_or(events / 10, |wanted| wanted.min(events))
    }
}
