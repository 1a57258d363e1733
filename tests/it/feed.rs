//! Publishers and a reader that go on through everything that happens to the server, and what they know.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use eventflow::proto::v1::{self, subscribe_response::Frame};
use parking_lot::Mutex;
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use tonic::{Code, Status};

use crate::{
    client::{Client, Stream, after, event, from_earliest},
    harness::patience::eventually_within,
};

/// How long one request, or the reader at the end, may take through all that happens meanwhile.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(25);

/// An event of type `test` with an id, and a text made of it.
fn keyed(id: &str) -> v1::NewEvent {
    v1::NewEvent { id: id.into(), ..event(&format!("text of {id}")) }
}

/// Whether a publisher whose events have ids would repeat after this: the server was lost, or says so.
pub fn may_be_repeated(status: &Status) -> bool {
    match status.metadata().get("eventflow-reason").map(|reason| reason.as_bytes()) {
        Some(reason) => [&b"OUTCOME_UNKNOWN"[..], b"STORAGE_UNAVAILABLE", b"OVERLOADED", b"DRAINING"].contains(&reason),
        // What the client's transport makes of a broken connection.
        None => [Code::Unavailable, Code::Unknown, Code::Internal, Code::Cancelled].contains(&status.code()),
    }
}

/// Publishes events with ids, again and again until they are acknowledged.
pub async fn publish_surely(client: &Client, topic: &str, events: &[v1::NewEvent]) -> Vec<v1::Published> {
    publish_somewhere(std::slice::from_ref(client), 0, topic, events).await
}

/// As [`publish_surely`], first as the client of this index, and after each failure as the next one.
async fn publish_somewhere(
    clients: &[Client],
    first: usize,
    topic: &str,
    events: &[v1::NewEvent],
) -> Vec<v1::Published> {
    let start = Instant::now();
    for client in clients.iter().cycle().skip(first % clients.len()) {
        let call = timeout(PATIENCE, client.publish(topic, events.to_vec()));
        match call.await.expect("a publish ends in time") {
            Ok(published) => return published,
            Err(status) => assert!(may_be_repeated(&status), "{status:?}"),
        }
        assert!(start.elapsed() < PATIENCE, "a request was not acknowledged for {PATIENCE:?}");
        sleep(PAUSE).await;
    }
    panic!("there is no client to publish as");
}

/// Everything that a topic has, from its first event on.
pub async fn everything(client: &Client, topic: &str) -> Vec<v1::Event> {
    let request = || v1::SubscribeRequest { stop_at: v1::StopAt::Head.into(), ..from_earliest(topic) };
    // After a fault, each of the server's connections to its store may have to find out that it is broken.
    let start = Instant::now();
    loop {
        let read = async { Ok(client.subscribe(request()).await?.rest().await) };
        match read.await.and_then(|(events, end)| end.map(|()| events)) {
            Ok(events) => return events,
            Err(status) => assert!(may_be_repeated(&status) && start.elapsed() < PATIENCE, "{status:?}"),
        }
        sleep(PAUSE).await;
    }
}

/// Publishers that feed a topic with events of their own ids until told to stop.
pub struct Feed {
    known: Arc<Known>,
    publishers: Vec<JoinHandle<()>>,
}

/// What publishers have been told.
#[derive(Default)]
struct Known {
    stop: AtomicBool,
    acknowledged: Mutex<HashMap<String, i64>>,
    count: AtomicU64,
    /// Acknowledged as recorded before: an earlier attempt had been recorded without an answer.
    duplicates: AtomicU64,
}

/// What was acknowledged during a feed.
pub struct Acknowledged {
    /// Offsets by id.
    pub offsets: HashMap<String, i64>,
    /// Events of which the answer was lost the first time.
    pub duplicates: u64,
}

impl Feed {
    /// Starts publishers that send requests of up to `most` events each.
    pub fn start(client: &Client, topic: &str, publishers: usize, most: usize) -> Self {
        Self::named(client, topic, "", publishers, most)
    }

