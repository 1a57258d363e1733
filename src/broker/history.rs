//! Looking into a topic's history: one event, or page by page.
//!
//! Both ask the store: an event that was trimmed, on whatever server, is not shown any more.

use bytestring::ByteString;

use super::{Broker, frame::frame_size, topic_cache::TopicHandle};
use crate::{
    domain::{
        Caller, Event, EventBody, Filter, IdKey, LogId, Offset, Permission, Principal, ReadCap, Segment, Timestamp,
        TopicName, limits,
    },
    store::{LogRead, StoreError},
};

/// How one event is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventName {
    /// By its place.
    Offset(Offset),
    /// By the id that its producer gave.
    Id {
        /// The id.
        id: ByteString,
        /// The source; empty: the caller's own.
        source: ByteString,
    },
}

/// A query over a topic's history; all conditions must hold.
#[derive(Debug, Clone)]
pub struct ListEvents {
    /// The topic.
    pub topic: TopicName,
    /// Which events.
    pub filter: Filter,
    /// Recorded at or after.
    pub from_time: Option<Timestamp>,
    /// Recorded before.
    pub to_time: Option<Timestamp>,
    /// Only offsets greater than this one.
    pub after: Offset,
    /// Only offsets less than this one.
    pub before: Offset,
    /// In which order.
    pub order: Order,
    /// Events in a page, at most.
    pub page_size: usize,
    /// Where the page before ended; `None`: the first page.
    pub resume: Option<Resume>,
}

/// The order of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Ascending offsets.
    OldestFirst,
    /// Descending offsets.
    NewestFirst,
}

/// Where a page ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    /// The incarnation of the log.
    pub log_id: LogId,
    /// The last offset that was looked at.
    pub offset: Offset,
}

/// One page of events, in the order that was asked for.
#[derive(Debug)]
pub struct EventPage<T> {
    /// What the caller made of the events; there may be none although another page follows.
    pub events: Vec<T>,
    /// Where the next page goes on; `None`: there is none.
    pub next: Option<Resume>,
}

/// Why nothing is shown.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The caller may not see this topic's events.
    #[error("{principal} may not read events of topic {topic}")]
    Denied {
        /// The caller.
        principal: ByteString,
        /// The topic.
        topic: TopicName,
    },
    /// There is no such topic.
    #[error("topic {topic} does not exist")]
    TopicNotFound {
        /// The topic.
        topic: TopicName,
    },
    /// The topic keeps no such event, or none that the caller may see.
    #[error("topic {topic} keeps no event with {name}")]
    EventNotFound {
        /// The topic.
        topic: TopicName,
        /// How the event was named, in words.
        name: String,
    },
    /// The page token belongs to another incarnation of the log.
    #[error("topic {topic} was replaced between two pages: its log_id is {log_id}; begin again without a token")]
    LogReplaced {
        /// The topic.
        topic: TopicName,
        /// The incarnation that is.
        log_id: LogId,
    },
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// What is still to be looked at: offsets after `low`, up to `high`.
#[derive(Debug, Clone, Copy)]
struct Range {
    low: Offset,
    high: Offset,
}

/// A page that is being filled.
struct Filling<'a, T, F> {
    query: &'a ListEvents,
    /// Copies what is wanted of an event, so that the page does not keep whole segments in memory.
    copy: F,
    events: Vec<T>,
    bytes: usize,
    /// Events looked at, and their bytes.
    looked: usize,
    looked_bytes: usize,
}

/// What becomes of an event of the range.
enum Look {
    /// It is in the page, or passed over.
    Done,
    /// It belongs to the next page.
    Full,
    /// Neither it nor any further one is wanted.
    Over,
}

