//! `growth`: what it costs that much is stored, in turns with the same where little is.

use std::time::Instant;

use super::{
    Settings,
    figures::{Counter, Figure, Measured, Run, Verified, histogram, median, micros, nanos},
    latency::live,
    load::{Dress, Load},
    publish::publish,
    reader::{End, Reader},
    replay::{BATCH, DEPTH},
    verify::same,
};
use crate::{
    cli::failure::Failure,
    proto::v1::{ListEventsRequest, event_service_client::EventServiceClient},
};

/// How often each thing is measured on each side; which side begins changes from pair to pair.
const PAIRS: usize = 7;
/// Events in the small topic: some whole segments, so that a reader of its middle gets as many at once as of the
/// large one, which has at least ten times as many.
const SMALL: u64 = 20_000;
const TIMES: u64 = 10;
/// Events in the load that is published again and again to fill a topic.
const FILLING: u64 = 1_000_000;
/// Pages, and subscriptions, of which the median is one measurement.
const CALLS: usize = 25;
/// Events whose latency is measured at once, at most.
const LIVE: u64 = 500;

/// A topic, and what is in it.
struct Grown {
    topics: [String; 1],
    content: Verified,
}

/// The measurements of one thing, on both sides.
#[derive(Default)]
struct Pairs {
    large: Vec<f64>,
    small: Vec<f64>,
}

/// One run. Publishing goes to a third topic, created for each measurement, in the place of the small one, which has
/// to stay small, and so that the events of neither side are in the server's memory where the oldest ones are read.
pub(super) async fn run(run: &Run<'_>, name: &str) -> Result<Measured, Failure> {
    let quiet = Counter::default();
    let progress = run.progress;
    // The bar is for the pairs.
    let run = &Run { progress: &quiet, ..*run };
    let small = Grown::filled(run, name, SMALL.min(run.settings.stored / TIMES)).await?;
    let mut large = Grown::filled(run, name, run.settings.stored).await?;
    let [mut published, mut latencies, mut pages, mut middles, mut among] = <[Pairs; 5]>::default();
    for pair in 0..PAIRS {
        for is_large in [pair % 2 == 0, pair % 2 != 0] {
            let old = if is_large { &large } else { &small };
            pages.of(is_large).push(old.first_page(run).await?);
            middles.of(is_large).push(old.middle(run).await?);
            if is_large {
                latencies.large.push(large.latency(run).await?);
                published.large.push(large.publish(run).await?);
            } else {
                let mut fresh = Grown::filled(run, name, small.content.events).await?;
                latencies.small.push(fresh.latency(run).await?);
                published.small.push(fresh.publish(run).await?);
                fresh.checked(run).await?;
            }
        }
        for is_among in [pair % 2 == 0, pair % 2 != 0] {
            among.of(is_among).push(beside(run, name, is_among).await?);
        }
        progress.add(run.settings.events / PAIRS as u64);
    }
    let verified = large.checked(run).await?.plus(small.checked(run).await?);
    let figures = [
        published.figures(["publish", "publish_small", "publish_ratio"], "events/s"),
        latencies.figures(["latency", "latency_small", "latency_ratio"], "us"),
        pages.figures(["first_page", "first_page_small", "first_page_ratio"], "us"),
        middles.figures(["middle", "middle_small", "middle_ratio"], "us"),
        among.figures(["idle_topics", "idle_topics_none", "idle_topics_ratio"], "events/s"),
    ];
    Ok(Measured { figures: figures.concat(), verified, latencies: None })
}

/// Events published a second to a topic, among idle topics with an event each or without them.
async fn beside(run: &Run<'_>, name: &str, among: bool) -> Result<f64, Failure> {
    let count = if among { run.settings.topics } else { 0 };
    let idle = run.target.create_topics(name, count).await?;
    let load = Load::new(count as u64, run.settings.connections, Dress::PLAIN, &idle, 1);
    publish(run, load, run.settings.depth).await?;
    let mut topic = Grown::filled(run, name, 1).await?;
    let rate = topic.publish(run).await?;
    topic.checked(run).await?;
    run.target.delete_topics(&idle).await?;
    Ok(rate)
}