    /// As [`start`](Self::start), with ids that begin with `name`, beside another feed of the topic.
    pub fn named(client: &Client, topic: &str, name: &str, publishers: usize, most: usize) -> Self {
        Self::begin(std::slice::from_ref(client), topic, name, publishers, most)
    }

    /// As [`start`](Self::start), with publishers that begin as one client each, in turn, and go on as the next one
    /// after each failure.
    pub fn over(clients: &[Client], topic: &str, publishers: usize, most: usize) -> Self {
        Self::begin(clients, topic, "", publishers, most)
    }

    fn begin(clients: &[Client], topic: &str, name: &str, publishers: usize, most: usize) -> Self {
        let known = Arc::<Known>::default();
        let publish = |publisher| {
            let (clients, topic, known) = (clients.to_vec(), topic.to_owned(), known.clone());
            let name = format!("{name}{publisher}");
            tokio::spawn(async move { known.publish(&clients, &topic, publisher, &name, most).await })
        };
        Self { publishers: (0..publishers).map(publish).collect(), known }
    }

    /// How many events were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.known.count.load(Ordering::Relaxed)
    }

    /// Waits until more are acknowledged than now.
    pub async fn goes_on(&self) {
        let before = self.acknowledged();
        self.reaches(before + 1).await;
    }

    /// Waits until so many are acknowledged.
    pub async fn reaches(&self, count: u64) {
        let more = async || {
            assert!(!self.publishers.iter().any(JoinHandle::is_finished), "a publisher gave up, as said above");
            (self.acknowledged() >= count).then_some(())
        };
        eventually_within(PATIENCE, "the feed to go on", more).await;
    }

    /// Lets the publishers finish what they are sending.
    pub async fn stop(self) -> Acknowledged {
        self.known.stop.store(true, Ordering::Relaxed);
        for publisher in self.publishers {
            publisher.await.expect("a publisher goes on to the end");
        }
        let duplicates = self.known.duplicates.load(Ordering::Relaxed);
        Acknowledged { offsets: std::mem::take(&mut *self.known.acknowledged.lock()), duplicates }
    }
}

impl Known {
    async fn publish(&self, clients: &[Client], topic: &str, publisher: usize, name: &str, most: usize) {
        for request in 0.. {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let count = 1 + request % most;
            let events: Vec<_> = (0..count).map(|n| keyed(&format!("{name}-{request}-{n}"))).collect();
            let published = publish_somewhere(clients, publisher, topic, &events).await;
            assert_eq!(published.len(), count);
            let first = published[0].offset;
            assert!(
                published.iter().map(|p| p.offset).eq(first..first + count as i64),
                "not in one piece: {published:?}"
            );
            assert!(published.iter().all(|p| p.duplicate == published[0].duplicate), "half recorded: {published:?}");
            if published[0].duplicate {
                self.duplicates.fetch_add(count as u64, Ordering::Relaxed);
            }
            let ids = events.into_iter().zip(published).map(|(event, p)| {
                assert_eq!(p.id, event.id);
                (p.id, p.offset)
            });
            self.acknowledged.lock().extend(ids);
            self.count.fetch_add(count as u64, Ordering::Relaxed);
        }
    }
}

impl Acknowledged {
    /// Asserts that these events are the whole topic, each acknowledged one once and where it was
    /// acknowledged, without a gap. Returns how many were found.
    pub fn assert_found_once(&self, events: &[v1::Event]) -> usize {
        assert!(events.iter().map(|event| event.offset).eq(1..=events.len() as i64), "offsets have gaps");
        let found: HashMap<&str, i64> = events.iter().map(|event| (event.id.as_str(), event.offset)).collect();
        assert_eq!(found.len(), events.len(), "an id is there twice");
        for (id, offset) in &self.offsets {
            assert_eq!(found.get(id.as_str()), Some(offset), "{id} was acknowledged at {offset}");
        }
        // Every publisher went on until its last request was acknowledged.
        assert_eq!(found.len(), self.offsets.len(), "there are events that nobody was told of");
        found.len()
    }
}

