//! `eventflow producer`.

use clap::{Args, Subcommand};

use super::{
    confirm::confirm,
    connection::Connection,
    failure::Failure,
    moment::show_time,
    output::{Listing, Output, cell, yes_or_no},
};
use crate::proto::v1::{self, Producer, producer_service_client::ProducerServiceClient};

/// What to do with producers.
#[derive(Debug, Subcommand)]
pub(super) enum ProducerCommand {
    /// Register a producer and print its key, this once.
    Register(RegisterArgs),
    /// Show a producer.
    Get {
        /// The producer, without "producers/".
        name: String,
    },
    /// List producers.
    List,
    /// Change a producer; what is not given stays.
    Update(UpdateArgs),
    /// Remove a producer with its keys; its events stay.
    Delete {
        /// The producer.
        name: String,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
}

/// Arguments of `producer register`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  eventflow producer register shop --topic orders --topic 'payments.*'")]
pub(super) struct RegisterArgs {
    /// The producer, for example "shop".
    name: String,
    /// A topic it may publish to, or a prefix ending in "*"; may be repeated.
    #[arg(long = "topic", value_name = "TOPIC")]
    topics: Vec<String>,
    /// For people.
    #[arg(long, default_value = "", value_name = "TEXT")]
    description: String,
    /// Succeed, without a new key, if an equal producer exists already.
    #[arg(long)]
    if_not_exists: bool,
}

/// Arguments of `producer update`.
#[derive(Debug, Args)]
pub(super) struct UpdateArgs {
    /// The producer.
    name: String,
    /// For people; an empty one removes it.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// A topic it may publish to, or a prefix ending in "*"; may be repeated, and replaces the whole list.
    #[arg(long = "topic", value_name = "TOPIC")]
    topics: Vec<String>,
    /// Let it publish nowhere.
    #[arg(long, conflicts_with = "topics")]
    no_topics: bool,
    /// Whether its keys are refused.
    #[arg(long, value_name = "BOOL")]
    disabled: Option<bool>,
}

/// Does it.
pub(super) async fn run(connection: &Connection, output: Output, command: ProducerCommand) -> Result<(), Failure> {
    match command {
        ProducerCommand::Register(args) => register(connection, output, args).await,
        ProducerCommand::Get { name } => {
            let request = connection.request(v1::GetProducerRequest { name }).await?;
            let answer = ProducerServiceClient::new(connection.channel()).get_producer(request).await?;
            let producer = answer.into_inner().producer.unwrap_or_default();
            output.item("Producer", &producer, &fields(&producer))
        }
        ProducerCommand::List => list(connection, output).await,
        ProducerCommand::Update(args) => {
            let request = connection.request(update_request(args)?).await?;
            let answer = ProducerServiceClient::new(connection.channel()).update_producer(request).await?;
            let producer = answer.into_inner().producer.unwrap_or_default();
            output.item("Producer", &producer, &fields(&producer))
        }
        ProducerCommand::Delete { name, yes } => {
            confirm(&format!("Remove the producer {name} with its keys for good?"), yes)?;
            let request = connection.request(v1::DeleteProducerRequest { name: name.clone() }).await?;
            ProducerServiceClient::new(connection.channel()).delete_producer(request).await?;
            output.done(&format!("deleted {name}"))
        }
    }
}

async fn register(connection: &Connection, output: Output, args: RegisterArgs) -> Result<(), Failure> {
    let RegisterArgs { name, topics, description, if_not_exists } = args;
    let producer = Producer { name, description, topics, ..Producer::default() };
    let request = v1::RegisterProducerRequest { producer: Some(producer), if_not_exists };
    let mut client = ProducerServiceClient::new(connection.channel());
    let answer = client.register_producer(connection.request(request).await?).await?.into_inner();
    let mut fields = fields(&answer.producer.clone().unwrap_or_default());
    // The only time that the key is shown: whoever registers has to hand it on.
    let key = if answer.secret.is_empty() { "not shown again" } else { &answer.secret };
    fields.push(("key", key.to_owned()));
    output.item("RegisterProducerResponse", &answer, &fields)
}

fn update_request(args: UpdateArgs) -> Result<v1::UpdateProducerRequest, Failure> {
    let UpdateArgs { name, description, topics, no_topics, disabled } = args;
    let topics = (no_topics || !topics.is_empty()).then_some(v1::TopicPatterns { patterns: topics });
    if (&description, &topics, disabled) == (&None, &None, None) {
        let choices = "--description, --topic, --no-topics or --disabled";
        return Err(Failure::Usage(format!("nothing to change; give {choices}")));
    }
    Ok(v1::UpdateProducerRequest { name, description, topics, disabled })
}

async fn list(connection: &Connection, output: Output) -> Result<(), Failure> {
    let mut client = ProducerServiceClient::new(connection.channel());
    let (mut producers, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListProducersRequest { page_size: 1000, page_token };
        let page = client.list_producers(connection.request(request).await?).await?.into_inner();
        producers.extend(page.producers);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return output.list(&LISTING, &producers);
        }
    }
}

const LISTING: Listing<Producer> = Listing {
    message: "Producer",
    columns: &["NAME", "TOPICS", "DISABLED", "DESCRIPTION"],
    cells: |producer| {
        let disabled = yes_or_no(producer.disabled);
        vec![producer.name.clone(), topics(producer), disabled, cell(&producer.description)]
    },
};

fn fields(producer: &Producer) -> Vec<(&'static str, String)> {
    vec![
        ("name", producer.name.clone()),
        ("description", cell(&producer.description)),
        ("topics", topics(producer)),
        ("disabled", yes_or_no(producer.disabled)),
        ("created", show_time(producer.create_time.as_ref())),
    ]
}

fn topics(producer: &Producer) -> String {
    cell(&producer.topics.join(" "))
}