impl Grown {
    async fn filled(run: &Run<'_>, name: &str, events: u64) -> Result<Self, Failure> {
        let topics = [run.target.create_topic(name).await?];
        let mut content = Verified::default();
        while content.events < events {
            let count = FILLING.min(events - content.events);
            let load = Load::new(count, run.settings.connections, Dress::PLAIN, &topics, BATCH);
            content = content.plus(publish(run, load, DEPTH).await?.expected());
        }
        Ok(Self { topics, content })
    }

    /// Events published a second.
    async fn publish(&mut self, run: &Run<'_>) -> Result<f64, Failure> {
        let Settings { events, connections, depth, .. } = *run.settings;
        let load = Load::new(events, connections, Dress::PLAIN, &self.topics, 1);
        let published = publish(run, load, depth).await?;
        self.content = self.content.plus(published.expected());
        Ok(published.rate())
    }

    /// The median from the publish call to the delivery, in microseconds.
    async fn latency(&mut self, run: &Run<'_>) -> Result<f64, Failure> {
        let live = live(run, &self.topics, self.content.events as i64, run.settings.events.min(LIVE)).await?;
        self.content = self.content.plus(live.verified);
        Ok(micros(&histogram(live.times)?, 0.5))
    }

    /// The median of ListEvents without a filter, in microseconds.
    async fn first_page(&self, run: &Run<'_>) -> Result<f64, Failure> {
        let mut client = EventServiceClient::new(run.target.channel().await?);
        let caller = run.target.caller();
        let mut times = Vec::with_capacity(CALLS);
        for _ in 0..CALLS {
            let request = ListEventsRequest { topic: self.topics[0].clone(), ..Default::default() };
            let started = Instant::now();
            let page = client.list_events(caller.request(request)).await?.into_inner();
            times.push(nanos(started.elapsed()));
            if page.events.first().is_none_or(|event| event.offset != 1) {
                return Err(Failure::Local("the first page does not begin with the first event".to_owned()));
            }
        }
        Ok(micros(&histogram(times)?, 0.5))
    }

    /// The median until a subscription that starts in the middle has its first event, in microseconds.
    async fn middle(&self, run: &Run<'_>) -> Result<f64, Failure> {
        let (channel, caller) = (run.target.reader_channel().await?, run.target.caller());
        let mut times = Vec::with_capacity(CALLS);
        for _ in 0..CALLS {
            let after = self.content.events as i64 / 2;
            let started = Instant::now();
            let mut reader = Reader::open_after(channel.clone(), &caller, &self.topics[0], after, End::Never).await?;
            reader.begun().await?;
            times.push(nanos(started.elapsed()));
        }
        Ok(micros(&histogram(times)?, 0.5))
    }

    /// Reads everything.
    async fn checked(&self, run: &Run<'_>) -> Result<Verified, Failure> {
        let channel = run.target.channel().await?;
        let reader = Reader::open(channel, &run.target.caller(), &self.topics[0], End::Head).await?;
        same(reader.read(u64::MAX, |_| {}).await?, self.content)
    }
}

impl Pairs {
    fn of(&mut self, large: bool) -> &mut Vec<f64> {
        if large { &mut self.large } else { &mut self.small }
    }

    /// The medians, and that of the ratios of the pairs in percent.
    fn figures(self, [large, small, ratio]: [&'static str; 3], unit: &'static str) -> Vec<Figure> {
        let ratios = self.large.iter().zip(&self.small).map(|(large, small)| 100.0 * large / small);
        let ratios: Vec<_> = ratios.collect();
        vec![
            Figure { part: large, value: median(&self.large), unit },
            Figure { part: small, value: median(&self.small), unit },
            Figure { part: ratio, value: median(&ratios), unit: "%" },
        ]
    }
}
