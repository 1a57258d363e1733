//! `eventflow publish`.

mod event;
mod lines;
mod pipeline;
mod send;

use std::path::PathBuf;

use clap::Args;
use prost_types::Timestamp;

use self::{
    lines::{LINE_BYTES, Source},
    pipeline::Pipeline,
    send::Publisher,
};
use super::{connection::Connection, failure::Failure, filter::attribute, moment::moment, output::Output};

const EXAMPLES: &str = "\
Each line of standard input is one event, unless --data or --file is given. All events get an id, so that repeating a
call that was cut off stores nothing twice. Lines are sent ahead of the answers to those before them: after a refusal
nothing more is sent, and what was on its way is recorded and printed. With --expected-head each group of lines waits
for the one before it.

Examples:
  eventflow publish orders --type order.placed --key order-1 --data '{\"order\":1}'
  tail -f access.log | eventflow publish access --type http.request
  echo '{\"type\":\"order.placed\",\"key\":\"order-1\",\"json\":{\"order\":1}}' | eventflow publish orders --envelope";

/// Arguments of `publish`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PublishArgs {
    /// The topic; it has to exist.
    topic: String,
    /// What each event has besides its payload.
    #[command(flatten)]
    template: Template,
    /// The payload of one event, as text.
    #[arg(long, value_name = "TEXT", conflicts_with = "file")]
    data: Option<String>,
    /// File that is the payload of one event; "-" is all of standard input.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Each line of standard input is a whole NewEvent in proto JSON.
    #[arg(long, conflicts_with_all = ENVELOPE_FIELDS)]
    envelope: bool,
    /// Check everything, record nothing.
    #[arg(long)]
    validate_only: bool,
    /// Refuse, unless this is the offset of the topic's newest event; 0 if it has none.
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    expected_head: Option<i64>,
}

/// What an envelope says itself.
const ENVELOPE_FIELDS: [&str; 11] = [
    "data",
    "file",
    "type",
    "key",
    "id",
    "source",
    "time",
    "content_type",
    "attributes",
    "correlation_id",
    "causation_id",
];

/// What each event has besides its payload.
#[derive(Debug, Clone, Args)]
pub(super) struct Template {
    /// What happened, for example "order.placed".
    #[arg(long = "type", id = "type", value_name = "TYPE", required_unless_present = "envelope")]
    r#type: Option<String>,
    /// The entity it happened to; events of one key keep their order.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "KEY")]
    key: String,
    /// Name of the event, under which it is stored once. [default: a UUIDv7]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Where it happened. [default: the name of the publisher]
    #[arg(long, default_value = "", hide_default_value = true, value_name = "URI")]
    source: String,
    /// When it happened: RFC 3339, or -1h for an hour ago. [default: the time of recording]
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true)]
    time: Option<Timestamp>,
    /// Media type of the payload. [default: told from the payload]
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TYPE")]
    content_type: String,
    /// Further context; may be repeated.
    #[arg(long = "attr", value_name = "NAME=VALUE", value_parser = attribute)]
    attributes: Vec<(String, String)>,
    /// Ties the events of one business transaction together.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ID")]
    correlation_id: String,
    /// The id of the event that caused this one.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ID")]
    causation_id: String,
}

/// Publishes one event, or one for each line of standard input.
pub(super) async fn run(connection: &Connection, output: Output, args: PublishArgs) -> Result<(), Failure> {
    let PublishArgs { topic, template, data, file, envelope, validate_only, expected_head } = args;
    let mut publisher = Publisher::new(connection, output, topic, validate_only, expected_head);
    let single = match (data, file) {
        (Some(text), _) => Some(text.into_bytes()),
        (None, Some(path)) => Some(lines::whole(&path)?),
        (None, None) => None,
    };
    if let Some(payload) = single {
        return publisher.send(vec![event::with_payload(&template, payload)], 0).await;
    }
    if template.id.is_some() {
        let why = "--id names one event, and standard input may hold many; use it with --data or --file";
        return Err(Failure::Usage(why.to_owned()));
    }
    let source = if envelope { Source::Envelopes } else { Source::Payloads(Box::new(template)) };
    publisher.show_progress(lines::size());
    let mut groups = lines::read(source, LINE_BYTES)?;
    if publisher.may_send_ahead() {
        return Pipeline::new(&mut publisher, groups).run().await;
    }
    while let Some(group) = groups.recv().await {
        let lines::Group { events, bytes, failure } = group;
        if !events.is_empty() {
            publisher.send(events, bytes).await?;
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::PublishArgs;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        args: PublishArgs,
    }

    fn accepts(args: &[&str]) -> bool {
        Program::try_parse_from(["publish", "orders"].iter().chain(args)).is_ok()
    }

    #[test]
    fn payloads_need_a_type_and_envelopes_take_none() {
        assert!(accepts(&["--type", "a"]));
        assert!(accepts(&["--type", "a", "--data", "x", "--attr", "k=v", "--time", "-1h", "--expected-head", "0"]));
        assert!(accepts(&["--envelope", "--validate-only"]));
        for bad in [
            &[][..],
            &["--envelope", "--type", "a"],
            &["--envelope", "--attr", "k=v"],
            &["--type", "a", "--data", "x", "--file", "y"],
            &["--type", "a", "--expected-head", "-1"],
            &["--type", "a", "--time", "tomorrow"],
        ] {
            assert!(!accepts(bad), "{bad:?} was accepted");
        }
    }
}
