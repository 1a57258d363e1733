//! `eventflow topic verify`.

use clap::Args;

use super::super::{connection::Connection, failure::Failure, output::Output, progress::Progress};
use crate::proto::v1::{
    self, AlteredRange, VerifyTopicResponse, altered_range::Kind, topic_service_client::TopicServiceClient,
    verify_topic_response::NotedHash,
};

const EXAMPLES: &str = "\
Note `hash` and `verified` somewhere else, and compare with them later:
  eventflow topic verify orders
  eventflow topic verify orders --hash 5d1f… --offset 40960

Exit code 1 says that something was altered, or that the noted hash could not be confirmed.";

/// Arguments of `topic verify`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct VerifyArgs {
    /// The topic.
    name: String,
    /// A hash that was printed earlier, to be compared.
    #[arg(long, value_name = "HASH", requires = "offset")]
    hash: Option<String>,
    /// The offset that was printed with it.
    #[arg(long, value_name = "OFFSET", requires = "hash", value_parser = clap::value_parser!(i64).range(1..))]
    offset: Option<i64>,
}

/// Verifies part by part, and says what was found in all of them.
pub(super) async fn run(connection: &Connection, output: Output, args: VerifyArgs) -> Result<(), Failure> {
    let VerifyArgs { name, hash, offset } = args;
    let (noted_hash, noted_offset) = (hash.unwrap_or_default(), offset.unwrap_or_default());
    let mut client = TopicServiceClient::new(connection.channel());
    let bar = Progress::of_events(None);
    let (mut events, mut noted, mut page_token) = (0, NotedHash::Unspecified, String::new());
    let last = loop {
        let (name, noted_hash) = (name.clone(), noted_hash.clone());
        let request = v1::VerifyTopicRequest { name, noted_hash, noted_offset, page_token };
        let part = client.verify_topic(connection.request(request).await?).await?.into_inner();
        events += part.verified_events;
        bar.events(events.unsigned_abs());
        if part.noted() != NotedHash::Unspecified {
            noted = part.noted();
        }
        if part.next_page_token.is_empty() {
            break part;
        }
        page_token = part.next_page_token;
    };
    drop(bar);
    let found = VerifyTopicResponse { verified_events: events, noted: noted.into(), ..last };
    show(output, &found, noted_offset)?;
    judge(&name, &found, noted_offset)
}

fn show(output: Output, found: &VerifyTopicResponse, noted_offset: i64) -> Result<(), Failure> {
    let mut fields = vec![
        ("verified", found.verified_offset.to_string()),
        ("hash", if found.hash.is_empty() { "-".to_owned() } else { found.hash.clone() }),
        ("events", found.verified_events.to_string()),
        ("earliest", found.earliest_offset.to_string()),
        ("packed", found.packed_offset.to_string()),
        ("head", found.head_offset.to_string()),
    ];
    if let Some(altered) = &found.altered {
        fields.push(("altered", format!("{} to {}", altered.first_offset, altered.last_offset)));
    }
    if noted_offset > 0 {
        fields.push(("noted", noted_words(found).to_owned()));
    }
    output.item("VerifyTopicResponse", found, &fields)
}

fn noted_words(found: &VerifyTopicResponse) -> &'static str {
    match found.noted() {
        NotedHash::Matches => "matches",
        NotedHash::Differs => "differs",
        NotedHash::Trimmed => "trimmed",
        NotedHash::Beyond => "beyond the end",
        NotedHash::Unspecified => "not reached",
    }
}

/// Whether everything is as it was, as an exit code.
fn judge(topic: &str, found: &VerifyTopicResponse, noted_offset: i64) -> Result<(), Failure> {
    if let Some(altered) = &found.altered {
        return Err(Failure::Local(altered_words(topic, altered)));
    }
    let why = match found.noted() {
        NotedHash::Matches => return Ok(()),
        NotedHash::Unspecified if noted_offset == 0 => return Ok(()),
        NotedHash::Unspecified => "it was not reached",
        NotedHash::Differs => "the chain has another hash there: it was made anew",
        NotedHash::Trimmed => "what was there is trimmed, and nothing is left to compare",
        NotedHash::Beyond => "the chain ends before: its end was removed or lost",
    };
    Err(Failure::Local(format!("the hash noted at offset {noted_offset} of topic {topic} is not confirmed: {why}")))
}

fn altered_words(topic: &str, altered: &AlteredRange) -> String {
    let AlteredRange { first_offset, last_offset, kind: _ } = altered;
    let how = match altered.kind() {
        Kind::Changed => "the events, or their hash, were changed",
        Kind::Unreadable => "events are missing or cannot be read",
        Kind::Unlinked => "their hash is missing",
        Kind::Unspecified => "they were altered",
    };
    format!("offsets {first_offset} to {last_offset} of topic {topic} are not what they were: {how}")
}

#[cfg(test)]
mod tests {
    use super::{AlteredRange, Kind, NotedHash, VerifyTopicResponse, judge};

    #[test]
    fn only_what_is_confirmed_succeeds() {
        let found = |noted: NotedHash| VerifyTopicResponse { noted: noted.into(), ..Default::default() };
        assert!(judge("orders", &found(NotedHash::Unspecified), 0).is_ok());
        assert!(judge("orders", &found(NotedHash::Matches), 5).is_ok());
        for noted in [NotedHash::Unspecified, NotedHash::Differs, NotedHash::Trimmed, NotedHash::Beyond] {
            assert_eq!(judge("orders", &found(noted), 5).unwrap_err().exit_code(), 1, "{noted:?}");
        }
        let altered = AlteredRange { first_offset: 3, last_offset: 9, kind: Kind::Changed.into() };
        let altered = VerifyTopicResponse { altered: Some(altered), ..found(NotedHash::Matches) };
        let failure = judge("orders", &altered, 5).unwrap_err();
        assert!(
            failure.exit_code() == 1 && failure.to_string().contains("offsets 3 to 9 of topic orders"),
            "{failure}"
        );
    }
}
