//! Requests that are appended together, and which of their events are new.

use std::collections::HashMap;

use metrics::gauge;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{
    chain::Link,
    publish::{Published, Refusal},
};
use crate::{
    domain::{ContentHash, IdKey, KnownId, Offset, PendingEvent, Timestamp},
    telemetry::metric,
};

/// A request that waits to be appended.
#[derive(Debug)]
pub(super) struct Job {
    /// Its events; one is taken out while it is in a batch.
    pub(super) events: Vec<Option<PendingEvent>>,
    pub(super) expected_head: Option<Offset>,
    /// Its place among the requests of a stream.
    pub(super) link: Option<Link>,
    pub(super) reply: oneshot::Sender<Result<Vec<Published>, Refusal>>,
    /// Its room in the queues, given back when it is answered.
    pub(super) room: Room,
}

/// Room in the queues, given back when it is dropped; what it holds is shown as waiting.
#[derive(Debug)]
pub(super) struct Room {
    _permits: [Option<OwnedSemaphorePermit>; 2],
    bytes: usize,
}

impl Room {
    pub(super) fn new(permits: [Option<OwnedSemaphorePermit>; 2], bytes: usize) -> Self {
        gauge!(metric::PUBLISH_QUEUE_REQUESTS).increment(1.0);
        gauge!(metric::PUBLISH_QUEUE_BYTES).increment(bytes as f64);
        Self { _permits: permits, bytes }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        gauge!(metric::PUBLISH_QUEUE_REQUESTS).decrement(1.0);
        gauge!(metric::PUBLISH_QUEUE_BYTES).decrement(self.bytes as f64);
    }
}

/// Where an event is, or will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the batch, at this index.
    New(usize),
    /// The same as the one in the batch at this index, which an earlier event brought.
    Again(usize),
    /// Recorded before.
    Known(Offset, Timestamp),
}

/// Jobs that go to the store as one batch.
#[derive(Debug, Default)]
pub(super) struct Group {
    jobs: Vec<(Job, Vec<Place>)>,
    /// They take part in the next batch, after what becomes of this one is certain.
    deferred: Vec<Job>,
    known: HashMap<IdKey, KnownId>,
}

/// Why a job takes no part in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conflict {
    /// The event at this index has the id of another event: one that is recorded, or stands before it
    /// in the same request.
    Reused(usize),
    /// It has the id of another event that an earlier job brought, which may be refused itself.
    Undecided,
}

