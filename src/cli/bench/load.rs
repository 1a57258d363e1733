//! The events that a run publishes, made before its clock starts.

use bytes::Bytes;
use uuid::Uuid;

use super::{
    messages,
    order::{checksum, customer, order},
};
use crate::proto::v1::{NewEvent, PublishRequest, new_event::Payload};

/// Ids made ahead are as far apart as those of a producer of 50,000 events a second.
const IDS_IN_A_MILLISECOND: u64 = 50;

/// Which ids the producer gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ids {
    /// None; the server makes them, and keeps nothing to compare with.
    None,
    /// UUIDv7, ordered by time but for those of one millisecond.
    Ordered,
    /// UUIDv4.
    Random,
}

/// What the events have beside their texts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dress {
    pub(super) ids: Ids,
    pub(super) keyed: bool,
}

/// The events of one connection.
#[derive(Debug)]
pub(super) struct Share<T = String> {
    /// The topics that they go to, in turn, a request each.
    topics: Vec<T>,
    /// The one that the first request goes to.
    first: usize,
    /// How many a request has.
    pub(super) batch: usize,
    events: Vec<Prepared>,
}

/// What differs from event to event.
#[derive(Debug)]
struct Prepared {
    id: String,
    key: String,
    text: String,
}

/// The events of a run.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) shares: Vec<Share>,
    pub(super) events: u64,
    pub(super) checksum: u64,
}

impl Dress {
    /// Nothing.
    pub(super) const PLAIN: Self = Self { ids: Ids::None, keyed: false };

    fn prepare(self, n: u64, start: u64) -> Prepared {
        let id = match self.ids {
            Ids::None => String::new(),
            Ids::Ordered => ordered_id(start + n / IDS_IN_A_MILLISECOND).to_string(),
            Ids::Random => Uuid::new_v4().to_string(),
        };
        Prepared { id, key: if self.keyed { customer(n) } else { String::new() }, text: order(n) }
    }
}

/// The type of every event.
const TYPE: &str = "order.placed";

impl From<Prepared> for NewEvent {
    fn from(Prepared { id, key, text }: Prepared) -> Self {
        let payload = Some(Payload::Text(text));
        Self { r#type: TYPE.to_owned(), key, id, payload, ..Default::default() }
    }
}

impl From<Prepared> for messages::NewEvent {
    fn from(Prepared { id, key, text }: Prepared) -> Self {
        Self { r#type: Bytes::from_static(TYPE.as_bytes()), key, id, text }
    }
}

impl Load {
    /// The first `events` orders, dealt out in turn, so that all connections are at the same place at the same time.
    pub(super) fn new(events: u64, connections: usize, dress: Dress, topics: &[String], batch: usize) -> Self {
        let connections = connections.max(1);
        let share = |index: usize| {
            // Each begins at another topic, so that they do not walk in step.
            let first = index * topics.len() / connections;
            Share {
                topics: topics.to_vec(),
                first,
                batch,
                events: Vec::with_capacity(events as usize / connections + batch),
            }
        };
        let mut shares: Vec<Share> = (0..connections).map(share).collect();
        let start = Uuid::now_v7().get_timestamp().map_or(0, |time| time.to_unix().0 * 1000);
        let mut sum = 0_u64;
        for n in 0..events {
            let event = dress.prepare(n, start);
            sum = sum.wrapping_add(checksum(event.text.as_bytes()));
            let turn = (n / batch as u64 % connections as u64) as usize;
            if let Some(share) = shares.get_mut(turn) {
                share.events.push(event);
            }
        }
        Self { shares, events, checksum: sum }
    }
}

impl Share {
    /// How many events there are.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// The topic of a request, counted from 0.
    pub(super) fn topic(&self, request: usize) -> usize {
        (self.first + request) % self.topics.len()
    }

    /// The requests of one after the other, in their order.
    pub(super) fn into_requests(self) -> impl Iterator<Item = PublishRequest> + Send + 'static {
        self.deal().map(|(topic, events)| PublishRequest { topic, events, ..Default::default() })
    }

    /// The requests of a stream, in their order.
    pub(super) fn into_stream(mut self) -> impl Iterator<Item = messages::Publish> + Send + 'static {
        let topics = std::mem::take(&mut self.topics).into_iter().map(Bytes::from);
        let topics: Vec<_> = topics.collect();
        Share { topics, first: self.first, batch: self.batch, events: self.events }
            .deal()
            .map(|(topic, events)| messages::Publish { topic, events })
    }
}

impl<T: Clone + Send + 'static> Share<T> {
    /// The topic and the events of each request.
    fn deal<E: From<Prepared>>(self) -> impl Iterator<Item = (T, Vec<E>)> + Send + 'static {
        let Self { topics, first, batch, events } = self;
        let mut events = events.into_iter();
        let mut turn = first;
        std::iter::from_fn(move || {
            let event = events.next()?;
            let mut together = Vec::with_capacity(batch);
            together.push(event.into());
            together.extend(events.by_ref().take(batch - 1).map(E::from));
            let topic = topics[turn % topics.len()].clone();
            turn += 1;
            Some((topic, together))
        })
    }
}

/// A UUIDv7 of this millisecond.
fn ordered_id(millis: u64) -> Uuid {
    let mut chance = [0; 10];
    chance.copy_from_slice(&Uuid::new_v4().as_bytes()[..10]);
    uuid::Builder::from_unix_timestamp_millis(millis, &chance).into_uuid()
}
