//! Leased events on their way to a client.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    broker::frame::frame_size,
    domain::{Attempt, Event, LeaseId, Offset, Segment, TopicName},
};

/// Deliveries of one lease, as one frame has them.
#[derive(Debug, Clone)]
pub struct Deliveries {
    /// The lease.
    pub lease: LeaseId,
    /// How long it lasts.
    pub remaining: Duration,
    /// The topic of the events.
    pub topic: TopicName,
    /// Each event once, in order.
    pub events: Vec<Delivery>,
}

/// One attempt at one event.
#[derive(Debug, Clone)]
pub struct Delivery {
    event: Found,
    /// How often it may have been sent, this time included.
    pub attempt: u32,
}

#[derive(Debug, Clone)]
enum Found {
    /// In a segment that others read too.
    Shared(Arc<Segment>, usize),
    /// Read for this delivery.
    Own(Box<Event>),
}

impl Delivery {
    /// The event.
    pub fn event(&self) -> &Event {
        match &self.event {
            Found::Shared(segment, place) => &segment.events()[*place],
            Found::Own(event) => event,
        }
    }
}

/// A lease of which not everything was sent.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) lease: LeaseId,
    /// Until when the server knows that it lasts, by its monotonic clock.
    pub(super) until: Instant,
    unsent: VecDeque<(Attempt, Option<Found>)>,
}

impl Parcel {
    pub(super) fn new(lease: LeaseId, until: Instant, attempts: Vec<Attempt>) -> Self {
        Self { lease, until, unsent: attempts.into_iter().map(|attempt| (attempt, None)).collect() }
    }

    /// Finds events in the segments that have them.
    pub(super) fn find(&mut self, segment_of: impl Fn(Offset) -> Option<Arc<Segment>>) {
        for (attempt, found) in self.unsent.iter_mut().filter(|(_, found)| found.is_none()) {
            if let Some(segment) = segment_of(attempt.offset) {
                let place = usize::try_from(attempt.offset.since(segment.first())).unwrap_or(usize::MAX);
                *found = Some(Found::Shared(segment, place));
            }
        }
    }

    /// What is still to be sent.
    pub(super) fn unsent(&self) -> impl Iterator<Item = Offset> {
        self.unsent.iter().map(|(attempt, _)| attempt.offset)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unsent.is_empty()
    }

    /// The first events that were not found in memory, of the next `limit`.
    pub(super) fn missing(&self, limit: usize) -> Vec<Offset> {
        let next = self.unsent.iter().take(limit);
        next.filter(|(_, found)| found.is_none()).map(|(attempt, _)| attempt.offset).collect()
    }

    /// Takes in events that were read from the store, of those at `wanted` up to `up_to`; the others of those
    /// are gone, and are returned and left out.
    pub(super) fn read(&mut self, wanted: &[Offset], events: Vec<Event>, up_to: Offset) -> Vec<Offset> {
        let mut events = events.into_iter().peekable();
        let mut gone = Vec::new();
        for (attempt, found) in &mut self.unsent {
            if found.is_some() || attempt.offset > up_to || wanted.binary_search(&attempt.offset).is_err() {
                continue;
            }
            while events.next_if(|event| event.offset < attempt.offset).is_some() {}
            match events.next_if(|event| event.offset == attempt.offset) {
                Some(event) => *found = Some(Found::Own(Box::new(event))),
                None => gone.push(attempt.offset),
            }
        }
        self.unsent.retain(|(attempt, _)| gone.binary_search(&attempt.offset).is_err());
        gone
    }

    /// The next frame: as many of the events that were found as fit, at least one; `None` if the next one
    /// was not found yet.
    pub(super) fn next(&mut self, topic: &TopicName, max_events: usize, max_bytes: usize) -> Option<Deliveries> {
        let mut events = Vec::new();
        let mut bytes = 0;
        while let Some((attempt, Some(found))) = self.unsent.front() {
            let delivery = Delivery { event: found.clone(), attempt: attempt.number };
            let size = frame_size(delivery.event(), topic);
            if !events.is_empty() && (events.len() >= max_events || bytes + size > max_bytes) {
                break;
            }
            bytes += size;
            events.push(delivery);
            self.unsent.pop_front();
        }
        let remaining = self.until.saturating_duration_since(Instant::now());
        (!events.is_empty()).then(|| Deliveries { lease: self.lease, remaining, topic: topic.clone(), events })
    }
}
