//! `eventflow consumer poll`.

use std::time::Duration;

use clap::Args;

use super::settle;
use crate::{
    cli::{
        connection::Connection,
        failure::Failure,
        json::{self, Defaults},
        moment::proto_duration,
        output::{self, Listing, Output, cell},
        payload::payload,
        tail::Printer,
    },
    config::duration,
    proto::v1::{self, consumer_service_client::ConsumerServiceClient},
};

/// Arguments of `consumer poll`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  eventflow consumer poll billing --wait 10s --commit")]
pub(in crate::cli) struct PollArgs {
    /// The consumer.
    name: String,
    /// Events at most; 1 to 1,000.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i32).range(1..=1000))]
    max: i32,
    /// How long to wait if there are none, at most 60s.
    #[arg(long, default_value = "0s", value_parser = duration, value_name = "TIME")]
    wait: Duration,
    /// Go on after this offset instead of after the stored one; not for a queue.
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    after: Option<i64>,
    /// Store that what was printed is done. Otherwise a queue waits for `consumer settle` until the lease is over.
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
    let v1::PollResponse { batch, epoch, deliveries } = client.poll(request).await?.into_inner();
    if let Some(deliveries) = deliveries.filter(|batch| !batch.deliveries.is_empty()) {
        show(output, &deliveries)?;
        return if commit { ack(connection, name, &deliveries).await } else { Ok(()) };
    }
    let v1::EventBatch { events, position } = batch.unwrap_or_default();
    Printer::new(output).print(events.iter()).await?;
    if let Some(position) = position.filter(|_| commit) {
        let request = v1::CommitOffsetRequest { consumer: name, offset: position.offset, epoch };
        client.commit_offset(connection.request(request).await?).await?;
    }
    Ok(())
}

/// Prints deliveries with what `consumer settle` has to know of them.
fn show(output: Output, batch: &v1::DeliveryBatch) -> Result<(), Failure> {
    if output.is_json() {
        return output::print(&(json::line("DeliveryBatch", batch, Defaults::Left)? + "\n"));
    }
    output::print(&format!("lease {}\n", batch.lease_id))?;
    output.list(&LISTING, &batch.deliveries)
}

const LISTING: Listing<v1::Delivery> = Listing {
    message: "Delivery",
    columns: &["OFFSET", "ATTEMPT", "TYPE", "KEY", "PAYLOAD"],
    cells: |delivery| {
        let event = delivery.event.clone().unwrap_or_default();
        let attempt = delivery.attempt.to_string();
        vec![event.offset.to_string(), attempt, cell(&event.r#type), cell(&event.key), payload(&event)]
    },
};

async fn ack(connection: &Connection, consumer: String, batch: &v1::DeliveryBatch) -> Result<(), Failure> {
    let offsets = batch.deliveries.iter().filter_map(|delivery| delivery.event.as_ref());
    let ack = offsets.map(|event| event.offset).collect();
    let request = v1::SettleRequest { consumer, lease_id: batch.lease_id.clone(), ack, ..Default::default() };
    let mut client = ConsumerServiceClient::new(connection.channel());
    let answer = client.settle(connection.request(request).await?).await?.into_inner();
    settle::refuse_failures(&answer.failures)
}