/// A reader of a topic that connects again after whatever happens, and goes on after the last offset it saw.
pub struct Reader {
    seen: Arc<Mutex<Vec<v1::Event>>>,
    task: JoinHandle<()>,
}

impl Reader {
    /// Starts to read from the earliest event on.
    pub fn start(client: &Client, topic: &str) -> Self {
        let seen = Arc::<Mutex<Vec<v1::Event>>>::default();
        let (client, topic, read) = (client.clone(), topic.to_owned(), seen.clone());
        let task = tokio::spawn(async move {
            loop {
                let status = read_on(&client, &topic, &read).await;
                assert!(may_be_repeated(&status), "{status:?}");
                sleep(PAUSE).await;
            }
        });
        Self { seen, task }
    }

    /// What it saw until it had seen `head`.
    pub async fn until(self, head: i64) -> Vec<v1::Event> {
        let last = || self.seen.lock().last().map_or(0, |event| event.offset);
        let there = async || (last() >= head || self.task.is_finished()).then_some(());
        eventually_within(PATIENCE, "the reader to see the head", there).await;
        match self.task.is_finished() {
            true => self.task.await.expect("the reader goes on"),
            false => self.task.abort(),
        }
        std::mem::take(&mut *self.seen.lock())
    }
}

/// Reads on until the stream breaks.
async fn read_on(client: &Client, topic: &str, seen: &Mutex<Vec<v1::Event>>) -> Status {
    let position = seen.lock().last().map_or(0, |event| event.offset);
    let heartbeat_interval = Some(prost_types::Duration { seconds: 5, nanos: 0 });
    let request = v1::SubscribeRequest { heartbeat_interval, ..after(topic, position) };
    let mut stream = match client.subscribe(request).await {
        Ok(stream) => stream,
        Err(status) => return status,
    };
    loop {
        match stream.next().await {
            Ok(Some(Frame::Batch(batch))) => seen.lock().extend(batch.events),
            Ok(Some(_)) => {}
            Ok(None) => panic!("a stream without a stop ended with OK"),
            Err(status) => return status,
        }
    }
}

/// A reader of a topic whose one stream must live through everything.
pub struct Witness {
    stream: Stream,
    seen: Vec<v1::Event>,
}

impl Witness {
    /// Starts to read from the earliest event on.
    pub async fn start(client: &Client, topic: &str) -> Self {
        let heartbeat_interval = Some(prost_types::Duration { seconds: 5, nanos: 0 });
        let request = v1::SubscribeRequest { heartbeat_interval, ..from_earliest(topic) };
        let mut stream = client.subscribe(request).await.expect("a stream opens");
        stream.started().await;
        Self { stream, seen: Vec::new() }
    }

    /// Reads until it has seen this offset, without a gap or a repeat.
    pub async fn reaches(&mut self, offset: i64) {
        let start = Instant::now();
        while (self.seen.len() as i64) < offset {
            match self.stream.frame().await {
                Frame::Batch(batch) => {
                    for event in batch.events {
                        assert_eq!(event.offset, self.seen.len() as i64 + 1, "a gap or a repeat");
                        self.seen.push(event);
                    }
                }
                Frame::CaughtUp(_) | Frame::Heartbeat(_) => {}
                other => panic!("neither events nor a sign of life: {other:?}"),
            }
            assert!(start.elapsed() < PATIENCE, "{} of {offset} events were seen", self.seen.len());
        }
    }

    /// What it saw so far, from the first event on.
    pub fn seen(&self) -> &[v1::Event] {
        &self.seen
    }
}

/// Waits until each has seen this offset.
pub async fn all_reach(witnesses: &mut [Witness], offset: i64) {
    for witness in witnesses {
        witness.reaches(offset).await;
    }
}
