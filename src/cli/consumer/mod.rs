//! `eventflow consumer`.

mod dead_letters;
mod poll;
mod settings;
mod settle;
mod show;

use clap::{Args, Subcommand};
use prost_types::Timestamp;

use self::{
    settings::{ModeName, QueueArgs},
    show::{LISTING, fields},
};
use super::{
    confirm::confirm,
    connection::Connection,
    failure::Failure,
    filter::{self, Condition, condition},
    moment::moment,
    output::Output,
};
use crate::proto::v1::{self, Consumer, consumer::Start, consumer_service_client::ConsumerServiceClient};

const REGISTER_EXAMPLES: &str = "\
Examples:
  eventflow consumer register billing orders --filter 'type=order.*' --head
  eventflow consumer register mailer orders --mode queue --lease 2m --backoff 5s,1m,1h --max-attempts 4";

/// What to do with consumers.
#[derive(Debug, Subcommand)]
pub(super) enum ConsumerCommand {
    /// Register a consumer on a topic; what is recorded from its start on waits for it.
    #[command(visible_alias = "create")]
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
    /// Change what a consumer wants, and how its queue works; its streams end and resume with the change.
    Update(settings::UpdateArgs),
    /// Move a consumer, also back; its streams end and resume at the new place.
    #[command(after_help = "Example:\n  eventflow consumer seek billing --from-time -1h")]
    Seek {
        /// The consumer.
        name: String,
        /// Where it goes on.
        #[command(flatten)]
        start: StartArgs,
    },
    /// Stop delivery; streams stay open, and what was delivered goes on.
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
    /// Say what became of leased deliveries of a queue: done, failed, or in need of more time.
    Settle(settle::SettleArgs),
    /// List the events that a queue gave up on.
    DeadLetters(dead_letters::ListArgs),
    /// Put events that a queue gave up on back into it, to be delivered from the first attempt on.
    Redrive(dead_letters::RedriveArgs),
    /// Forget dead letters for good; their events stay.
    Discard(dead_letters::DiscardArgs),
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
#[command(after_help = REGISTER_EXAMPLES)]
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
    /// One stream at a time, in order; or any number, each event leased, settled and retried by itself.
    #[arg(long, value_enum, default_value = "ordered")]
    mode: ModeName,
    /// How a queue works.
    #[command(flatten)]
    queue: QueueArgs,
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
        ConsumerCommand::Update(args) => {
            let request = connection.request(args.request()?).await?;
            client.update_consumer(request).await?.into_inner().consumer
        }
        ConsumerCommand::Seek { name, start } => {
            let request = connection.request(v1::SeekConsumerRequest { name, start: Some(seek_to(start)?) }).await?;
            client.seek_consumer(request).await?.into_inner().consumer
        }
        ConsumerCommand::Pause { name } => pause(connection, name, true).await?,
        ConsumerCommand::Resume { name } => pause(connection, name, false).await?,
        ConsumerCommand::Poll(args) => return poll::run(connection, output, args).await,
        ConsumerCommand::Settle(args) => return settle::run(connection, output, args).await,
        ConsumerCommand::DeadLetters(args) => return dead_letters::list(connection, output, args).await,
        ConsumerCommand::Redrive(args) => return dead_letters::redrive(connection, output, args).await,
        ConsumerCommand::Discard(args) => return dead_letters::discard(connection, output, args).await,
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
    let RegisterArgs { name, topic, filters, start, mode, queue, if_not_exists } = args;
    let StartArgs { earliest: _, head, from, after, from_time } = start;
    let at = if head { v1::StartAt::Head } else { v1::StartAt::Earliest };
    let start = from
        .map(|offset| offset - 1)
        .or(after)
        .map(Start::AfterOffset)
        .or(from_time.map(Start::StartTime))
        .unwrap_or(Start::StartAt(at.into()));
    let filter = filter::filter(&filters);
    let mut consumer = Consumer { name, topic, filter, start: Some(start), ..Consumer::default() };
    consumer.set_mode(mode.into());
    queue.fill(&mut consumer);
    v1::RegisterConsumerRequest { consumer: Some(consumer), if_not_exists }
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
