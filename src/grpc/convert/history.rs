//! Looking into a topic's history, and the tokens that lead to its next page.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use tonic::Status;
use uuid::Uuid;

use super::{
    Checks,
    checks::text,
    filter,
    paging::{digest, page_size as size, refuse_token},
    timestamp_value,
};
use crate::{
    broker::{EventName, ListEvents, Order, Resume},
    domain::{Filter, LogId, Offset, Timestamp, TopicName, limits},
    grpc::reason::Reason,
    proto::v1,
};

/// A request for one event, checked.
pub(crate) fn get_event(request: v1::GetEventRequest) -> Result<(TopicName, EventName), Status> {
    use v1::get_event_request::By;
    let v1::GetEventRequest { topic, by, source } = request;
    let mut checks = Checks::default();
    let topic = checks.topic("topic", &topic);
    checks.check(Reason::RequestInvalid, "source", text(&source, limits::LABEL_BYTES));
    let name = match by {
        None => {
            checks.add(Reason::RequestInvalid, "by", "must be set: an offset or an id");
            None
        }
        Some(By::Offset(offset)) => {
            if !source.is_empty() {
                checks.add(Reason::RequestInvalid, "source", "belongs to an id; an offset needs none");
            }
            if offset == 0 {
                checks.add(Reason::RequestInvalid, "offset", "0 is before the first event; offsets begin at 1");
            }
            checks.offset(Reason::RequestInvalid, "offset", offset).map(EventName::Offset)
        }
        Some(By::Id(id)) => {
            if id.is_empty() {
                checks.add(Reason::RequestInvalid, "id", "is empty; give the id that the producer gave");
            }
            checks.check(Reason::RequestInvalid, "id", text(&id, limits::ID_BYTES));
            Some(EventName::Id { id: id.into(), source: source.into() })
        }
    };
    checks.finish(topic.zip(name))
}

/// A query, checked.
pub(crate) fn list_events(request: v1::ListEventsRequest) -> Result<ListEvents, Status> {
    let v1::ListEventsRequest {
        topic,
        filter: wanted,
        from_time,
        to_time,
        after_offset,
        before_offset,
        newest_first,
        page_size,
        page_token,
    } = request;
    let mut checks = Checks::default();
    let topic = checks.topic("topic", &topic);
    let filter = filter(&mut checks, "filter", wanted);
    let mut time = |field, time: Option<prost_types::Timestamp>| {
        time.and_then(|time| checks.check(Reason::RequestInvalid, field, timestamp_value(time)))
    };
    let (from_time, to_time) = (time("from_time", from_time), time("to_time", to_time));
    let mut offset = |field, offset: Option<i64>, default| match offset {
        None => Some(default),
        Some(offset) => checks.offset(Reason::RequestInvalid, field, offset),
    };
    let after = offset("after_offset", after_offset, Offset::ZERO);
    let before = offset("before_offset", before_offset, Offset::MAX);
    let page_size = size(&mut checks, page_size);
    let order = if newest_first { Order::NewestFirst } else { Order::OldestFirst };
    let parts = (|| Some((topic?, after?, before?, page_size?)))();
    let query = parts.map(|(topic, after, before, page_size)| ListEvents {
        topic,
        filter,
        from_time,
        to_time,
        after,
        before,
        order,
        page_size,
        resume: None,
    });
    let query = query.map(|query| {
        let resume = resume(&mut checks, &query, &page_token);
        ListEvents { resume, ..query }
    });
    checks.finish(query)
}

/// Where the page before ended.
fn resume(checks: &mut Checks, query: &ListEvents, page_token: &str) -> Option<Resume> {
    if page_token.is_empty() {
        return None;
    }
    let resume = URL_SAFE_NO_PAD.decode(page_token).ok().and_then(|bytes| parse(query, &bytes));
    if resume.is_none() {
        refuse_token(checks);
    }
    resume
}

/// A token: the log, the offset, and a digest of both and of the query.
fn parse(query: &ListEvents, token: &[u8]) -> Option<Resume> {
    let (log_id, rest) = token.split_first_chunk::<16>()?;
    let (offset, rest) = rest.split_first_chunk::<8>()?;
    let resume = Resume { log_id: LogId(Uuid::from_bytes(*log_id)), offset: Offset::new(i64::from_be_bytes(*offset))? };
    (rest == seal(query, resume)).then_some(resume)
}

