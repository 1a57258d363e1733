//! Along a chain, link by link, beside the events that it is of.

use std::collections::VecDeque;

use super::{Alteration, Altered, Noted};
use crate::{
    broker::{Broker, topic_cache::TopicHandle},
    domain::{ChainEnd, Event, Link, Offset, ReadCap, limits},
    store::{Chain, LogRead, StoreError},
};

/// Bytes of the events of a link, at most: those of one request, with what is counted for each event.
const LINK_BYTES: usize = 4 * limits::REQUEST_BYTES;

/// How far a walk has come.
pub(super) struct Walk<'a> {
    broker: &'a Broker,
    handle: &'a TopicHandle,
    /// What somebody noted, and what became of it.
    pub(super) noted: Option<ChainEnd>,
    pub(super) found: Option<Noted>,
    /// Everything up to here is what it was.
    pub(super) end: ChainEnd,
    /// Events that were compared.
    pub(super) events: u64,
    bytes: usize,
    /// Events that were read, and not compared yet.
    ahead: VecDeque<Event>,
}

/// Where some links have led.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// To their end, behind which there are others.
    Further,
    /// As far as one call goes.
    Enough,
    /// To the end of the chain.
    End,
    /// To events that are not what they were.
    Altered(Altered),
}

/// What a link says of its events.
enum Compared {
    Same,
    /// They were trimmed meanwhile.
    Trimmed,
    Differ(Alteration),
}

/// The events of a link, as far as they are there.
enum Covered {
    Events(Vec<Event>),
    Trimmed,
    Wrong(Alteration),
}

impl<'a> Walk<'a> {
    pub(super) fn new(broker: &'a Broker, handle: &'a TopicHandle, noted: Option<ChainEnd>, end: ChainEnd) -> Self {
        Self { broker, handle, noted, found: None, end, events: 0, bytes: 0, ahead: VecDeque::new() }
    }

    /// Goes along links that follow where it is.
    pub(super) async fn along(&mut self, chain: &Chain) -> Result<Step, StoreError> {
        if let Some(altered) = self.hold_on(chain) {
            return Ok(Step::Altered(altered));
        }
        for link in &chain.links {
            if let Some(altered) = self.misplaced(chain, link) {
                return Ok(Step::Altered(altered));
            }
            let end = ChainEnd { offset: link.last, hash: link.hash };
            match self.compare(link).await? {
                Compared::Same => self.pass(end, false),
                Compared::Trimmed => self.pass(end, true),
                Compared::Differ(how) => {
                    return Ok(Step::Altered(Altered { first: link.first, last: link.last, how }));
                }
            }
            let enough = self.events >= limits::PAGE_LOOKS as u64 || self.bytes >= limits::PAGE_LOOK_BYTES;
            if enough && self.end.offset < chain.linked_to {
                return Ok(Step::Enough);
            }
        }
        let ended = chain.links.is_empty() || self.end.offset >= chain.linked_to;
        Ok(if ended { Step::End } else { Step::Further })
    }

    /// Finds the link at which the walk is, or goes on to the last one that was trimmed.
    fn hold_on(&mut self, chain: &Chain) -> Option<Altered> {
        let anchored = chain.anchor.map_or(Offset::ZERO, |anchor| anchor.last);
        match chain.anchor {
            Some(anchor) if anchored > self.end.offset => {
                self.pass(ChainEnd { offset: anchor.last, hash: anchor.hash }, true);
                None
            }
            Some(anchor) if anchored == self.end.offset => (anchor.hash != self.end.hash).then_some(Altered {
                first: anchor.first,
                last: anchor.last,
                how: Alteration::Changed,
            }),
            // The chain begins here.
            None if self.end.offset == Offset::ZERO => None,
            Some(_) | None => {
                Some(Altered { first: anchored.next(), last: self.end.offset, how: Alteration::Unlinked })
            }
        }
    }

