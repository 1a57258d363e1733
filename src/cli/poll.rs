//! `eventflow consumer poll`.

use std::time::Duration;

use clap::Args;

use super::{connection::Connection, failure::Failure, moment::proto_duration, output::Output, tail::Printer};
use crate::{
    config::duration,
    proto::v1::{self, consumer_service_client::ConsumerServiceClient},
};

/// Arguments of `consumer poll`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  eventflow consumer poll billing --wait 10s --commit")]
pub(super) struct PollArgs {
    /// The consumer.
    name: String,
    /// Events at most; 1 to 1,000.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i32).range(1..=1000))]
    max: i32,
    /// How long to wait if there are none, at most 60s.
    #[arg(long, default_value = "0s", value_parser = duration, value_name = "TIME")]
    wait: Duration,
    /// Go on after this offset instead of after the stored one.
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    after: Option<i64>,
    /// Store that what was printed is done.
    #[arg(long)]
    commit: bool,
}

/// Prints what is there.
pub(super) async fn run(connection: &Connection, output: Output, args: PollArgs) -> Result<(), Failure> {
    let PollArgs { name, max, wait, after, commit } = args;
    let mut client = ConsumerServiceClient::new(connection.channel());
    let request = v1::PollRequest {
        consumer: name.clone(),
        max_events: max,
        wait: Some(proto_duration(wait)),
        after_offset: after,
    };
    let request = connection.stream_request(request).await?;
    let v1::PollResponse { batch, epoch, deliveries: _ } = client.poll(request).await?.into_inner();
    let v1::EventBatch { events, position } = batch.unwrap_or_default();
    Printer::new(output).print(events.iter()).await?;
    if let Some(position) = position.filter(|_| commit) {
        let request = v1::CommitOffsetRequest { consumer: name, offset: position.offset, epoch };
        client.commit_offset(connection.request(request).await?).await?;
    }
    Ok(())
}
