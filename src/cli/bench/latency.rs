//! `latency`: from the publish call to the delivery, at a fixed rate that nobody is late for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt, stream};
use tokio::{task::JoinSet, time::interval};
use tokio_stream::wrappers::IntervalStream;
use tonic::transport::Channel;

use super::{
    figures::{Counter, Measured, Run, Verified, histogram, nanos},
    lane::{Acknowledged, note, publish_stream},
    load::{Dress, Load, Share},
    messages::Request,
    reader::{End, Reader},
    target::Caller,
    verify::{joined, read_back, same},
};
use crate::cli::failure::Failure;

/// When each event was published: nanoseconds after the epoch of the run.
#[derive(Debug, Clone)]
struct Clock {
    epoch: Instant,
    /// The last offset before them.
    after: i64,
    sent: Arc<[AtomicU64]>,
}

impl Clock {
    fn new(after: i64, events: u64) -> Self {
        Self { epoch: Instant::now(), after, sent: (0..events).map(|_| AtomicU64::new(0)).collect() }
    }

    fn publish(&self, index: usize) {
        if let Some(sent) = self.sent.get(index) {
            sent.store(nanos(self.epoch.elapsed()), Ordering::Release);
        }
    }

    /// How long the event at this offset took; there is one publisher, so they are in its order.
    fn delivered(&self, offset: i64) -> u64 {
        let sent = usize::try_from(offset - 1 - self.after).ok().and_then(|index| self.sent.get(index));
        nanos(self.epoch.elapsed()).saturating_sub(sent.map_or(0, |sent| sent.load(Ordering::Acquire)))
    }
}

/// What came live.
pub(super) struct Live {
    /// From the publish call to the delivery, in nanoseconds, of each event.
    pub(super) times: Vec<u64>,
    pub(super) acknowledged: Acknowledged,
    pub(super) verified: Verified,
}

/// One run: the times of all events, each of them published when it is due, whatever became of those before it.
pub(super) async fn run(run: &Run<'_>, name: &str) -> Result<Measured, Failure> {
    let topics = [run.target.create_topic(name).await?];
    let Live { times, acknowledged, verified } = live(run, &topics, 0, run.settings.events).await?;
    read_back(run, &topics, &acknowledged, verified).await?;
    Ok(Measured::latencies(histogram(times)?, verified))
}

/// Publishes events to a topic whose head is `after`, and has a reader wait for them.
pub(super) async fn live(run: &Run<'_>, topics: &[String; 1], after: i64, events: u64) -> Result<Live, Failure> {
    let load = Load::new(events, 1, Dress::PLAIN, topics, 1);
    let content = Verified { events, checksum: load.checksum };
    let (channel, caller) = (run.target.reader_channel().await?, run.target.caller());
    let mut reader = Reader::open_after(channel, &caller, &topics[0], after, End::Never).await?;
    reader.caught_up().await?;

    let clock = Clock::new(after, events);
    let mut publishing = JoinSet::new();
    let client = run.target.channel().await?;
    for share in load.shares {
        let requests = paced(share, Duration::from_secs(1) / run.settings.rate, clock.clone());
        publishing.spawn(publish(client.clone(), caller.clone(), requests, run.progress.clone()));
    }
    let mut times = Vec::with_capacity(events as usize);
    let reading = reader.read(events, |offset| times.push(clock.delivered(offset)));
    // If nothing is published, nothing is to be waited for.
    let (found, acknowledged) = tokio::try_join!(reading, joined(&mut publishing))?;
    let verified = same(found, content)?;
    Ok(Live { times, acknowledged: acknowledged.concat(), verified })
}

/// The requests, one at each tick, which is when it is published.
fn paced(share: Share, pause: Duration, clock: Clock) -> impl Stream<Item = Request> + Send + 'static {
    let requests = stream::iter(share.into_stream().enumerate());
    IntervalStream::new(interval(pause)).zip(requests).map(move |(_, (index, publish))| {
        clock.publish(index);
        Request { sequence: index as i64 + 1, publish: Some(publish) }
    })
}

async fn publish(
    client: Channel,
    caller: Caller,
    requests: impl Stream<Item = Request> + Send + 'static,
    progress: Counter,
) -> Result<Acknowledged, Failure> {
    let mut responses = publish_stream(client, &caller, requests).await?;
    let mut acknowledged = Acknowledged::new();
    let mut answered = 0;
    while let Some(response) = responses.message().await? {
        answered += 1;
        note(response, answered, Some(0), &mut acknowledged)?;
        progress.add(1);
    }
    Ok(acknowledged)
}
