//! `eventflow topic`.

mod verify;

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{
    confirm::confirm,
    connection::Connection,
    failure::Failure,
    moment::{proto_duration, show_duration, show_time},
    output::{Listing, Output, cell, yes_or_no},
};
use crate::{
    config::duration,
    proto::v1::{self, Topic, topic_service_client::TopicServiceClient},
};

/// What to do with topics.
#[derive(Debug, Subcommand)]
pub(super) enum TopicCommand {
    /// Make a new, empty topic.
    Create(CreateArgs),
    /// Show a topic with its offsets.
    Get {
        /// The topic.
        name: String,
    },
    /// List topics.
    List {
        /// Only names that begin so.
        #[arg(default_value = "")]
        prefix: String,
    },
    /// Change what is given.
    Update(UpdateArgs),
    /// Let a topic take no more events.
    Seal {
        /// The topic.
        name: String,
    },
    /// Let a sealed topic take events again.
    Unseal {
        /// The topic.
        name: String,
    },
    /// Remove the oldest events for good.
    Trim(TrimArgs),
    /// Compare what a topic keeps with its chain of hashes.
    Verify(verify::VerifyArgs),
    /// Delete a topic that has no consumers, with all its events, for good.
    Delete {
        /// The topic.
        name: String,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
}

/// Arguments of `topic create`.
#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// The topic, for example "orders".
    name: String,
    /// For people.
    #[arg(long, default_value = "", value_name = "TEXT")]
    description: String,
    /// How long events are kept, for example 30d. [default: for ever]
    #[arg(long, value_parser = duration, value_name = "TIME")]
    retention: Option<Duration>,
    /// How many bytes of events are kept, about; 0 keeps all.
    #[arg(long, default_value_t = 0, value_name = "BYTES", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(0..))]
    retention_bytes: i64,
    /// Succeed if an equal topic exists already.
    #[arg(long)]
    if_not_exists: bool,
}

/// Arguments of `topic update`.
#[derive(Debug, Args)]
pub(super) struct UpdateArgs {
    /// The topic.
    name: String,
    /// For people; an empty one removes it.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// How long events are kept; 0s keeps them for ever.
    #[arg(long, value_parser = duration, value_name = "TIME")]
    retention: Option<Duration>,
    /// How many bytes of events are kept, about; 0 keeps all.
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(0..))]
    retention_bytes: Option<i64>,
    /// Whether the topic refuses events.
    #[arg(long, value_name = "BOOL")]
    sealed: Option<bool>,
}

/// Arguments of `topic trim`.
#[derive(Debug, Args)]
pub(super) struct TrimArgs {
    /// The topic.
    name: String,
    /// Events before this offset go.
    #[arg(long, value_name = "OFFSET", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(1..))]
    before: i64,
    /// Say what would go, remove nothing.
    #[arg(long)]
    validate_only: bool,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// Does it.
pub(super) async fn run(connection: &Connection, output: Output, command: TopicCommand) -> Result<(), Failure> {
    let mut client = TopicServiceClient::new(connection.channel());
    let topic = match command {
        TopicCommand::Create(args) => {
            let request = connection.request(create_request(args)).await?;
            client.create_topic(request).await?.into_inner().topic
        }
        TopicCommand::Get { name } => {
            let request = connection.request(v1::GetTopicRequest { name }).await?;
            client.get_topic(request).await?.into_inner().topic
        }
        TopicCommand::Update(args) => {
            let request = connection.request(update_request(args)?).await?;
            client.update_topic(request).await?.into_inner().topic
        }
        TopicCommand::Seal { name } => seal(connection, name, true).await?,
        TopicCommand::Unseal { name } => seal(connection, name, false).await?,
        TopicCommand::List { prefix } => return list(connection, output, prefix).await,
        TopicCommand::Verify(args) => return verify::run(connection, output, args).await,
        TopicCommand::Trim(args) => return trim(connection, output, args).await,
        TopicCommand::Delete { name, yes } => return delete(connection, output, name, yes).await,
    };
    show(output, &topic.unwrap_or_default())
}

async fn list(connection: &Connection, output: Output, prefix: String) -> Result<(), Failure> {
    let mut client = TopicServiceClient::new(connection.channel());
    let (mut topics, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListTopicsRequest { prefix: prefix.clone(), page_size: 1000, page_token };
        let page = client.list_topics(connection.request(request).await?).await?.into_inner();
        topics.extend(page.topics);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return output.list(&LISTING, &topics);
        }
    }
}