/// The token of the page that follows, or "".
pub(crate) fn next_page_token(query: &ListEvents, next: Option<Resume>) -> String {
    let Some(resume) = next else { return String::new() };
    let offset = resume.offset.get().to_be_bytes();
    URL_SAFE_NO_PAD.encode([resume.log_id.0.as_bytes().as_slice(), &offset, &seal(query, resume)].concat())
}

/// A digest of everything that a token must not be carried over; the size of pages may change between them.
fn seal(query: &ListEvents, resume: Resume) -> [u8; 8] {
    let ListEvents { topic, filter, from_time, to_time, after, before, order, page_size: _, resume: _ } = query;
    let Filter { types, keys, attributes, correlation_ids, producers } = filter;
    let time = |time: &Option<Timestamp>| time.map_or_else(String::new, |time| time.micros().to_string());
    let mut parts = vec![
        "events".to_owned(),
        resume.log_id.to_string(),
        resume.offset.to_string(),
        topic.to_string(),
        time(from_time),
        time(to_time),
        after.to_string(),
        before.to_string(),
        format!("{order:?}"),
        types.len().to_string(),
    ];
    parts.extend(types.iter().map(ToString::to_string));
    for list in [keys, correlation_ids, producers] {
        parts.push(list.len().to_string());
        parts.extend(list.iter().map(ToString::to_string));
    }
    parts.extend(attributes.iter().flat_map(|(name, value)| [name.to_string(), value.to_string()]));
    digest(&parts.iter().map(String::as_str).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::{Resume, list_events, next_page_token, v1};
    use crate::domain::{LogId, Offset};

    fn request() -> v1::ListEventsRequest {
        v1::ListEventsRequest { topic: "orders".into(), ..Default::default() }
    }

    fn resume(offset: i64) -> Resume {
        Resume { log_id: LogId(uuid::Uuid::from_u128(7)), offset: Offset::new(offset).unwrap() }
    }

    fn token(request: v1::ListEventsRequest) -> String {
        next_page_token(&list_events(request).unwrap(), Some(resume(5)))
    }

    #[test]
    fn a_token_leads_on_in_its_own_query_whatever_the_size_of_its_pages() {
        let page_token = token(request());
        let query = list_events(v1::ListEventsRequest { page_size: 7, page_token, ..request() }).unwrap();
        assert_eq!((query.resume, query.page_size), (Some(resume(5)), 7));
        assert_eq!(next_page_token(&query, None), "");
    }

    #[test]
    fn every_other_query_refuses_a_token() {
        let time = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
        let filter = |filter| v1::ListEventsRequest { filter: Some(filter), ..request() };
        let none = v1::Filter::default;
        let others = [
            v1::ListEventsRequest { topic: "orders2".into(), ..request() },
            v1::ListEventsRequest { from_time: time, ..request() },
            v1::ListEventsRequest { to_time: time, ..request() },
            v1::ListEventsRequest { after_offset: Some(1), ..request() },
            v1::ListEventsRequest { before_offset: Some(1), ..request() },
            v1::ListEventsRequest { newest_first: true, ..request() },
            filter(v1::Filter { types: vec!["a".into()], ..none() }),
            filter(v1::Filter { types: vec!["a*".into()], ..none() }),
            filter(v1::Filter { keys: vec!["a".into()], ..none() }),
            filter(v1::Filter { correlation_ids: vec!["a".into()], ..none() }),
            filter(v1::Filter { producers: vec!["a".into()], ..none() }),
            filter(v1::Filter { attributes: [("a".to_owned(), "b".to_owned())].into(), ..none() }),
        ];
        let mut tokens = vec![token(request())];
        tokens.extend(others.iter().cloned().map(token));
        for (own, request) in std::iter::once(&request()).chain(&others).enumerate() {
            for (n, page_token) in tokens.iter().cloned().enumerate() {
                let taken = list_events(v1::ListEventsRequest { page_token, ..request.clone() });
                assert_eq!(taken.is_ok(), n == own, "query {own} with the token of {n}");
            }
        }
    }

    #[test]
    fn a_token_with_any_character_changed_is_refused() {
        let good = token(request());
        for at in 0..good.len() {
            for other in ["A", "B", "_", "=", "ä", ""] {
                let page_token = format!("{}{other}{}", &good[..at], &good[at + 1..]);
                let taken = list_events(v1::ListEventsRequest { page_token: page_token.clone(), ..request() });
                assert!(taken.is_err() || page_token == good, "{page_token}");
            }
        }
        for page_token in ["x", "AAAA", &good[1..], &good.repeat(2)] {
            assert!(list_events(v1::ListEventsRequest { page_token: page_token.into(), ..request() }).is_err());
        }
    }
}