impl Broker {
    /// One event. A producer sees its own events only, and of others not even that they are there.
    pub async fn get_event(
        &self,
        principal: &Principal,
        topic: &TopicName,
        name: EventName,
    ) -> Result<Event, HistoryError> {
        let handle = self.readable(principal, Permission::ReadEvents, topic).await?;
        let words = match &name {
            EventName::Offset(offset) => format!("offset {offset}"),
            EventName::Id { id, .. } => format!("id {:?}", &**id),
        };
        let missing = || HistoryError::EventNotFound { topic: topic.clone(), name: words };
        let found = match name {
            EventName::Offset(offset) => self.event_at(&handle, offset).await?,
            EventName::Id { id, source } => {
                let source = if source.is_empty() { EventBody::default_source(&principal.name) } else { source };
                let known = self.store().find_ids(handle.topic.id, &[IdKey::of(&source, &id)]).await?;
                match known.first() {
                    None => None,
                    Some(known) => self
                        .event_at(&handle, known.offset)
                        .await?
                        .filter(|event| event.body.id == id && event.body.source == source),
                }
            }
        };
        let visible = |event: &Event| match &principal.caller {
            Caller::Producer { .. } => event.body.producer == principal.name,
            Caller::User { .. } | Caller::Consumer { .. } => true,
        };
        found.filter(visible).ok_or_else(missing)
    }

    async fn event_at(&self, handle: &TopicHandle, offset: Offset) -> Result<Option<Event>, StoreError> {
        let bounds = handle.topic.bounds;
        if offset <= bounds.trimmed_to || offset > bounds.head {
            return Ok(None);
        }
        let one = ReadCap { events: 1, bytes: 1 };
        let read = self.read_history(handle, Order::OldestFirst, offset.previous(), one).await?;
        let segment = read.and_then(|read| read.segment);
        Ok(segment.and_then(|segment| segment.into_events().into_iter().find(|event| event.offset == offset)))
    }

    /// One page of a topic's history: everything that was recorded before the call and matches, as `copy`
    /// makes it, until the page is full or enough was looked at.
    pub async fn list_events<T>(
        &self,
        principal: &Principal,
        query: &ListEvents,
        copy: impl Fn(&Event) -> T,
    ) -> Result<EventPage<T>, HistoryError> {
        let handle = self.readable(principal, Permission::ListEvents, &query.topic).await?;
        let log_id = handle.topic.log_id;
        if query.resume.is_some_and(|resume| resume.log_id != log_id) {
            return Err(HistoryError::LogReplaced { topic: query.topic.clone(), log_id });
        }
        let mut range = self.range(&handle, query).await?;
        let mut page = Filling { query, copy, events: Vec::new(), bytes: 0, looked: 0, looked_bytes: 0 };
        while range.low < range.high {
            let cap = page.cap();
            let from = match query.order {
                Order::OldestFirst => range.low,
                Order::NewestFirst => range.high,
            };
            let read = self.read_history(&handle, query.order, from, cap).await?;
            let missing = || HistoryError::TopicNotFound { topic: query.topic.clone() };
            // What was trimmed meanwhile is not there any more, up to the end of the range.
            let Some(segment) = read.ok_or_else(missing)?.segment else { break };
            match page.take(segment, &mut range) {
                Look::Done => {}
                Look::Full => {
                    let offset = match query.order {
                        Order::OldestFirst => range.low,
                        Order::NewestFirst => range.high.next(),
                    };
                    let next = (range.low < range.high).then_some(Resume { log_id, offset });
                    return Ok(EventPage { events: page.events, next });
                }
                Look::Over => break,
            }
        }
        Ok(EventPage { events: page.events, next: None })
    }

    /// What a query has to look at: its own bounds, those of the topic as it is now, and where the page
    /// before ended. The end that a listing begins at is found by its time; the other one is met on the way.
    async fn range(&self, handle: &TopicHandle, query: &ListEvents) -> Result<Range, HistoryError> {
        let bounds = handle.topic.bounds;
        let mut low = query.after.max(bounds.trimmed_to);
        let mut high = query.before.previous().min(bounds.head);
        let (near, far) = match query.order {
            Order::OldestFirst => (query.from_time, &mut low),
            Order::NewestFirst => (query.to_time, &mut high),
        };
        match (query.resume, near, query.order) {
            (Some(resume), _, Order::OldestFirst) => *far = resume.offset.max(*far),
            (Some(resume), _, Order::NewestFirst) => *far = resume.offset.previous().min(*far),
            (None, None, Order::OldestFirst | Order::NewestFirst) => {}
            (None, Some(time), order) => {
                let missing = || HistoryError::TopicNotFound { topic: query.topic.clone() };
                let before = self.store().before_time(handle.topic.id, time).await?.ok_or_else(missing)?;
                *far = match order {
                    Order::OldestFirst => before.max(*far),
                    Order::NewestFirst => before.min(*far),
                };
            }
        }
        Ok(Range { low, high })
    }

