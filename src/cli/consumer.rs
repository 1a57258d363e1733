//! `eventflow consumer`.

use clap::{Args, Subcommand};
use prost_types::Timestamp;

use super::{
    confirm::confirm,
    connection::Connection,
    failure::Failure,
    filter::{self, Condition, condition},
    moment::{moment, show_duration, show_time},
    output::{Listing, Output},
    poll,
};
use crate::proto::v1::{self, Consumer, consumer::Start, consumer_service_client::ConsumerServiceClient};

/// What to do with consumers.
#[derive(Debug, Subcommand)]
pub(super) enum ConsumerCommand {
    /// Register a consumer on a topic; what is recorded from its start on waits for it.
    Register(RegisterArgs),
    /// Show a consumer with its position, lag and connections.
    Get {
        /// The consumer, without "consumers/".
        name: String,
    },
    /// List consumers.
    List {
        /// Only those of this topic.
        #[arg(default_value = "")]
        topic: String,
    },
    /// Change which events a consumer wants; its streams end and resume with the change.
    Update {
        /// The consumer.
        name: String,
        /// Only events with type=order.*, key=K, attr.NAME=V, correlation=ID or producer=NAME; may be repeated.
        #[arg(long = "filter", value_parser = condition, value_name = "CONDITION", required_unless_present = "all")]
        filters: Vec<Condition>,
        /// Every event.
        #[arg(long, conflicts_with = "filters")]
        all: bool,
    },
    /// Move a consumer, also back; its streams end and resume at the new place.
    #[command(after_help = "Example:\n  eventflow consumer seek billing --from-time -1h")]
    Seek {
        /// The consumer.
        name: String,
        /// Where it goes on.
        #[command(flatten)]
        start: StartArgs,
    },
    /// Stop delivery; streams stay open.
    Pause {
        /// The consumer.
        name: String,
    },
    /// Restart delivery.
    Resume {
        /// The consumer.
        name: String,
    },
    /// Print the next events of a consumer that no stream has; nothing is moved unless --commit is given.
    Poll(poll::PollArgs),
    /// Forget a consumer with its position; the events stay.
    Delete {
        /// The consumer.
        name: String,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
}

/// Arguments of `consumer register`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  eventflow consumer register billing orders --filter 'type=order.*' --head")]
pub(super) struct RegisterArgs {
    /// The consumer, for example "billing".
    name: String,
    /// The topic that it reads.
    topic: String,
    /// Only events with type=order.*, key=K, attr.NAME=V, correlation=ID or producer=NAME; may be repeated.
    #[arg(long = "filter", value_parser = condition, value_name = "CONDITION")]
    filters: Vec<Condition>,
    /// Where it begins.
    #[command(flatten)]
    start: StartArgs,
    /// Succeed if an equal consumer exists already.
    #[arg(long)]
    if_not_exists: bool,
}

/// Where a new consumer begins.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct StartArgs {
    /// Begin with the oldest event still kept. This is the default.
    #[arg(long)]
    earliest: bool,
    /// Begin with what is recorded from now on.
    #[arg(long)]
    head: bool,
    /// Begin with this event.
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(1..))]
    from: Option<i64>,
    /// Begin after this event; 0 is before the first.
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    after: Option<i64>,
    /// Begin with the first event recorded at or after this time: RFC 3339, or -1h for an hour ago.
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true)]
    from_time: Option<Timestamp>,
}

/// Does it.
pub(super) async fn run(connection: &Connection, output: Output, command: ConsumerCommand) -> Result<(), Failure> {
    let mut client = ConsumerServiceClient::new(connection.channel());
    let consumer = match command {
        ConsumerCommand::Register(args) => {
            let request = connection.request(register_request(args)).await?;
            client.register_consumer(request).await?.into_inner().consumer
        }
        ConsumerCommand::Get { name } => {
            let request = connection.request(v1::GetConsumerRequest { name }).await?;
            client.get_consumer(request).await?.into_inner().consumer
        }
        ConsumerCommand::Update { name, filters, all: _ } => {
            let filter = Some(filter::filter(&filters).unwrap_or_default());
            let request = v1::UpdateConsumerRequest { name, filter, ..Default::default() };
            client.update_consumer(connection.request(request).await?).await?.into_inner().consumer
        }
        ConsumerCommand::Seek { name, start } => {
            let request = connection.request(v1::SeekConsumerRequest { name, start: Some(seek_to(start)?) }).await?;
            client.seek_consumer(request).await?.into_inner().consumer
        }
        ConsumerCommand::Pause { name } => pause(connection, name, true).await?,
        ConsumerCommand::Resume { name } => pause(connection, name, false).await?,
        ConsumerCommand::Poll(args) => return poll::run(connection, output, args).await,
        ConsumerCommand::List { topic } => return list(connection, output, topic).await,
        ConsumerCommand::Delete { name, yes } => {
            confirm(&format!("Forget the consumer {name} and its position for good?"), yes)?;
            let request = connection.request(v1::DeleteConsumerRequest { name: name.clone() }).await?;
            client.delete_consumer(request).await?;
            return output.done(&format!("deleted {name}"));
        }
    };
    let consumer = consumer.unwrap_or_default();
    output.item("Consumer", &consumer, &fields(&consumer))
}

