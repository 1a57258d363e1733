//! The log ahead of what a consumer was dispatched: which of its events pass the filter.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    broker::{
        frame::frame_size,
        log::{Found, Mark, TopicLog},
    },
    domain::{Candidate, Filter, KeyHash, Offset, Segment, TopicName, limits},
    store::StoreError,
};

/// Candidates are looked for no further than this, for a claim takes time in their number.
const CANDIDATES: usize = 4096;
/// A claim is offered twice as many as it may take, at least so many,
const LEAST: usize = 64;
/// and so many if that is not more, however few the last one got past.
const PROMISING: usize = 512;
/// And no further than events of so many bytes, which are in memory until they are sent.
const BYTES: usize = 16 << 20;
/// Segments of events that wait for their keys are in memory as long as all have no more bytes.
const KEPT_BYTES: usize = 32 << 20;
/// Events that are looked at before the claim goes on with what was found, so that a filter that selects
/// little lets retries pass.
const LOOKED_AT: u64 = 50_000;

/// Events that were read and not dispatched.
#[derive(Debug)]
pub(super) struct Ahead {
    topic: TopicName,
    /// Nothing up to here is among the candidates.
    after: Offset,
    /// Everything up to here was looked at.
    up_to: Offset,
    candidates: VecDeque<(Candidate, usize)>,
    /// So many of them the next claim may take, for all that the last one says.
    promising: usize,
    bytes: usize,
    segments: VecDeque<Arc<Segment>>,
    /// The rest of a segment that has more than was wanted.
    rest: Option<Arc<Segment>>,
}

/// How looking ahead ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looked {
    /// There is more.
    More,
    /// There was nothing behind what was looked at.
    AtHead,
    /// The log lost its tail.
    Shortened(Offset),
    /// The topic is gone.
    Deleted,
}

impl Ahead {
    pub(super) fn new(topic: TopicName, after: Offset) -> Self {
        let (candidates, segments) = (VecDeque::new(), VecDeque::new());
        Self { topic, after, up_to: after, candidates, promising: CANDIDATES, bytes: 0, segments, rest: None }
    }

    pub(super) fn after(&self) -> Offset {
        self.after
    }

    pub(super) fn up_to(&self) -> Offset {
        self.up_to
    }

    pub(super) fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    /// The segment of an event, if it is here.
    pub(super) fn segment_of(&self, offset: Offset) -> Option<Arc<Segment>> {
        let place = self.segments.partition_point(|segment| segment.last() < offset);
        self.segments.get(place).filter(|segment| segment.first() <= offset).cloned()
    }

    /// The candidates for a claim of at most `wanted`. There are more of them than that if some must wait for their
    /// keys, and fewer if the last claim was stopped by those: the store looks at each.
    pub(super) fn candidates(&self, wanted: usize) -> (Vec<Candidate>, Offset) {
        let take = wanted.saturating_mul(2).clamp(LEAST, self.promising);
        let taken: Vec<_> = self.candidates.iter().take(take).map(|(candidate, _)| *candidate).collect();
        let up_to = match taken.last() {
            Some(last) if taken.len() < self.candidates.len() => last.offset,
            _ => self.up_to,
        };
        (taken, up_to)
    }

    /// Everything up to `dispatched` was dispatched, here or elsewhere, but for what is held.
    pub(super) fn dispatched(&mut self, dispatched: Offset, held: &[Candidate]) {
        if dispatched > self.up_to || dispatched < self.after {
            *self = Self::new(self.topic.clone(), dispatched);
            return;
        }
        let before = self.candidates.len();
        while let Some((candidate, size)) = self.candidates.front()
            && candidate.offset <= dispatched
        {
            self.bytes -= size;
            self.candidates.pop_front();
        }
        let taken = before - self.candidates.len();
        self.promising = (taken + taken / 2).clamp(PROMISING, CANDIDATES);
        self.segments.retain(|segment| {
            let place = held.partition_point(|candidate| candidate.offset < segment.first());
            segment.last() > dispatched || held.get(place).is_some_and(|candidate| candidate.offset <= segment.last())
        });
        let mut bytes: usize = self.segments.iter().map(|segment| segment.bytes()).sum();
        while bytes > KEPT_BYTES
            && let Some(oldest) = self.segments.pop_front_if(|segment| segment.last() <= dispatched)
        {
            bytes -= oldest.bytes();
        }
        self.after = dispatched;
    }

    /// Looks for candidates until there are enough for a claim of `wanted`.
    pub(super) async fn fill(
        &mut self,
        log: &Arc<TopicLog>,
        filter: &Filter,
        wanted: usize,
        mark: Mark,
    ) -> Result<Looked, Arc<StoreError>> {
        let wanted = wanted.saturating_mul(2).clamp(LEAST, CANDIDATES);
        let begin = self.up_to;
        while self.candidates.len() < wanted && self.bytes < BYTES && self.up_to.since(begin) < LOOKED_AT {
            let segment = match self.rest.take() {
                Some(rest) => rest,
                None => match log.read(self.up_to, mark).await? {
                    Found::Events { segment, .. } => segment,
                    Found::Nothing => return Ok(Looked::AtHead),
                    Found::Trimmed { to } => {
                        // The claim counts them.
                        self.up_to = to;
                        continue;
                    }
                    Found::Deleted => return Ok(Looked::Deleted),
                    Found::Shortened { head } => return Ok(Looked::Shortened(head)),
                },
            };
            self.take(segment, filter, wanted);
        }
        Ok(Looked::More)
    }

    fn take(&mut self, segment: Arc<Segment>, filter: &Filter, wanted: usize) {
        let all = filter.is_empty();
        let mut any = false;
        for event in segment.after(self.up_to) {
            if self.candidates.len() >= wanted && self.bytes >= limits::SEGMENT_BYTES || self.bytes >= BYTES {
                self.rest = Some(segment.clone());
                break;
            }
            self.up_to = event.offset;
            if all || filter.matches(&event.body) {
                let size = frame_size(event, &self.topic);
                let key = KeyHash::of(&event.body.key);
                self.candidates.push_back((Candidate { offset: event.offset, key }, size));
                self.bytes += size;
                any = true;
            }
        }
        if any {
            self.segments.push_back(segment);
        }
    }
}
