//! `eventflow bench`: how fast a server is, measured from outside, through the public API.

mod order;
mod queue;
mod target;

use clap::{Args, ValueEnum};
use serde_json::json;

use self::target::Target;
use super::{connection::Connection, failure::Failure, output::Output};

/// Arguments of `bench`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  eventflow bench queue queue_keyed --events 200000 --runs 3\n\n\
    Each run makes a topic of its own and deletes it afterwards. A line is the workload, the median of the runs, and \
    its unit.")]
pub(super) struct BenchArgs {
    /// What to measure; everything if none is named.
    #[arg(value_enum, value_name = "WORKLOAD")]
    workloads: Vec<Workload>,
    /// Events in a topic.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..))]
    events: u64,
    /// Settle so many of them only, of a longer backlog.
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(1..))]
    measured: Option<u64>,
    /// Workers that share a queue.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=1000))]
    workers: u64,
    /// Deliveries that each worker has at once.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(i32).range(1..=100_000))]
    in_flight: i32,
    /// Runs, of which the median counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    runs: u64,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Workload {
    /// Workers share a backlog of events without keys and settle each.
    Queue,
    /// The same with 5,000 keys.
    QueueKeyed,
}

/// How each run is made.
#[derive(Debug, Clone, Copy)]
struct Settings {
    events: u64,
    measured: u64,
    workers: u64,
    in_flight: i32,
}

/// What a run did, as it was checked at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Verified {
    events: u64,
    checksum: u64,
}

impl Workload {
    const ALL: [Self; 2] = [Self::Queue, Self::QueueKeyed];

    fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::QueueKeyed => "queue_keyed",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Queue | Self::QueueKeyed => "events/s",
        }
    }
}

/// Measures.
pub(super) async fn run(connection: &Connection, output: Output, args: BenchArgs) -> Result<(), Failure> {
    let BenchArgs { workloads, events, measured, workers, in_flight, runs } = args;
    let settings = Settings { events, measured: measured.unwrap_or(events), workers, in_flight };
    let workloads = if workloads.is_empty() { Workload::ALL.to_vec() } else { workloads };
    let target = Target::new(connection).await?;
    for workload in workloads {
        let (mut figures, mut verified) = (Vec::new(), Verified { events: 0, checksum: 0 });
        for _ in 0..runs {
            let keyed = workload == Workload::QueueKeyed;
            let (figure, checked) = queue::run(&target, &settings, keyed).await?;
            figures.push(figure);
            verified = checked;
        }
        print(output, workload, &figures, verified)?;
    }
    Ok(())
}

fn print(output: Output, workload: Workload, figures: &[f64], verified: Verified) -> Result<(), Failure> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
    let line = match output.is_json() {
        true => json!({
            "name": workload.name(),
            "median": median.round(),
            "unit": workload.unit(),
            "runs": figures.iter().map(|figure| figure.round()).collect::<Vec<_>>(),
            "verified_events": verified.events.to_string(),
            "checksum": format!("{:016x}", verified.checksum),
        })
        .to_string(),
        false => format!("{}\t{median:.0}\t{}", workload.name(), workload.unit()),
    };
    super::output::print(&(line + "\n"))
}
