//! `eventflow tail`.

mod bar;
mod commit;
mod follow;
mod leased;
mod line;
mod place;
mod request;

use std::time::Duration;

use clap::Args;
use prost_types::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use self::{
    follow::Tail,
    request::{Source, Wanted},
};

pub(super) use self::line::Printer;
use super::{
    connection::Connection,
    failure::Failure,
    filter::{Condition, condition},
    moment::moment,
    note::Notes,
    output::Output,
};
use crate::{
    config::duration,
    proto::v1::{self, consumer_service_client::ConsumerServiceClient},
};

const EXAMPLES: &str = "\
Broken connections are opened again where they broke: nothing is printed twice or left out.
With --consumer the server remembers what was printed, so that the next tail goes on there. Of a shared queue each event
is acknowledged when it was printed; with --no-commit all of them go back to it at the end.

Examples:
  eventflow tail orders --earliest --until-head
  eventflow tail orders --from-time -1h --filter 'type=order.*' --filter attr.region=eu
  eventflow tail --consumer billing -o json | jq .type";

/// Arguments of `tail`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TailArgs {
    /// The topic to read; nothing is remembered.
    #[arg(required_unless_present = "consumer", conflicts_with = "consumer")]
    topic: Option<String>,
    /// The consumer to read as, from where it left off.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["StartArgs", "filters"])]
    consumer: Option<String>,
    /// Where a topic is read from.
    #[command(flatten)]
    start: StartArgs,
    /// Where reading ends.
    #[command(flatten)]
    stop: StopArgs,
    /// End after printing this many events.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Only events with type=order.*, key=K, attr.NAME=V, correlation=ID or producer=NAME; may be repeated.
    #[arg(long = "filter", value_parser = condition, value_name = "CONDITION")]
    filters: Vec<Condition>,
    /// Go on at the oldest event if the wanted ones are no longer kept.
    #[arg(long)]
    skip_trimmed: bool,
    /// How often the server shows that it is there; two such times of silence mean that it is not.
    #[arg(long, default_value = "15s", value_parser = duration, value_name = "TIME")]
    heartbeat: Duration,
    /// Remember nothing on the server; give back what a queue has sent.
    #[arg(long, conflicts_with = "topic")]
    no_commit: bool,
    /// End the stream that has the consumer, instead of waiting for it.
    #[arg(long, conflicts_with = "topic")]
    take_over: bool,
}

/// Where a topic is read from.
#[derive(Debug, Args)]
#[group(id = "StartArgs", multiple = false)]
struct StartArgs {
    /// Print this event first.
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(1..))]
    from: Option<i64>,
    /// Print what follows this event; 0 is before the first.
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    after: Option<i64>,
    /// Print first what was recorded at or after this time: RFC 3339, or -1h for an hour ago.
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true)]
    from_time: Option<Timestamp>,
    /// Print the oldest event still kept first. [default: what is recorded from now on]
    #[arg(long)]
    earliest: bool,
}

/// Where reading ends.
#[derive(Debug, Args)]
#[group(id = "StopArgs", multiple = false)]
struct StopArgs {
    /// End at the newest event of now.
    #[arg(long)]
    until_head: bool,
    /// End after this event, also if the filter leaves it out; wait for it if it is still to come.
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(1..))]
    until: Option<i64>,
}

/// Prints events until the end that was asked for, or until it is told to stop.
pub(super) async fn run(connection: Connection, output: Output, args: TailArgs, verbose: bool) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::Local(format!("signals cannot be received: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut wanted = Wanted::from_args(args);
    if let Source::Consumer { name, queue, .. } = &mut wanted.source {
        // A queue is not waited for, and each of its events is settled by itself.
        let request = connection.request(v1::GetConsumerRequest { name: name.clone() }).await?;
        let answer = ConsumerServiceClient::new(connection.channel()).get_consumer(request).await?.into_inner();
        *queue = answer.consumer.unwrap_or_default().mode() == v1::Mode::Queue;
    }
    let stop = CancellationToken::new();
    let mut tail = Tail::new(connection, wanted, line::Printer::new(output), Notes::new(verbose), stop.clone());
    let whole = async {
        let result = tail.follow().await;
        let committed = tail.commit_rest().await;
        result.and(committed)
    };
    tokio::pin!(whole);
    // The first signal asks it to stop; a second one ends it also while the server, or who reads the output, does
    // not answer.
    for _ in 0..2 {
        tokio::select! {
            result = &mut whole => return result,
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        stop.cancel();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::TailArgs;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        args: TailArgs,
    }

    pub(super) fn parse(args: &[&str]) -> Option<TailArgs> {
        let program = Program::try_parse_from(std::iter::once(&"tail").chain(args)).ok()?;
        Some(program.args)
    }

    #[test]
    fn a_tail_reads_a_topic_or_a_consumer() {
        for good in [
            &["orders"][..],
            &["orders", "--from-time", "-1h", "--filter", "type=a", "--filter", "key=b"],
            &["orders", "--earliest", "--until-head", "--count", "5"],
            &["--consumer", "billing", "--until", "9", "--no-commit", "--take-over", "--skip-trimmed"],
        ] {
            assert!(parse(good).is_some(), "{good:?} was refused");
        }
        for bad in [
            &[][..],
            &["orders", "--consumer", "billing"],
            &["--consumer", "billing", "--earliest"],
            &["--consumer", "billing", "--filter", "type=a"],
            &["orders", "--no-commit"],
            &["orders", "--take-over"],
            &["orders", "--from", "5", "--after", "5"],
            &["orders", "--from", "0"],
            &["orders", "--after", "-1"],
            &["orders", "--until-head", "--until", "5"],
            &["orders", "--count", "0"],
        ] {
            assert!(parse(bad).is_none(), "{bad:?} was accepted");
        }
    }
}
