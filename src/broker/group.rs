//! Requests that are appended together, and which of their events are new.

use std::{collections::HashMap, sync::Arc};

use metrics::gauge;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{
    appender::Answer,
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
    /// Bytes of its events.
    pub(super) bytes: usize,
    pub(super) expected_head: Option<Offset>,
    /// Its place among the requests of a stream.
    link: Option<Link>,
    reply: oneshot::Sender<Result<Vec<Published>, Refused>>,
    /// The room in the queues that it shares with those that came with it, given back when all are answered.
    pub(super) room: Option<Arc<Room>>,
}

/// A request that was not appended.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) refusal: Refusal,
    /// All of its events, if it was refused because its topic is gone: another one of the name may take them.
    pub(super) events: Vec<PendingEvent>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, events: Vec::new() }
    }
}

/// Room in the queues, given back when it is dropped; what it holds is shown as waiting.
#[derive(Debug)]
pub(super) struct Room {
    _permits: [Option<OwnedSemaphorePermit>; 2],
    requests: usize,
    bytes: usize,
}

impl Room {
    pub(super) fn new(permits: [Option<OwnedSemaphorePermit>; 2], requests: usize, bytes: usize) -> Self {
        gauge!(metric::PUBLISH_QUEUE_REQUESTS).increment(requests as f64);
        gauge!(metric::PUBLISH_QUEUE_BYTES).increment(bytes as f64);
        Self { _permits: permits, requests, bytes }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        gauge!(metric::PUBLISH_QUEUE_REQUESTS).decrement(self.requests as f64);
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

/// Where the events of a job are.
#[derive(Debug)]
enum Places {
    /// All of them new, one after the other from this index on.
    New(usize),
    /// Of each by itself.
    Each(Vec<Place>),
}

impl Places {
    /// Of the event at this index.
    fn at(&self, index: usize) -> Place {
        match self {
            Self::New(first) => Place::New(first + index),
            Self::Each(places) => places.get(index).copied().unwrap_or(Place::New(usize::MAX)),
        }
    }

    fn is_new(&self, index: usize) -> bool {
        matches!(self.at(index), Place::New(_))
    }

    fn all_known(&self) -> bool {
        match self {
            Self::New(_) => false,
            Self::Each(places) => places.iter().all(|place| matches!(place, Place::Known(..))),
        }
    }
}

/// Jobs that go to the store as one batch.
#[derive(Debug, Default)]
pub(super) struct Group {
    jobs: Vec<(Job, Places)>,
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
        Self { jobs: jobs.into_iter().map(|job| (job, Places::New(0))).collect(), ..Self::default() }
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
        let jobs = std::mem::take(&mut self.jobs).into_iter().map(|(job, _)| job);
        let jobs: Vec<_> = jobs.chain(std::mem::take(&mut self.deferred)).collect();
        let mut batch = Vec::with_capacity(jobs.iter().map(|job| job.events.len()).sum());
        let mut taken = HashMap::new();
        self.jobs.reserve(jobs.len());
        for mut job in jobs {
            if job.link.as_ref().is_some_and(Link::is_overtaken) {
                job.refuse(Refusal::PredecessorFailed);
                continue;
            }
            if !self.deferred.is_empty() {
                self.deferred.push(job);
                continue;
            }
            match place(&job, &self.known, &mut taken, batch.len()) {
                Ok(places) => {
                    let new = job.events.iter_mut().enumerate().filter(|(index, _)| places.is_new(*index));
                    batch.extend(new.filter_map(|(_, event)| event.take()));
                    self.jobs.push((job, places));
                }
                Err(Conflict::Reused(index)) => job.refuse(Refusal::IdReused { index }),
                Err(Conflict::Undecided) => self.deferred.push(job),
            }
        }
        batch
    }

    /// Puts the events of a batch that was not stored back.
    pub(super) fn put_back(&mut self, batch: Vec<PendingEvent>) {
        let mut batch = batch.into_iter();
        for (job, places) in &mut self.jobs {
            let slots = job.events.iter_mut().enumerate().filter(|(index, _)| places.is_new(*index));
            for ((_, slot), event) in slots.zip(&mut batch) {
                *slot = Some(event);
            }
        }
    }

    /// Notes ids that the topic has.
    pub(super) fn learn(&mut self, known: Vec<KnownId>) {
        self.known.extend(known.into_iter().map(|id| (id.key, id)));
    }

    /// Answers requests of which everything was recorded before, and keeps the others.
    pub(super) fn answer_known(&mut self) {
        for (job, places) in self.jobs.extract_if(.., |(_, places)| places.all_known()).collect::<Vec<_>>() {
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
            job.refuse(refusal.clone());
        }
    }

    /// The same jobs, each in a group of its own.
    pub(super) fn split(self) -> impl Iterator<Item = Group> {
        self.jobs.into_iter().map(|(job, _)| job).chain(self.deferred).map(|job| Group::new(vec![job]))
    }
}

impl Job {
    /// A request without room yet, and its answer.
    pub(super) fn new(events: Vec<PendingEvent>, expected_head: Option<Offset>, link: Option<Link>) -> (Self, Answer) {
        let (reply, answer) = oneshot::channel();
        let bytes = events.iter().map(|event| event.body.size()).sum();
        let events = events.into_iter().map(Some).collect();
        (Self { events, bytes, expected_head, link, reply, room: None }, Answer(answer))
    }

    /// Its events, when it has not been taken up.
    pub(super) fn into_events(self) -> Vec<PendingEvent> {
        self.events.into_iter().flatten().collect()
    }

    fn refuse(mut self, refusal: Refusal) {
        let events = match refusal {
            Refusal::TopicNotFound => self.events.drain(..).flatten().collect(),
            _ => Vec::new(),
        };
        self.answer(Err(Refused { refusal, events }));
    }

    fn answer(self, answer: Result<Vec<Published>, Refused>) {
        let answer = match (self.link, answer) {
            (None, answer) => answer,
            (Some(link), Ok(published)) => link.settle(Ok(published)).map_err(Refused::from),
            (Some(link), Err(Refused { refusal, events })) => {
                link.settle(Err(refusal)).map_err(|refusal| Refused { refusal, events })
            }
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
) -> Result<Places, Conflict> {
    if job.events.iter().flatten().all(|event| event.identity.is_none()) {
        return Ok(Places::New(len));
    }
    let mut places = Vec::with_capacity(job.events.len());
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
        None => Ok(Places::Each(places)),
        Some(conflict) => {
            taken.retain(|key, _| !own.contains(key));
            Err(conflict)
        }
    }
}

fn published(job: &Job, places: &Places, batch: &[PendingEvent], first: Offset, time: Timestamp) -> Vec<Published> {
    let id = |slot: &Option<PendingEvent>, place| match (slot, place) {
        (Some(event), _) => event.body.id.clone(),
        (None, Place::New(at) | Place::Again(at)) => batch.get(at).map(|e| e.body.id.clone()).unwrap_or_default(),
        (None, Place::Known(..)) => Default::default(),
    };
    let answer = |(index, slot): (usize, &Option<PendingEvent>)| {
        let place = places.at(index);
        let id = id(slot, place);
        match place {
            Place::New(at) => Published { id, offset: first.plus(at), recorded_time: Some(time), duplicate: false },
            Place::Again(at) => Published { id, offset: first.plus(at), recorded_time: Some(time), duplicate: true },
            Place::Known(offset, time) => Published { id, offset, recorded_time: Some(time), duplicate: true },
        }
    };
    job.events.iter().enumerate().map(answer).collect()
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
