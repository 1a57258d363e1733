//! What a stream sends.

use std::{sync::Arc, time::Duration};

use super::queue::Deliveries;
use crate::domain::{Bounds, Epoch, Event, Filter, LogId, Offset, Segment, SubscriptionId, TopicName};

/// One message of a stream.
#[derive(Debug, Clone)]
pub enum Frame {
    /// First, but for heartbeats of a stream that waits for its consumer.
    Started {
        /// Names the stream.
        subscription: SubscriptionId,
        /// To be sent with commits; `None` on a plain topic.
        epoch: Option<Epoch>,
        /// Where it begins.
        position: Position,
        /// How often it gives a sign of life.
        heartbeat_interval: Duration,
        /// The incarnation of the log.
        log_id: LogId,
    },
    /// Events.
    Batch {
        /// The events.
        run: Run,
        /// Everything up to here has been sent or left out by the filter.
        position: Position,
    },
    /// Leased events.
    Deliveries(Deliveries),
    /// Everything recorded so far has been sent.
    CaughtUp {
        /// Where that is.
        position: Position,
    },
    /// Nothing else was sent for a heartbeat interval.
    Heartbeat {
        /// Everything up to here has been sent or left out by the filter.
        position: Position,
        /// Delivery is stopped.
        paused: bool,
        /// The stream waits for its consumer.
        waiting: bool,
    },
    /// Events that retention removed before they could be sent.
    Skipped {
        /// The first of them.
        from: Offset,
        /// The last of them.
        to: Offset,
    },
    /// The stream will end.
    Closing {
        /// Why.
        reason: ClosingReason,
        /// How long it goes on at most.
        remaining: Duration,
    },
}

/// Why a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosingReason {
    /// The server stops.
    Draining,
    /// The stream is as old as streams may get.
    MaxAge,
    /// The consumer was moved or changed.
    ConsumerChanged,
    /// Another stream took the consumer.
    TakenOver,
    /// The caller's credential ended.
    CredentialEnded,
    /// The topic or the consumer was deleted.
    Deleted,
}

/// A place in a topic, and what the topic holds, as known to this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The last offset done.
    pub offset: Offset,
    /// What the topic holds.
    pub bounds: Bounds,
}

/// Some events of a segment, shared with everyone who reads them.
#[derive(Debug, Clone)]
pub struct Run {
    topic: TopicName,
    segment: Arc<Segment>,
    picked: Picked,
}

#[derive(Debug, Clone)]
enum Picked {
    /// All of these places.
    Range(std::ops::Range<usize>),
    /// These places.
    Places(Vec<u32>),
}

/// How much a run may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunCap {
    pub(super) events: usize,
    pub(super) bytes: usize,
    /// No event after this one.
    pub(super) last: Offset,
}

/// About how many bytes an event takes on the wire.
pub(super) fn frame_size(event: &Event, topic: &TopicName) -> usize {
    /// Its offset, times and tags.
    const OVERHEAD: usize = 48;
    event.body.size() + topic.as_str().len() + OVERHEAD
}

impl Run {
    /// About how many bytes its events take on the wire.
    pub(super) fn bytes(&self) -> usize {
        self.iter().map(|event| frame_size(event, &self.topic)).sum()
    }

    /// The next events of a segment after `after` that pass the filter, and the offset up to which
    /// everything is in it or left out; `None` if none of the rest passes.
    pub(super) fn pick(
        topic: &TopicName,
        segment: &Arc<Segment>,
        after: Offset,
        filter: &Filter,
        cap: RunCap,
    ) -> (Option<Self>, Offset) {
        let events = segment.after(after);
        let skipped = segment.events().len() - events.len();
        let all = filter.is_empty();
        let (mut places, mut count, mut bytes, mut position) = (Vec::new(), 0, 0, after);
        for (index, event) in events.iter().enumerate() {
            if event.offset > cap.last {
                break;
            }
            if all || filter.matches(&event.body) {
                let size = frame_size(event, topic);
                if count > 0 && (count >= cap.events || bytes + size > cap.bytes) {
                    break;
                }
                (count, bytes) = (count + 1, bytes + size);
                if !all {
                    places.push((skipped + index) as u32);
                }
            }
            position = event.offset;
        }
        let picked = if all { Picked::Range(skipped..skipped + count) } else { Picked::Places(places) };
        let run = Self { topic: topic.clone(), segment: segment.clone(), picked };
        ((count > 0).then_some(run), position)
    }

    /// The topic of the events.
    pub fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        match &self.picked {
            Picked::Range(range) => range.len(),
            Picked::Places(places) => places.len(),
        }
    }

    /// The offset of the last one.
    pub fn last(&self) -> Offset {
        let place = match &self.picked {
            Picked::Range(range) => range.end.checked_sub(1),
            Picked::Places(places) => places.last().map(|&place| place as usize),
        };
        place.map_or(Offset::ZERO, |place| self.segment.events()[place].offset)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The events, in offset order.
    pub fn iter(&self) -> impl Iterator<Item = &Event> {
        let (range, places) = match &self.picked {
            Picked::Range(range) => (range.clone(), &[][..]),
            Picked::Places(places) => (0..0, &places[..]),
        };
        let events = self.segment.events();
        events[range].iter().chain(places.iter().map(|&place| &events[place as usize]))
    }
}
