//! The newest segments of one topic, in memory: one contiguous run, limited in bytes.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use metrics::counter;

use crate::{
    domain::{Offset, Segment, Timestamp},
    telemetry::metric,
};

/// How many bytes all rings of a process hold, and may hold.
#[derive(Debug)]
pub(super) struct RingBudget {
    per_topic: usize,
    total: usize,
    used: AtomicUsize,
}

/// Segments that lie beyond a hole and wait for it to be filled; more than a few mean that the hole is
/// wide, and reading it brings them anyway.
const PARKED: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Ring {
    budget: Arc<RingBudget>,
    run: VecDeque<Arc<Segment>>,
    bytes: usize,
    parked: BTreeMap<Offset, Arc<Segment>>,
    /// Everything up to here was offered, whether or not it is still in the run.
    tail: Option<Offset>,
}

impl RingBudget {
    pub(super) fn new(per_topic: usize, total: usize) -> Arc<Self> {
        Arc::new(Self { per_topic, total, used: AtomicUsize::new(0) })
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

impl Ring {
    pub(super) fn new(budget: Arc<RingBudget>) -> Self {
        Self { budget, run: VecDeque::new(), bytes: 0, parked: BTreeMap::new(), tail: None }
    }

    /// The newest offset that readers of this process know of; `None` before the first look.
    pub(super) fn tail(&self) -> Option<Offset> {
        self.tail
    }

    /// The last event of each segment in the run, by which a log is known again.
    pub(super) fn marks(&self) -> Vec<(Offset, Timestamp)> {
        let last = self.run.iter().filter_map(|segment| segment.events().last());
        last.map(|event| (event.offset, event.recorded_time)).collect()
    }

    /// The segment with the event after `after`, if it is in the run.
    pub(super) fn get(&self, after: Offset) -> Option<&Arc<Segment>> {
        let place = self.run.partition_point(|segment| segment.last() <= after);
        self.run.get(place).filter(|segment| segment.first() <= after.next())
    }

    /// Begins the run at `tail`; if it began before, it jumps forward, and never back.
    pub(super) fn begin(&mut self, tail: Offset) {
        if self.tail.is_none_or(|known| known < tail) {
            self.clear_run();
            self.tail = Some(tail);
        }
    }

    /// Takes a segment in. One at or below the tail is ignored, one that overlaps it adds what is new
    /// (it is kept whole: readers look for what is after their position), and one beyond a hole waits
    /// until the hole is filled. Returns whether the tail is now at or past its end.
    pub(super) fn offer(&mut self, segment: Arc<Segment>) -> bool {
        let Some(tail) = self.tail else { return false };
        if segment.last() <= tail {
            return true;
        }
        if segment.first() > tail.next() {
            if self.parked.len() < PARKED {
                self.parked.insert(segment.first(), segment);
            }
            return false;
        }
        self.push(segment);
        while let Some((&first, _)) = self.parked.first_key_value() {
            if self.tail.is_some_and(|tail| first > tail.next()) {
                break;
            }
            if let Some((_, parked)) = self.parked.pop_first()
                && self.tail.is_some_and(|tail| parked.last() > tail)
            {
                self.push(parked);
            }
        }
        true
    }

    /// Forgets everything: the log is not what it was, or nobody has read it for a while.
    pub(super) fn clear(&mut self) {
        self.clear_run();
        self.parked.clear();
        self.tail = None;
    }

    fn clear_run(&mut self) {
        self.run.clear();
        self.budget.used.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }

    fn push(&mut self, segment: Arc<Segment>) {
        self.tail = Some(segment.last());
        self.bytes += segment.bytes();
        self.budget.used.fetch_add(segment.bytes(), Ordering::Relaxed);
        self.run.push_back(segment);
        // The newest segment stays, however large it is: live readers are about to ask for it.
        while self.run.len() > 1
            && (self.bytes > self.budget.per_topic || self.budget.used.load(Ordering::Relaxed) > self.budget.total)
        {
            let Some(oldest) = self.run.pop_front() else { break };
            self.bytes -= oldest.bytes();
            self.budget.used.fetch_sub(oldest.bytes(), Ordering::Relaxed);
            counter!(metric::RING_EVICTIONS).increment(1);
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Ring, RingBudget};
    use crate::domain::{BatchId, EventBody, Offset, Payload, PendingEvent, Segment, Timestamp};

    fn segment(first: i64, events: usize) -> Arc<Segment> {
        let body = EventBody {
            r#type: "t".into(),
            key: Default::default(),
            id: "i".into(),
            source: "/s".into(),
            time: None,
            content_type: "text/plain".into(),
            attributes: Default::default(),
            correlation_id: Default::default(),
            causation_id: Default::default(),
            payload: Payload::Text(BatchId::random().0.to_string().into()),
            producer: "users/ada".into(),
        };
        let events = vec![PendingEvent { body, identity: None }; events];
        Arc::new(Segment::recorded(Offset::new(first).unwrap(), Timestamp::now(), events).unwrap())
    }

    fn ring(bytes: usize, tail: i64) -> Ring {
        let mut ring = Ring::new(RingBudget::new(bytes, bytes));
        ring.begin(Offset::new(tail).unwrap());
        ring
    }

    fn held(ring: &Ring) -> Vec<i64> {
        let mut after = Offset::ZERO;
        while ring.get(after).is_none() && after < ring.tail().unwrap() {
            after = after.next();
        }
        let mut held = Vec::new();
        while let Some(segment) = ring.get(after) {
            held.extend(segment.after(after).iter().map(|event| event.offset.get()));
            after = segment.last();
        }
        held
    }

    #[test]
    fn segments_in_order_form_one_run() {
        let mut ring = ring(1 << 20, 4);
        assert!(ring.offer(segment(5, 3)));
        assert!(ring.offer(segment(8, 1)));
        assert_eq!(held(&ring), [5, 6, 7, 8]);
        assert!(ring.get(Offset::new(3).unwrap()).is_none(), "offset 4 was never offered");
    }

    #[test]
    fn known_segments_are_ignored_and_overlapping_ones_add_their_tail() {
        let mut ring = ring(1 << 20, 0);
        ring.offer(segment(1, 4));
        assert!(ring.offer(segment(2, 2)));
        assert!(ring.offer(segment(3, 4)));
        assert_eq!(held(&ring), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_segment_beyond_a_hole_waits_for_the_hole_to_be_filled() {
        let mut ring = ring(1 << 20, 0);
        ring.offer(segment(1, 1));
        assert!(!ring.offer(segment(4, 2)));
        assert!(!ring.offer(segment(7, 1)));
        assert_eq!(ring.tail(), Offset::new(1));
        assert!(ring.offer(segment(2, 2)));
        assert_eq!(held(&ring), [1, 2, 3, 4, 5]);
        assert!(ring.offer(segment(6, 1)));
        assert_eq!(held(&ring), [1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn the_oldest_segments_make_room() {
        let size = segment(1, 1).bytes();
        let mut ring = ring(size * 2, 0);
        (1..=5).for_each(|offset| assert!(ring.offer(segment(offset, 1))));
        assert_eq!(held(&ring), [4, 5]);
        ring.offer(segment(6, 10));
        assert_eq!(held(&ring), (6..=15).collect::<Vec<_>>(), "the newest stays, however large");
    }
}
