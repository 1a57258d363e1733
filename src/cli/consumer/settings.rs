//! How a consumer's queue works, and changing a consumer.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::{
    cli::{
        failure::Failure,
        filter::{self, Condition, condition},
        moment::proto_duration,
    },
    config::duration,
    proto::v1::{self, Consumer},
};

/// How a consumer takes its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ModeName {
    /// One stream at a time receives every event in order and commits offsets.
    Ordered,
    /// Any number of streams share the events and settle each by itself.
    Queue,
}

impl From<ModeName> for v1::Mode {
    fn from(name: ModeName) -> Self {
        match name {
            ModeName::Ordered => Self::Ordered,
            ModeName::Queue => Self::Queue,
        }
    }
}

/// How a queue works.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Options of a queue")]
pub(super) struct QueueArgs {
    /// How long a delivery stays leased, 1s to 1h. [default for a new one: 30s]
    #[arg(long, value_parser = duration, value_name = "TIME")]
    lease: Option<Duration>,
    /// The pauses before the 2nd, 3rd, … attempt, the last one repeating. [default for a new one: 1s,5s,30s,2m,10m]
    #[arg(long, value_parser = duration, value_delimiter = ',', value_name = "TIME,…")]
    backoff: Option<Vec<Duration>>,
    /// Deliveries before an event becomes a dead letter, at most 1,000. [default for a new one: 5]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(1..))]
    max_attempts: Option<i32>,
    /// Deliveries leased at once, over all streams, at most 100,000. [default for a new one: 1000]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(1..))]
    max_in_flight: Option<i32>,
}

impl QueueArgs {
    /// Sets what was given.
    pub(super) fn fill(self, consumer: &mut Consumer) {
        let Self { lease, backoff, max_attempts, max_in_flight } = self;
        consumer.lease = lease.map(proto_duration);
        consumer.backoff = backoff.unwrap_or_default().into_iter().map(proto_duration).collect();
        consumer.max_attempts = max_attempts.unwrap_or_default();
        consumer.max_in_flight = max_in_flight.unwrap_or_default();
    }
}

/// Arguments of `consumer update`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  eventflow consumer update mailer --lease 2m --max-attempts 10")]
pub(in crate::cli) struct UpdateArgs {
    /// The consumer.
    name: String,
    /// Only events with type=order.*, key=K, attr.NAME=V, correlation=ID or producer=NAME; may be repeated.
    #[arg(long = "filter", value_parser = condition, value_name = "CONDITION")]
    filters: Vec<Condition>,
    /// Every event.
    #[arg(long, conflicts_with = "filters")]
    all: bool,
    /// How its queue works.
    #[command(flatten)]
    queue: QueueArgs,
}

impl UpdateArgs {
    /// The request, which has to change something.
    pub(super) fn request(self) -> Result<v1::UpdateConsumerRequest, Failure> {
        let Self { name, filters, all, queue } = self;
        let filter = filter::filter(&filters).or_else(|| all.then(v1::Filter::default));
        if filter.is_none() && queue == QueueArgs::default() {
            let why = "nothing to change: give --filter, --all, --lease, --backoff, --max-attempts or --max-in-flight";
            return Err(Failure::Usage(why.to_owned()));
        }
        let QueueArgs { lease, backoff, max_attempts, max_in_flight } = queue;
        let backoff = backoff.map(|pauses| v1::Backoff { pauses: pauses.into_iter().map(proto_duration).collect() });
        let lease = lease.map(proto_duration);
        Ok(v1::UpdateConsumerRequest { name, filter, lease, backoff, max_attempts, max_in_flight })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{UpdateArgs, v1};

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        args: UpdateArgs,
    }

    fn request(args: &[&str]) -> Option<v1::UpdateConsumerRequest> {
        let line = ["update", "mailer"].iter().chain(args);
        Program::try_parse_from(line).ok()?.args.request().ok()
    }

    #[test]
    fn only_what_is_given_changes() {
        assert_eq!(request(&[]), None);
        assert_eq!(request(&["--all"]).expect("valid").filter, Some(v1::Filter::default()));
        let lease = request(&["--lease", "2m"]).expect("valid");
        assert_eq!((lease.lease.map(|lease| lease.seconds), &lease.filter, &lease.backoff), (Some(120), &None, &None));
        let backoff = request(&["--backoff", "1s,1m"]).expect("valid").backoff.expect("given");
        assert_eq!(backoff.pauses.iter().map(|pause| pause.seconds).collect::<Vec<_>>(), [1, 60]);
        for bad in [&["--lease", "2"][..], &["--max-attempts", "0"], &["--backoff", "1s;2s"], &["--max-in-flight", "x"]]
        {
            assert_eq!(request(bad), None, "{bad:?} was accepted");
        }
    }
}
