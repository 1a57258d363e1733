//! `eventflow event`.

use clap::{Args, Subcommand};
use prost_types::Timestamp;

use super::{
    connection::Connection,
    failure::Failure,
    filter::{self, Condition, condition},
    json::{self, Defaults},
    moment::{moment, show_time},
    output::{self, Listing, Output, cell},
    payload::payload,
    progress::Progress,
};
use crate::proto::v1::{self, Event, event_service_client::EventServiceClient, get_event_request::By};

/// Events in a page: as many as there may be.
const PAGE: u64 = 1000;
/// Characters of a payload in a table; `event get` and JSON have all of it.
const SHOWN: usize = 80;

const LIST_EXAMPLES: &str = "\
Examples:
  eventflow event list orders --newest-first --limit 10
  eventflow event list orders --from-time -1h --filter 'type=order.*' --all
  eventflow event list orders --from 100 --to 199 --all -o json | jq .type";

/// What to do with events.
#[derive(Debug, Subcommand)]
pub(super) enum EventCommand {
    /// Show one event, by its offset, or by the id that its producer gave.
    Get(GetArgs),
    /// List the events that a topic keeps.
    List(ListArgs),
}

/// Arguments of `event get`.
#[derive(Debug, Args)]
pub(super) struct GetArgs {
    /// The topic.
    topic: String,
    /// The event's offset.
    #[arg(required_unless_present = "id", conflicts_with = "id", value_parser = clap::value_parser!(i64).range(1..))]
    offset: Option<i64>,
    /// The id that its producer gave; one that the server made is not indexed.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// With --id: where the event happened. [default: the name of the caller]
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "URI",
        requires = "id",
        conflicts_with = "offset"
    )]
    source: String,
}

/// Arguments of `event list`.
#[derive(Debug, Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(super) struct ListArgs {
    /// The topic.
    topic: String,
    /// Only events with type=order.*, key=K, attr.NAME=V, correlation=ID or producer=NAME; may be repeated.
    #[arg(long = "filter", value_parser = condition, value_name = "CONDITION")]
    filters: Vec<Condition>,
    /// Only this event and later ones.
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(1..))]
    from: Option<i64>,
    /// Only this event and earlier ones.
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(1..))]
    to: Option<i64>,
    /// Only events recorded at or after this time: RFC 3339, or -1h for an hour ago.
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true)]
    from_time: Option<Timestamp>,
    /// Only events recorded before this time.
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true)]
    to_time: Option<Timestamp>,
    /// Begin with the newest event.
    #[arg(long)]
    newest_first: bool,
    /// How many events are listed at most.
    #[arg(long, default_value_t = 50, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// List all of them.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

/// Does it.
pub(super) async fn run(connection: &Connection, output: Output, command: EventCommand) -> Result<(), Failure> {
    match command {
        EventCommand::Get(args) => get(connection, output, args).await,
        EventCommand::List(args) => list(connection, output, args).await,
    }
}