async fn trim(connection: &Connection, output: Output, args: TrimArgs) -> Result<(), Failure> {
    let TrimArgs { name, before, validate_only, yes } = args;
    if !validate_only {
        confirm(&format!("Remove the events of {name} before offset {before} for good?"), yes)?;
    }
    let request = v1::TrimTopicRequest { name, before_offset: before, validate_only };
    let mut client = TopicServiceClient::new(connection.channel());
    let answer = client.trim_topic(connection.request(request).await?).await?.into_inner();
    let trimmed = answer.trimmed_events.map_or_else(|| "not counted".to_owned(), |count| count.to_string());
    let fields = [("trimmed", trimmed), ("earliest", answer.earliest_offset.to_string())];
    output.item("TrimTopicResponse", &answer, &fields)
}

async fn seal(connection: &Connection, name: String, sealed: bool) -> Result<Option<Topic>, Failure> {
    let request = v1::UpdateTopicRequest { name, sealed: Some(sealed), ..Default::default() };
    let mut client = TopicServiceClient::new(connection.channel());
    Ok(client.update_topic(connection.request(request).await?).await?.into_inner().topic)
}

async fn delete(connection: &Connection, output: Output, name: String, yes: bool) -> Result<(), Failure> {
    confirm(&format!("Delete topic {name} with all its events for good?"), yes)?;
    let request = connection.request(v1::DeleteTopicRequest { name: name.clone() }).await?;
    TopicServiceClient::new(connection.channel()).delete_topic(request).await?;
    output.done(&format!("deleted {name}"))
}

fn create_request(args: CreateArgs) -> v1::CreateTopicRequest {
    let CreateArgs { name, description, retention, retention_bytes, if_not_exists } = args;
    let retention = retention.map(proto_duration);
    let topic = Topic { name, description, retention, retention_bytes, ..Topic::default() };
    v1::CreateTopicRequest { topic: Some(topic), if_not_exists }
}

fn update_request(args: UpdateArgs) -> Result<v1::UpdateTopicRequest, Failure> {
    let UpdateArgs { name, description, retention, retention_bytes, sealed } = args;
    let retention = retention.map(proto_duration);
    if (&description, retention, retention_bytes, sealed) == (&None, None, None, None) {
        let choices = "--description, --retention, --retention-bytes or --sealed";
        return Err(Failure::Usage(format!("nothing to change; give {choices}")));
    }
    Ok(v1::UpdateTopicRequest { name, description, retention, retention_bytes, sealed })
}

const LISTING: Listing<Topic> = Listing {
    message: "Topic",
    columns: &["NAME", "HEAD", "EARLIEST", "RETENTION", "SEALED", "DESCRIPTION"],
    cells: |topic| {
        vec![
            topic.name.clone(),
            topic.head_offset.to_string(),
            topic.earliest_offset.to_string(),
            retention(topic),
            yes_or_no(topic.sealed),
            cell(&topic.description),
        ]
    },
};

fn show(output: Output, topic: &Topic) -> Result<(), Failure> {
    let fields = [
        ("name", topic.name.clone()),
        ("description", cell(&topic.description)),
        ("head", topic.head_offset.to_string()),
        ("earliest", topic.earliest_offset.to_string()),
        ("retention", retention(topic)),
        ("sealed", yes_or_no(topic.sealed)),
        ("created", show_time(topic.create_time.as_ref())),
        ("log", topic.log_id.clone()),
    ];
    output.item("Topic", topic, &fields)
}

fn retention(topic: &Topic) -> String {
    let time = topic.retention.as_ref().map(show_duration);
    let bytes = (topic.retention_bytes != 0).then(|| format!("{} bytes", topic.retention_bytes));
    let limits: Vec<String> = time.into_iter().chain(bytes).collect();
    if limits.is_empty() { "for ever".to_owned() } else { limits.join(", ") }
}