impl Group {
    pub(super) fn new(jobs: Vec<Job>) -> Self {
        Self { jobs: jobs.into_iter().map(|job| (job, Vec::new())).collect(), ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.len() + self.deferred.len()
    }

    pub(super) fn expected_head(&self) -> Option<Offset> {
        self.jobs.first().and_then(|(job, _)| job.expected_head)
    }

    /// Takes the new events out, in the order of the requests. A request that uses an id for other
    /// content than was recorded, or than stands before it in the request, is refused. One that
    /// contradicts an earlier request waits for what becomes of that one, and the later ones wait with
    /// it, to keep their order. One of a stream whose predecessor failed is refused. Nothing is taken when
    /// everyone has been answered.
    pub(super) fn take_new(&mut self) -> Vec<PendingEvent> {
        let mut batch = Vec::new();
        let mut taken = HashMap::new();
        let deferred = std::mem::take(&mut self.deferred).into_iter().map(|job| (job, Vec::new()));
        let jobs: Vec<_> = std::mem::take(&mut self.jobs).into_iter().chain(deferred).collect();
        for (mut job, mut places) in jobs {
            if job.link.as_ref().is_some_and(Link::is_overtaken) {
                job.answer(Err(Refusal::PredecessorFailed));
                continue;
            }
            if !self.deferred.is_empty() {
                self.deferred.push(job);
                continue;
            }
            match place(&job, &self.known, &mut taken, batch.len(), &mut places) {
                Ok(()) => {
                    let new = job.events.iter_mut().zip(&places).filter(|(_, place)| matches!(place, Place::New(_)));
                    batch.extend(new.filter_map(|(event, _)| event.take()));
                    self.jobs.push((job, places));
                }
                Err(Conflict::Reused(index)) => job.answer(Err(Refusal::IdReused { index })),
                Err(Conflict::Undecided) => self.deferred.push(job),
            }
        }
        batch
    }

    /// Puts the events of a batch that was not stored back.
    pub(super) fn put_back(&mut self, batch: Vec<PendingEvent>) {
        let slots = self.jobs.iter_mut().flat_map(|(job, places)| job.events.iter_mut().zip(places));
        let new = slots.filter(|(_, place)| matches!(place, Place::New(_)));
        for ((slot, _), event) in new.zip(batch) {
            *slot = Some(event);
        }
    }

    /// Notes ids that the topic has.
    pub(super) fn learn(&mut self, known: Vec<KnownId>) {
        self.known.extend(known.into_iter().map(|id| (id.key, id)));
    }

    /// Answers requests of which everything was recorded before, and keeps the others.
    pub(super) fn answer_known(&mut self) {
        let known = |(_, places): &(Job, Vec<Place>)| places.iter().all(|place| matches!(place, Place::Known(..)));
        for (job, places) in self.jobs.extract_if(.., |entry| known(entry)).collect::<Vec<_>>() {
            let published = published(&job, &places, &[], Offset::ZERO, Timestamp::MIN);
            job.answer(Ok(published));
        }
    }

    /// Answers everyone who takes part in the batch, which was stored at `first`.
    pub(super) fn answer_stored(&mut self, batch: &[PendingEvent], first: Offset, time: Timestamp) {
        for (job, places) in self.jobs.drain(..) {
            let published = published(&job, &places, batch, first, time);
            job.answer(Ok(published));
        }
    }

    /// Refuses everyone who takes part in the batch.
    pub(super) fn refuse(&mut self, refusal: &Refusal) {
        for (job, _) in self.jobs.drain(..) {
            job.answer(Err(refusal.clone()));
        }
    }

    /// The same jobs, each in a group of its own.
    pub(super) fn split(self) -> impl Iterator<Item = Group> {
        self.jobs.into_iter().map(|(job, _)| job).chain(self.deferred).map(|job| Group::new(vec![job]))
    }
}

impl Job {
    /// Bytes of its events.
    pub(super) fn bytes(&self) -> usize {
        self.room.bytes
    }