    /// What is wrong with the place of a link, which must follow without a hole.
    fn misplaced(&self, chain: &Chain, link: &Link) -> Option<Altered> {
        let expected = self.end.offset.max(chain.trimmed_to).next();
        if link.first > expected {
            return Some(Altered { first: expected, last: link.first.previous(), how: Alteration::Unlinked });
        }
        let fits = link.first == expected && link.last.since(link.first) < limits::SEGMENT_EVENTS as u64;
        // What comes before is what it was, whatever this link says of it.
        (!fits).then_some(Altered { first: expected.min(link.last), last: link.last, how: Alteration::Changed })
    }

    /// Goes on to the end of a link, and looks whether the noted hash is there.
    fn pass(&mut self, end: ChainEnd, trimmed: bool) {
        let passed = self.noted.filter(|noted| self.end.offset < noted.offset && noted.offset <= end.offset);
        if let Some(noted) = passed {
            self.found = Some(match (noted == end, noted.offset == end.offset, trimmed) {
                (true, _, _) => Noted::Matches,
                (false, false, true) => Noted::Trimmed,
                (false, true, _) | (false, false, false) => Noted::Differs,
            });
        }
        self.end = end;
    }

    async fn compare(&mut self, link: &Link) -> Result<Compared, StoreError> {
        let events = match self.covered(link).await? {
            Covered::Events(events) => events,
            Covered::Trimmed => return Ok(Compared::Trimmed),
            Covered::Wrong(how) => return Ok(Compared::Differ(how)),
        };
        self.events += events.len() as u64;
        self.bytes += events.iter().map(|event| event.body.size()).sum::<usize>();
        let same = link.is_of(self.end.hash, &events);
        Ok(if same { Compared::Same } else { Compared::Differ(Alteration::Changed) })
    }

    /// The events of a link: those that were read ahead, and more as needed.
    async fn covered(&mut self, link: &Link) -> Result<Covered, StoreError> {
        let mut bytes = 0;
        let mut events: Vec<Event> = Vec::new();
        loop {
            while let Some(event) = self.ahead.pop_front() {
                if event.offset > link.last {
                    self.ahead.push_front(event);
                    break;
                }
                // What was read ahead may have been trimmed since.
                if event.offset >= link.first {
                    bytes += event.body.size();
                    events.push(event);
                }
            }
            let position = events.last().map_or(link.first.previous(), |event| event.offset);
            if position == link.last {
                return Ok(Covered::Events(events));
            }
            if bytes > LINK_BYTES {
                return Ok(Covered::Wrong(Alteration::Changed));
            }
            let read = match self.read(position, link).await {
                Ok(Some(read)) => read,
                // It was deleted, which the next look at the chain finds.
                Ok(None) => return Ok(Covered::Trimmed),
                Err(StoreError::Corrupt(_)) => return Ok(Covered::Wrong(Alteration::Unreadable)),
                Err(error) => return Err(error),
            };
            if read.trimmed_to >= link.last {
                return Ok(Covered::Trimmed);
            }
            match read.segment.filter(|segment| segment.first() == position.next()) {
                Some(segment) => self.ahead = segment.into_events().into(),
                None => return Ok(Covered::Wrong(Alteration::Unreadable)),
            }
        }
    }

    /// Reads on, several links at once. If what comes cannot be read, only what belongs to this link.
    async fn read(&self, after: Offset, link: &Link) -> Result<Option<LogRead>, StoreError> {
        let _turn = self.handle.log.turn_to_read().await;
        let (store, topic) = (self.broker.store(), self.handle.topic.id);
        let cap = ReadCap { events: limits::SEGMENT_EVENTS, bytes: limits::SEGMENT_BYTES };
        match store.read(topic, after, cap).await {
            Err(StoreError::Corrupt(_)) => {
                let events = usize::try_from(link.last.since(after)).unwrap_or(usize::MAX);
                store.read(topic, after, ReadCap { events, bytes: LINK_BYTES }).await
            }
            other => other,
        }
    }
}