async fn pause(connection: &Connection, name: String, paused: bool) -> Result<Option<Consumer>, Failure> {
    let request = connection.request(v1::PauseConsumerRequest { name, paused }).await?;
    Ok(ConsumerServiceClient::new(connection.channel()).pause_consumer(request).await?.into_inner().consumer)
}

/// Where a consumer is to go on, which has to be said.
fn seek_to(start: StartArgs) -> Result<v1::seek_consumer_request::Start, Failure> {
    use v1::seek_consumer_request::Start;
    let StartArgs { earliest, head, from, after, from_time } = start;
    let at = |at: v1::StartAt| Start::StartAt(at.into());
    let start = from.map(|offset| offset - 1).or(after).map(Start::AfterOffset);
    start
        .or(from_time.map(Start::StartTime))
        .or(earliest.then(|| at(v1::StartAt::Earliest)))
        .or(head.then(|| at(v1::StartAt::Head)))
        .ok_or_else(|| Failure::Usage("say where: --earliest, --head, --from, --after or --from-time".to_owned()))
}

async fn list(connection: &Connection, output: Output, topic: String) -> Result<(), Failure> {
    let mut client = ConsumerServiceClient::new(connection.channel());
    let (mut consumers, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListConsumersRequest { topic: topic.clone(), page_size: 1000, page_token };
        let page = client.list_consumers(connection.request(request).await?).await?.into_inner();
        consumers.extend(page.consumers);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return output.list(&LISTING, &consumers);
        }
    }
}

fn register_request(args: RegisterArgs) -> v1::RegisterConsumerRequest {
    let RegisterArgs { name, topic, filters, start, if_not_exists } = args;
    let StartArgs { earliest: _, head, from, after, from_time } = start;
    let at = if head { v1::StartAt::Head } else { v1::StartAt::Earliest };
    let start = from
        .map(|offset| offset - 1)
        .or(after)
        .map(Start::AfterOffset)
        .or(from_time.map(Start::StartTime))
        .unwrap_or(Start::StartAt(at.into()));
    let filter = filter::filter(&filters);
    let consumer = Consumer { name, topic, filter, start: Some(start), ..Consumer::default() };
    v1::RegisterConsumerRequest { consumer: Some(consumer), if_not_exists }
}

const LISTING: Listing<Consumer> = Listing {
    message: "Consumer",
    columns: &["NAME", "TOPIC", "POSITION", "HEAD", "LAG", "CONNECTIONS", "STATE"],
    cells: |consumer| {
        let status = consumer.status.clone().unwrap_or_default();
        let position = status.position.unwrap_or_default();
        vec![
            consumer.name.clone(),
            consumer.topic.clone(),
            position.offset.to_string(),
            position.head_offset.to_string(),
            number(status.lag_events),
            status.connection_count.to_string(),
            state(&status),
        ]
    },
};

fn fields(consumer: &Consumer) -> Vec<(&'static str, String)> {
    let status = consumer.status.clone().unwrap_or_default();
    let position = status.position.unwrap_or_default();
    let mode = match consumer.mode() {
        v1::Mode::Unspecified | v1::Mode::Ordered => "ordered",
        v1::Mode::Queue => "queue",
    };
    let mut fields = vec![
        ("name", consumer.name.clone()),
        ("topic", consumer.topic.clone()),
        ("mode", mode.to_owned()),
        ("filter", filter::show(consumer.filter.as_ref())),
        ("position", position.offset.to_string()),
        ("head", position.head_offset.to_string()),
        ("lag", number(status.lag_events)),
        ("lag time", status.lag_time.as_ref().map_or_else(|| "-".to_owned(), show_duration)),
        ("state", state(&status)),
        ("trimmed", status.trimmed_events.to_string()),
        ("created", show_time(consumer.create_time.as_ref())),
        ("connections", status.connection_count.to_string()),
    ];
    fields.extend(status.connections.iter().map(|connection| {
        let v1::Connection { subscription_id, peer, server, connect_time } = connection;
        let since = show_time(connect_time.as_ref());
        ("connection", format!("{subscription_id} from {peer} at {server} since {since}"))
    }));
    fields
}

fn state(status: &v1::ConsumerStatus) -> String {
    match (status.paused, status.connection_count) {
        (true, _) => "paused",
        (false, 0) => "idle",
        (false, _) => "connected",
    }
    .to_owned()
}

fn number(value: Option<i64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{RegisterArgs, Start, register_request};

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        args: RegisterArgs,
    }

    fn start(args: &[&str]) -> Option<Start> {
        let line = ["register", "billing", "orders"].iter().chain(args);
        let args = Program::try_parse_from(line).ok()?.args;
        register_request(args).consumer?.start
    }

    #[test]
    fn the_start_is_earliest_unless_one_is_given() {
        assert_eq!(start(&[]), Some(Start::StartAt(1)));
        assert_eq!(start(&["--head"]), Some(Start::StartAt(2)));
        assert_eq!(start(&["--from", "5"]), Some(Start::AfterOffset(4)));
        assert_eq!(start(&["--after", "0"]), Some(Start::AfterOffset(0)));
        assert!(matches!(start(&["--from-time", "-1h"]), Some(Start::StartTime(_))));
        assert_eq!(start(&["--head", "--from", "5"]), None);
        assert_eq!(start(&["--from", "0"]), None);
    }
}