async fn get(connection: &Connection, output: Output, args: GetArgs) -> Result<(), Failure> {
    let GetArgs { topic, offset, id, source } = args;
    let by = id.map(By::Id).or(offset.map(By::Offset));
    let request = connection.request(v1::GetEventRequest { topic, by, source }).await?;
    let answer = EventServiceClient::new(connection.channel()).get_event(request).await?.into_inner();
    let event = answer.event.unwrap_or_default();
    if output.is_json() {
        return output::print(&(json::line("Event", &event, Defaults::Left)? + "\n"));
    }
    let mut attributes: Vec<String> = event.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
    attributes.sort();
    let fields = [
        ("offset", event.offset.to_string()),
        ("recorded", show_time(event.recorded_time.as_ref())),
        ("type", cell(&event.r#type)),
        ("key", cell(&event.key)),
        ("id", cell(&event.id)),
        ("source", cell(&event.source)),
        ("producer", cell(&event.producer)),
        ("time", show_time(event.time.as_ref())),
        ("content type", cell(&event.content_type)),
        ("attributes", cell(&attributes.join(" "))),
        ("correlation", cell(&event.correlation_id)),
        ("causation", cell(&event.causation_id)),
        ("payload", payload(&event)),
    ];
    output.item("Event", &event, &fields)
}

/// Prints page by page, so that a listing may be longer than memory.
async fn list(connection: &Connection, output: Output, args: ListArgs) -> Result<(), Failure> {
    let mut left = if args.all { u64::MAX } else { args.limit };
    let bar = if left > PAGE { Progress::of_printed((!args.all).then_some(left)) } else { Progress::default() };
    let mut listed = 0;
    let mut query = query(args);
    let mut client = EventServiceClient::new(connection.channel());
    let mut begun = false;
    loop {
        // At most 1,000, so it fits.
        query.page_size = left.min(PAGE) as i32;
        let page = client.list_events(connection.request(query.clone()).await?).await?.into_inner();
        left = left.saturating_sub(page.events.len() as u64);
        listed += page.events.len() as u64;
        let over = page.next_page_token.is_empty() || left == 0;
        if output.is_json() {
            let lines = page.events.iter().map(|event| Ok(json::line("Event", event, Defaults::Left)? + "\n"));
            output::print(&lines.collect::<Result<String, Failure>>()?)?;
        } else if !page.events.is_empty() || (over && !begun) {
            output.page(&LISTING, &page.events, !begun)?;
            begun = true;
        }
        bar.events(listed);
        if over {
            return Ok(());
        }
        query.page_token = page.next_page_token;
    }
}

fn query(args: ListArgs) -> v1::ListEventsRequest {
    let ListArgs { topic, filters, from, to, from_time, to_time, newest_first, limit: _, all: _ } = args;
    v1::ListEventsRequest {
        topic,
        filter: filter::filter(&filters),
        from_time,
        to_time,
        after_offset: from.map(|offset| offset - 1),
        before_offset: to.map(|offset| offset.saturating_add(1)),
        newest_first,
        page_size: 0,
        page_token: String::new(),
    }
}

const LISTING: Listing<Event> = Listing {
    message: "Event",
    columns: &["OFFSET", "RECORDED", "TYPE", "KEY", "PAYLOAD"],
    cells: |event| {
        vec![
            event.offset.to_string(),
            show_time(event.recorded_time.as_ref()),
            cell(&event.r#type),
            cell(&event.key),
            shortened(payload(event)),
        ]
    },
};

fn shortened(text: String) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{EventCommand, SHOWN, query, shortened};

    #[derive(Parser)]
    struct Program {
        #[command(subcommand)]
        command: EventCommand,
    }

    fn parse(args: &[&str]) -> Option<EventCommand> {
        Program::try_parse_from(["event"].iter().chain(args)).ok().map(|program| program.command)
    }

    #[test]
    fn an_event_is_named_by_its_offset_or_its_id() {
        for good in [
            &["get", "orders", "5"][..],
            &["get", "orders", "--id", "x"],
            &["get", "orders", "--id", "x", "--source", "/s"],
        ] {
            assert!(parse(good).is_some(), "{good:?} was refused");
        }
        for bad in [
            &["get", "orders"][..],
            &["get", "orders", "0"],
            &["get", "orders", "x"],
            &["get", "orders", "5", "--id", "x"],
            &["get", "orders", "5", "--source", "/s"],
            &["list"],
            &["list", "orders", "--limit", "0"],
            &["list", "orders", "--limit", "5", "--all"],
            &["list", "orders", "--from", "0"],
            &["list", "orders", "--filter", "x"],
        ] {
            assert!(parse(bad).is_none(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_listing_includes_both_its_ends() {
        let Some(EventCommand::List(args)) =
            parse(&["list", "orders", "--from", "5", "--to", "9", "--from-time", "-1h"])
        else {
            panic!("not a listing")
        };
        let query = query(args);
        assert_eq!((query.after_offset, query.before_offset), (Some(4), Some(10)));
        assert!(query.from_time.is_some() && query.filter.is_none() && !query.newest_first);
    }

    #[test]
    fn long_payloads_are_cut_between_characters() {
        assert_eq!(shortened("ü".repeat(SHOWN)), "ü".repeat(SHOWN));
        assert_eq!(shortened("ü".repeat(SHOWN + 1)), "ü".repeat(SHOWN) + "…");
    }
}