    /// The topic as it is now, if the caller may see events of it.
    pub(super) async fn readable(
        &self,
        principal: &Principal,
        permission: Permission,
        topic: &TopicName,
    ) -> Result<TopicHandle, HistoryError> {
        if !principal.may_on_topic(permission, topic) {
            return Err(HistoryError::Denied { principal: principal.name.clone(), topic: topic.clone() });
        }
        self.topic_now(topic).await?.ok_or_else(|| HistoryError::TopicNotFound { topic: topic.clone() })
    }

    /// A read of the store, in turn with those of the streams, so that all of them fit in memory.
    async fn read_history(
        &self,
        handle: &TopicHandle,
        order: Order,
        from: Offset,
        cap: ReadCap,
    ) -> Result<Option<LogRead>, StoreError> {
        let _turn = handle.log.turn_to_read().await;
        match order {
            Order::OldestFirst => self.store().read(handle.topic.id, from, cap).await,
            Order::NewestFirst => self.store().read_back(handle.topic.id, from, cap).await,
        }
    }
}

impl<T, F: Fn(&Event) -> T> Filling<'_, T, F> {
    /// How much to read next: no more than the page can take, if everything passes the filter.
    fn cap(&self) -> ReadCap {
        let wanted = self.query.page_size.saturating_sub(self.events.len()).max(1);
        let left = limits::PAGE_LOOKS.saturating_sub(self.looked).max(1);
        let events = if self.query.filter.is_empty() { wanted } else { limits::SEGMENT_EVENTS };
        ReadCap { events: events.min(left), bytes: limits::SEGMENT_BYTES }
    }

    /// Looks at the events of a segment in the order of the listing, and moves the range over them.
    fn take(&mut self, segment: Segment, range: &mut Range) -> Look {
        let mut events = segment.into_events();
        if self.query.order == Order::NewestFirst {
            events.reverse();
        }
        for event in events {
            let offset = event.offset;
            // Only if what was trimmed meanwhile reaches beyond the other end.
            if offset <= range.low || offset > range.high {
                return Look::Over;
            }
            match self.look(&event) {
                Look::Done => match self.query.order {
                    Order::OldestFirst => range.low = offset,
                    Order::NewestFirst => range.high = offset.previous(),
                },
                end @ (Look::Full | Look::Over) => return end,
            }
        }
        // A page that is just full says at once whether another one follows.
        if self.is_full() { Look::Full } else { Look::Done }
    }

    fn is_full(&self) -> bool {
        self.events.len() >= self.query.page_size
            || self.looked >= limits::PAGE_LOOKS
            || self.looked_bytes >= limits::PAGE_LOOK_BYTES
    }

    fn look(&mut self, event: &Event) -> Look {
        // Recorded time never decreases along a topic.
        let over = match self.query.order {
            Order::OldestFirst => self.query.to_time.is_some_and(|to| event.recorded_time >= to),
            Order::NewestFirst => self.query.from_time.is_some_and(|from| event.recorded_time < from),
        };
        if over {
            return Look::Over;
        }
        if self.is_full() {
            return Look::Full;
        }
        if self.query.filter.matches(&event.body) {
            let size = frame_size(event, &self.query.topic);
            if !self.events.is_empty() && self.bytes + size > limits::FRAME_BYTES {
                return Look::Full;
            }
            self.bytes += size;
            self.events.push((self.copy)(event));
        }
        self.looked += 1;
        self.looked_bytes += event.body.size();
        Look::Done
    }
}
