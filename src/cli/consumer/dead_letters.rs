//! `eventflow consumer dead-letters`, `redrive` and `discard`.

use clap::Args;

use crate::{
    cli::{
        confirm::confirm,
        connection::Connection,
        failure::Failure,
        json::{self, Defaults},
        moment::show_time,
        output::{self, Listing, Output, cell},
    },
    proto::v1::{self, DeadLetter, consumer_service_client::ConsumerServiceClient, dead_letter::Cause},
};

/// Dead letters in a page: as many as there may be.
const PAGE: u64 = 1000;
/// Offsets in one request: as many dead letters as one call changes.
const OFFSETS: usize = 10_000;

/// Arguments of `consumer dead-letters`.
#[derive(Debug, Args)]
pub(in crate::cli) struct ListArgs {
    /// The consumer.
    name: String,
    /// How many are listed at most, from the oldest event on.
    #[arg(long, default_value_t = 50, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// List all of them.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

/// Which dead letters are meant.
#[derive(Debug, Args)]
struct Which {
    /// The consumer.
    name: String,
    /// That of this event; may be repeated. One that is none is ignored.
    #[arg(long = "offset", value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(1..))]
    offsets: Vec<i64>,
    /// All of them.
    #[arg(long, conflicts_with = "offsets", required_unless_present = "offsets")]
    all: bool,
    /// Count them, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Arguments of `consumer redrive`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  eventflow consumer redrive mailer --offset 5 --offset 9")]
pub(in crate::cli) struct RedriveArgs {
    /// Which ones.
    #[command(flatten)]
    which: Which,
}

/// Arguments of `consumer discard`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  eventflow consumer discard mailer --all --dry-run")]
pub(in crate::cli) struct DiscardArgs {
    /// Which ones.
    #[command(flatten)]
    which: Which,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// Prints page by page, so that a listing may be longer than memory.
pub(super) async fn list(connection: &Connection, output: Output, args: ListArgs) -> Result<(), Failure> {
    let ListArgs { name, limit, all } = args;
    let mut left = if all { u64::MAX } else { limit };
    let mut client = ConsumerServiceClient::new(connection.channel());
    let (mut page_token, mut begun) = (String::new(), false);
    loop {
        // At most 1,000, so it fits.
        let page_size = left.min(PAGE) as i32;
        let request = v1::ListDeadLettersRequest { consumer: name.clone(), page_size, page_token };
        let page = client.list_dead_letters(connection.request(request).await?).await?.into_inner();
        left = left.saturating_sub(page.dead_letters.len() as u64);
        let over = page.next_page_token.is_empty() || left == 0;
        if output.is_json() {
            let lines = page.dead_letters.iter().map(|dead| Ok(json::line("DeadLetter", dead, Defaults::Left)? + "\n"));
            output::print(&lines.collect::<Result<String, Failure>>()?)?;
        } else if !page.dead_letters.is_empty() || (over && !begun) {
            output.page(&LISTING, &page.dead_letters, !begun)?;
            begun = true;
        }
        if over {
            return Ok(());
        }
        page_token = page.next_page_token;
    }
}

const LISTING: Listing<DeadLetter> = Listing {
    message: "DeadLetter",
    columns: &["OFFSET", "KEY", "ATTEMPTS", "CAUSE", "DEAD SINCE", "EVENT", "ERROR"],
    cells: |dead| {
        let cause = match dead.cause() {
            Cause::Unspecified => "-",
            Cause::MaxAttempts => "attempts",
            Cause::Rejected => "rejected",
            Cause::Trimmed => "trimmed",
        };
        vec![
            dead.offset.to_string(),
            cell(&dead.key),
            dead.attempts.to_string(),
            cause.to_owned(),
            show_time(dead.dead_time.as_ref()),
            dead.event.as_ref().map_or_else(|| "gone".to_owned(), |event| cell(&event.r#type)),
            cell(dead.error.trim_end()),
        ]
    },
};

/// Puts dead letters back, however many calls it takes.
pub(super) async fn redrive(connection: &Connection, output: Output, args: RedriveArgs) -> Result<(), Failure> {
    let mut client = ConsumerServiceClient::new(connection.channel());
    let mut redriven = 0;
    for request in args.which.requests() {
        loop {
            let answer = client.redrive_dead_letters(connection.request(request.clone()).await?).await?.into_inner();
            redriven += answer.redriven();
            match is_over(request.validate_only, answer.redriven(), answer.remaining) {
                Some(counted) => break redriven += counted,
                None => continue,
            }
        }
    }
    let told = if args.which.dry_run { "would go back" } else { "back in the queue" };
    let answer = v1::RedriveDeadLettersResponse { redriven: Some(redriven), remaining: 0 };
    show(output, "RedriveDeadLettersResponse", &answer, redriven, told)
}

/// Forgets dead letters, however many calls it takes.
pub(super) async fn discard(connection: &Connection, output: Output, args: DiscardArgs) -> Result<(), Failure> {
    let DiscardArgs { which, yes } = args;
    let what = if which.all { "all dead letters".to_owned() } else { format!("{} dead letters", which.offsets.len()) };
    confirm(&format!("Forget {what} of {} for good?", which.name), yes || which.dry_run)?;
    let mut client = ConsumerServiceClient::new(connection.channel());
    let mut discarded = 0;
    for request in which.requests() {
        let v1::RedriveDeadLettersRequest { consumer, offsets, all, validate_only } = request;
        let request = v1::DiscardDeadLettersRequest { consumer, offsets, all, validate_only };
        loop {
            let answer = client.discard_dead_letters(connection.request(request.clone()).await?).await?.into_inner();
            discarded += answer.discarded();
            match is_over(validate_only, answer.discarded(), answer.remaining) {
                Some(counted) => break discarded += counted,
                None => continue,
            }
        }
    }
    let told = if which.dry_run { "would be forgotten" } else { "forgotten" };
    let answer = v1::DiscardDeadLettersResponse { discarded: Some(discarded), remaining: 0 };
    show(output, "DiscardDeadLettersResponse", &answer, discarded, told)
}

impl Which {
    /// One request for each group of offsets, or one for all of them.
    fn requests(&self) -> Vec<v1::RedriveDeadLettersRequest> {
        let Self { name, offsets, all, dry_run } = self;
        let request = |offsets: &[i64]| v1::RedriveDeadLettersRequest {
            consumer: name.clone(),
            offsets: offsets.to_vec(),
            all: *all,
            validate_only: *dry_run,
        };
        if *all { vec![request(&[])] } else { offsets.chunks(OFFSETS).map(request).collect() }
    }
}

/// Whether no further call is needed, and what counts besides what this one changed: a call that only counts does so
/// up to its limit, and says what is left. One that changed nothing would only be followed by others like it.
fn is_over(validate_only: bool, changed: i64, remaining: i64) -> Option<i64> {
    match validate_only {
        true => Some(remaining),
        false => (changed == 0 || remaining == 0).then_some(0),
    }
}

fn show(output: Output, name: &str, answer: &impl prost::Message, count: i64, told: &str) -> Result<(), Failure> {
    if output.is_json() { output.item(name, answer, &[]) } else { output.done(&format!("{count} {told}")) }
}