    fn answer(self, answer: Result<Vec<Published>, Refusal>) {
        let answer = match self.link {
            Some(link) => link.settle(answer),
            None => answer,
        };
        // An error means that the caller has left; what was stored stays stored.
        let _ = self.reply.send(answer);
    }
}

/// Finds the place of each event of a job, the batch having `len` events so far. After an error the job
/// has taken nothing.
fn place(
    job: &Job,
    known: &HashMap<IdKey, KnownId>,
    taken: &mut HashMap<IdKey, (ContentHash, usize)>,
    len: usize,
    places: &mut Vec<Place>,
) -> Result<(), Conflict> {
    places.clear();
    let mut next = len;
    let mut own = Vec::new();
    let mut conflict = None;
    for (index, event) in job.events.iter().enumerate() {
        let Some(identity) = event.as_ref().and_then(|event| event.identity) else {
            places.push(Place::New(next));
            next += 1;
            continue;
        };
        let (content, place) = match (known.get(&identity.key), taken.get(&identity.key)) {
            (Some(known), _) => (known.content, Place::Known(known.offset, known.recorded_time)),
            (None, Some(&(content, at))) => (content, Place::Again(at)),
            (None, None) => {
                taken.insert(identity.key, (identity.content, next));
                own.push(identity.key);
                next += 1;
                (identity.content, Place::New(next - 1))
            }
        };
        if content != identity.content {
            let earlier = matches!(place, Place::Again(at) if at < len);
            conflict = Some(if earlier { Conflict::Undecided } else { Conflict::Reused(index) });
            break;
        }
        places.push(place);
    }
    match conflict {
        None => Ok(()),
        Some(conflict) => {
            taken.retain(|key, _| !own.contains(key));
            Err(conflict)
        }
    }
}

fn published(job: &Job, places: &[Place], batch: &[PendingEvent], first: Offset, time: Timestamp) -> Vec<Published> {
    let id = |slot: &Option<PendingEvent>, place| match (slot, place) {
        (Some(event), _) => event.body.id.clone(),
        (None, Place::New(at) | Place::Again(at)) => batch.get(at).map(|e| e.body.id.clone()).unwrap_or_default(),
        (None, Place::Known(..)) => Default::default(),
    };
    let answer = |(slot, &place): (&Option<PendingEvent>, &Place)| {
        let id = id(slot, place);
        match place {
            Place::New(at) => Published { id, offset: first.plus(at), recorded_time: Some(time), duplicate: false },
            Place::Again(at) => Published { id, offset: first.plus(at), recorded_time: Some(time), duplicate: true },
            Place::Known(offset, time) => Published { id, offset, recorded_time: Some(time), duplicate: true },
        }
    };
    job.events.iter().zip(places).map(answer).collect()
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use uuid::Uuid;

    use super::{Group, Job, Room};
    use crate::{
        broker::{
            chain::Chain,
            publish::{Published, Refusal},
        },
        domain::{ContentHash, EventBody, IdKey, Identity, KnownId, Offset, Payload, PendingEvent, Timestamp},
    };

    type Reply = oneshot::Receiver<Result<Vec<Published>, Refusal>>;

    fn event(id: &str, content: u128) -> PendingEvent {
        let body = EventBody {
            r#type: "t".into(),
            key: Default::default(),
            id: id.into(),
            source: "/s".into(),
            time: None,
            content_type: "text/plain".into(),
            attributes: Default::default(),
            correlation_id: Default::default(),
            causation_id: Default::default(),
            payload: Payload::Text(Default::default()),
            producer: "users/ada".into(),
        };
        let identity = Identity { key: IdKey::of("/s", id), content: ContentHash(Uuid::from_u128(content)) };
        PendingEvent { body, identity: (content > 0).then_some(identity) }
    }

    fn job(events: &[(&str, u128)]) -> (Job, Reply) {
        let (reply, receiver) = oneshot::channel();
        let events = events.iter().map(|(id, content)| Some(event(id, *content))).collect();
        (Job { events, expected_head: None, link: None, reply, room: Room::new([None, None], 1) }, receiver)
    }

    fn offsets(mut reply: Reply) -> Vec<(i64, bool)> {
        let published = reply.try_recv().unwrap().unwrap();
        published.iter().map(|p| (p.offset.get(), p.duplicate)).collect()
    }

    fn known(id: &str, content: u128, offset: i64) -> KnownId {
        let content = ContentHash(Uuid::from_u128(content));
        KnownId { key: IdKey::of("/s", id), offset: at(offset), content, recorded_time: time() }
    }

    fn time() -> Timestamp {
        Timestamp::from_micros(1).unwrap()
    }

    fn at(offset: i64) -> Offset {
        Offset::new(offset).unwrap()
    }

    #[test]
    fn ids_repeated_in_a_group_are_stored_once() {
        let (first, first_reply) = job(&[("a", 1), ("", 0), ("a", 1)]);
        let (second, second_reply) = job(&[("b", 2), ("a", 1)]);
        let mut group = Group::new(vec![first, second]);
        let batch = group.take_new();
        assert_eq!(batch.len(), 3);
        group.answer_stored(&batch, at(5), time());
        assert_eq!(offsets(first_reply), [(5, false), (6, false), (5, true)]);
        assert_eq!(offsets(second_reply), [(7, false), (5, true)]);
    }

    #[test]
    fn an_id_with_other_content_refuses_its_request_alone() {
        let (good, good_reply) = job(&[("a", 1)]);
        let (bad, mut bad_reply) = job(&[("new", 9), ("b", 2), ("b", 3)]);
        let (later, later_reply) = job(&[("new", 8)]);
        let mut group = Group::new(vec![good, bad, later]);
        let batch = group.take_new();
        assert_eq!(batch.len(), 2, "the refused request's other events were stored");
        group.answer_stored(&batch, at(1), time());
        assert!(matches!(bad_reply.try_recv().unwrap(), Err(Refusal::IdReused { index: 2 })));
        assert_eq!(offsets(good_reply), [(1, false)]);
        assert_eq!(offsets(later_reply), [(2, false)], "an id of a refused request is free");
    }

    #[test]
    fn a_contradiction_between_requests_waits_for_what_becomes_of_the_first() {
        let (bad, mut bad_reply) = job(&[("x", 1), ("a", 2)]);
        let (good, good_reply) = job(&[("a", 1)]);
        let (later, later_reply) = job(&[("y", 1)]);
        let (worse, mut worse_reply) = job(&[("y", 2)]);
        let mut group = Group::new(vec![bad, good, later, worse]);
        let batch = group.take_new();
        assert_eq!(batch.iter().map(|e| &*e.body.id).collect::<Vec<_>>(), ["x", "a"], "later ones keep their order");
        group.put_back(batch);
        group.learn(vec![known("a", 1, 3)]);
        let batch = group.take_new();
        group.answer_known();
        assert!(matches!(bad_reply.try_recv().unwrap(), Err(Refusal::IdReused { index: 1 })));
        assert_eq!(offsets(good_reply), [(3, true)], "a bad request before it failed a good one");
        group.answer_stored(&batch, at(9), time());
        assert_eq!(offsets(later_reply), [(9, false)]);
        let batch = group.take_new();
        assert_eq!(batch.len(), 1, "the store decides about what is left");
        group.put_back(batch);
        group.learn(vec![known("y", 1, 9)]);
        assert!(group.take_new().is_empty());
        assert!(matches!(worse_reply.try_recv().unwrap(), Err(Refusal::IdReused { index: 0 })));
    }

    #[test]
    fn what_followed_a_failed_request_of_its_stream_is_refused_before_it_is_stored() {
        let chain = Chain::new();
        let [(mut first, mut first_reply), (mut second, mut second_reply), (other, other_reply)] =
            [job(&[("a", 1)]), job(&[("b", 2)]), job(&[("c", 3)])];
        first.link = Some(chain.link());
        let mut group = Group::new(vec![first]);
        assert_eq!(group.take_new().len(), 1);
        second.link = Some(chain.link());
        let mut next = Group::new(vec![second, other]);
        group.refuse(&Refusal::Overloaded { retry_in: Default::default() });
        let batch = next.take_new();
        assert_eq!(batch.iter().map(|e| &*e.body.id).collect::<Vec<_>>(), ["c"], "others are not held up");
        next.answer_stored(&batch, at(1), time());
        assert!(matches!(first_reply.try_recv().unwrap(), Err(Refusal::Overloaded { .. })));
        assert!(matches!(second_reply.try_recv().unwrap(), Err(Refusal::PredecessorFailed)));
        assert_eq!(offsets(other_reply), [(1, false)]);
    }

    #[test]
    fn known_ids_are_answered_and_the_rest_is_tried_again() {
        let (old, old_reply) = job(&[("a", 1)]);
        let (mixed, mixed_reply) = job(&[("b", 2), ("a", 1), ("", 0)]);
        let (reused, mut reused_reply) = job(&[("a", 3)]);
        let mut group = Group::new(vec![old, mixed, reused]);
        let batch = group.take_new();
        group.put_back(batch);
        group.learn(vec![known("a", 1, 3)]);
        let batch = group.take_new();
        assert_eq!(batch.iter().map(|e| &*e.body.id).collect::<Vec<_>>(), ["b", ""]);
        group.answer_known();
        assert_eq!(offsets(old_reply), [(3, true)]);
        group.answer_stored(&batch, at(9), time());
        assert_eq!(offsets(mixed_reply), [(9, false), (3, true), (10, false)]);
        assert!(matches!(reused_reply.try_recv().unwrap(), Err(Refusal::IdReused { index: 0 })));
    }
}
