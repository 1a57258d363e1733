//! Verifying a topic, and the tokens that lead to the next part.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use tonic::Status;
use uuid::Uuid;

use super::{
    Checks,
    paging::{digest, refuse_token},
};
use crate::{
    broker::{Alteration, Altered, Noted, Verified, VerifiedPart, VerifyTopic},
    domain::{ChainEnd, ChainHash, LogId, Offset, TopicName},
    grpc::reason::Reason,
    proto::v1,
};

/// What is to be verified, checked.
pub(crate) fn verify_topic(request: v1::VerifyTopicRequest) -> Result<VerifyTopic, Status> {
    let v1::VerifyTopicRequest { name, noted_hash, noted_offset, page_token } = request;
    let mut checks = Checks::default();
    let topic = checks.topic("name", &name);
    let noted = noted(&mut checks, &noted_hash, noted_offset);
    let verify = topic.map(|topic| {
        let resume = resume(&mut checks, &topic, noted, &page_token);
        VerifyTopic { topic, noted, resume }
    });
    checks.finish(verify)
}

/// The end of the chain that somebody noted.
fn noted(checks: &mut Checks, hash: &str, offset: i64) -> Option<ChainEnd> {
    if hash.is_empty() && offset == 0 {
        return None;
    }
    let hash = checks.check(Reason::RequestInvalid, "noted_hash", ChainHash::parse(hash));
    if offset == 0 {
        checks.add(Reason::RequestInvalid, "noted_offset", "must be set with the hash; offsets begin at 1");
    }
    let offset = checks.offset(Reason::RequestInvalid, "noted_offset", offset);
    hash.zip(offset).map(|(hash, offset)| ChainEnd { offset, hash })
}

/// Where the part before ended.
fn resume(checks: &mut Checks, topic: &TopicName, noted: Option<ChainEnd>, token: &str) -> Option<VerifiedPart> {
    if token.is_empty() {
        return None;
    }
    let resume = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| parse(topic, noted, &bytes));
    if resume.is_none() {
        refuse_token(checks);
    }
    resume
}

/// A token: the log, the offset, the hash, and a digest of these and of the query.
fn parse(topic: &TopicName, noted: Option<ChainEnd>, token: &[u8]) -> Option<VerifiedPart> {
    let (log_id, rest) = token.split_first_chunk::<16>()?;
    let (offset, rest) = rest.split_first_chunk::<8>()?;
    let (hash, rest) = rest.split_first_chunk::<32>()?;
    let end = ChainEnd { offset: Offset::new(i64::from_be_bytes(*offset))?, hash: ChainHash(*hash) };
    let part = VerifiedPart { log_id: LogId(Uuid::from_bytes(*log_id)), end };
    (rest == seal(topic, noted, part)).then_some(part)
}

/// The token of the part that follows `part`.
fn next_page_token(verify: &VerifyTopic, part: VerifiedPart) -> String {
    let VerifyTopic { topic, noted, resume: _ } = verify;
    let VerifiedPart { log_id, end: ChainEnd { offset, hash } } = part;
    let bytes = [log_id.0.as_bytes().as_slice(), &offset.get().to_be_bytes(), &hash.0, &seal(topic, *noted, part)];
    URL_SAFE_NO_PAD.encode(bytes.concat())
}

/// A digest of everything that a token must not be carried over.
fn seal(topic: &TopicName, noted: Option<ChainEnd>, part: VerifiedPart) -> [u8; 8] {
    let VerifiedPart { log_id, end } = part;
    let mut parts = vec!["verify".to_owned(), topic.to_string(), log_id.to_string()];
    for ChainEnd { offset, hash } in [Some(end), noted].into_iter().flatten() {
        parts.extend([offset.to_string(), hash.to_string()]);
    }
    digest(&parts.iter().map(String::as_str).collect::<Vec<_>>())
}

/// What was found, for the wire.
pub(crate) fn verified(verify: &VerifyTopic, verified: Verified) -> v1::VerifyTopicResponse {
    use v1::{altered_range::Kind, verify_topic_response::NotedHash};
    let Verified { log_id, trimmed_to, head, linked_to, end, events, altered, noted, more } = verified;
    let altered = altered.map(|Altered { first, last, how }| v1::AlteredRange {
        first_offset: first.get(),
        last_offset: last.get(),
        kind: match how {
            Alteration::Changed => Kind::Changed,
            Alteration::Unreadable => Kind::Unreadable,
            Alteration::Unlinked => Kind::Unlinked,
        }
        .into(),
    });
    let noted = match noted {
        None => NotedHash::Unspecified,
        Some(Noted::Matches) => NotedHash::Matches,
        Some(Noted::Differs) => NotedHash::Differs,
        Some(Noted::Trimmed) => NotedHash::Trimmed,
        Some(Noted::Beyond) => NotedHash::Beyond,
    };
    v1::VerifyTopicResponse {
        log_id: log_id.to_string(),
        verified_offset: end.offset.get(),
        hash: if end.offset == Offset::ZERO { String::new() } else { end.hash.to_string() },
        altered,
        noted: noted.into(),
        packed_offset: linked_to.get(),
        head_offset: head.get(),
        earliest_offset: trimmed_to.next().get(),
        verified_events: i64::try_from(events).unwrap_or(i64::MAX),
        next_page_token: if more { next_page_token(verify, VerifiedPart { log_id, end }) } else { String::new() },
    }
}

#[cfg(test)]
mod tests {
    use super::{VerifiedPart, next_page_token, v1, verify_topic};
    use crate::domain::{ChainEnd, ChainHash, LogId, Offset};

    fn request(name: &str, noted: i64) -> v1::VerifyTopicRequest {
        let noted_hash = if noted > 0 { "ab".repeat(32) } else { String::new() };
        v1::VerifyTopicRequest { name: name.into(), noted_hash, noted_offset: noted, page_token: String::new() }
    }

    #[test]
    fn a_token_leads_on_in_its_own_query_only() {
        let end = ChainEnd { offset: Offset::new(5).unwrap(), hash: ChainHash([7; 32]) };
        let part = VerifiedPart { log_id: LogId(uuid::Uuid::from_u128(9)), end };
        let queries = [request("orders", 0), request("orders2", 0), request("orders", 3), request("orders", 4)];
        for (own, query) in queries.iter().enumerate() {
            let token = next_page_token(&verify_topic(query.clone()).unwrap(), part);
            for (n, other) in queries.iter().enumerate() {
                let taken = verify_topic(v1::VerifyTopicRequest { page_token: token.clone(), ..other.clone() });
                assert_eq!(taken.is_ok(), n == own, "query {n} with the token of {own}");
                assert!(taken.is_err() || taken.unwrap().resume == Some(part));
            }
            for at in 0..token.len() {
                let page_token =
                    format!("{}{}{}", &token[..at], if &token[at..=at] == "A" { "B" } else { "A" }, &token[at + 1..]);
                let taken = verify_topic(v1::VerifyTopicRequest { page_token, ..query.clone() });
                assert!(taken.is_err(), "a damaged token was taken");
            }
        }
    }

    #[test]
    fn a_noted_hash_needs_its_offset() {
        for (hash, offset) in [("ab".repeat(32), 0), (String::new(), 1), ("ab".repeat(31), 1), ("ab".repeat(32), -1)] {
            let request = v1::VerifyTopicRequest { noted_hash: hash, noted_offset: offset, ..request("orders", 0) };
            assert!(verify_topic(request.clone()).is_err(), "{request:?}");
        }
        assert!(verify_topic(request("orders", 1)).unwrap().noted.is_some());
    }
}
