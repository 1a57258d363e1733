//! The workloads of `eventflow bench`, run against NATS JetStream, with the same events.
//! One line a figure: `name<TAB>figure<TAB>unit`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use async_nats::jetstream::{self, Message, consumer::pull, consumer::push, context::Context, stream};
use bytes::Bytes;
use clap::Parser;
use futures::{Stream, StreamExt, stream::FuturesUnordered};
use tokio::task::JoinSet;

/// The very file that EventFlow makes its events of.
#[allow(dead_code, reason = "keys are not used here")]
#[path = "../../../src/cli/bench/order.rs"]
mod order;

use order::{checksum, order};

const CONNECTIONS: usize = 8;
const CALLERS: usize = 64;
const DEPTH: usize = 256;
const RATE: u32 = 1000;

#[derive(Parser)]
struct Args {
    #[arg(long)]
    url: String,
    /// Events; a quarter for publish_unary, a tenth for fanout, a fortieth for latency, a hundredth for publish_single.
    #[arg(long, default_value_t = 200_000)]
    events: usize,
    /// Live readers in fanout.
    #[arg(long, default_value_t = 50)]
    readers: usize,
    workload: String,
}

/// Texts made before the clock starts, and their checksum.
struct Load {
    texts: Vec<Bytes>,
    checksum: u64,
}

impl Load {
    fn new(events: usize) -> Self {
        let texts: Vec<Bytes> = (0..events.max(1) as u64).map(|n| order(n).into()).collect();
        let checksum = texts.iter().fold(0, |sum: u64, text| sum.wrapping_add(checksum(text)));
        Self { texts, checksum }
    }

    /// The texts, dealt out in turn.
    fn shares(&self, count: usize) -> Vec<Vec<Bytes>> {
        (0..count).map(|part| self.texts.iter().skip(part).step_by(count).cloned().collect()).collect()
    }
}

fn report(name: &str, value: f64, unit: &str) {
    println!("{name}\t{value:.0}\t{unit}");
}

fn rate(name: &str, count: usize, elapsed: Duration, unit: &str) {
    report(name, count as f64 / elapsed.as_secs_f64(), unit);
}

fn percentiles(name: &str, mut micros: Vec<f64>) {
    micros.sort_by(f64::total_cmp);
    for (part, share) in [("p50", 0.50), ("p99", 0.99)] {
        report(&format!("{name}.{part}"), micros[((micros.len() - 1) as f64 * share) as usize], "us");
    }
}

async fn connect(args: &Args) -> Result<Context> {
    let mut context = jetstream::new(async_nats::connect(&args.url).await?);
    context.set_timeout(Duration::from_secs(60));
    Ok(context)
}

async fn connections(args: &Args, count: usize) -> Result<Vec<Context>> {
    let mut contexts = Vec::new();
    for _ in 0..count {
        contexts.push(connect(args).await?);
    }
    Ok(contexts)
}

async fn create_stream(context: &Context) -> Result<()> {
    let config = stream::Config {
        name: "bench".into(),
        subjects: vec!["bench.>".into()],
        storage: stream::StorageType::File,
        ..Default::default()
    };
    context.create_stream(config).await?;
    Ok(())
}

/// That the stream has so many events.
async fn stored(context: &Context, events: usize) -> Result<()> {
    let found = context.get_stream("bench").await?.cached_info().state.messages;
    ensure!(found == events as u64, "{found} of {events} events are there");
    Ok(())
}

async fn joined<T: 'static>(mut tasks: JoinSet<Result<T>>) -> Result<Vec<T>> {
    let mut results = Vec::new();
    while let Some(result) = tasks.join_next().await {
        results.push(result??);
    }
    Ok(results)
}

/// Publishes, each connection with so many events unacknowledged; returns when it began and how long it took.
async fn publish(contexts: Vec<Context>, load: &Load) -> Result<(Instant, Duration)> {
    let mut tasks = JoinSet::new();
    let shares = load.shares(contexts.len());
    let started = Instant::now();
    for (index, (context, texts)) in contexts.into_iter().zip(shares).enumerate() {
        tasks.spawn(async move {
            let subject = format!("bench.{index}");
            let mut acks = FuturesUnordered::new();
            for text in texts {
                if acks.len() >= DEPTH {
                    let ack: Option<Result<_, jetstream::context::PublishError>> = acks.next().await;
                    ack.transpose()?;
                }
                let ack = context.publish(subject.clone(), text).await?;
                acks.push(async move { ack.await });
            }
            while let Some(ack) = acks.next().await {
                ack?;
            }
            anyhow::Ok(())
        });
    }
    joined(tasks).await?;
    Ok((started, started.elapsed()))
}

/// Reads as many events as there are to come, and checks them.
async fn read<E: std::error::Error + Send + Sync + 'static>(
    mut messages: impl Stream<Item = Result<Message, E>> + Unpin,
    events: usize,
    expected: u64,
    mut seen: impl FnMut(usize) -> Result<()>,
) -> Result<()> {
    let mut sum = 0_u64;
    for place in 0..events {
        let Some(message) = messages.next().await else { bail!("the messages ended") };
        sum = sum.wrapping_add(checksum(&message?.payload));
        seen(place)?;
    }
    ensure!(sum == expected, "{events} events came, with the checksum {sum:016x} for {expected:016x}");
    Ok(())
}

/// A live reader on a connection of its own.
async fn live(args: &Args) -> Result<push::Ordered> {
    let client = async_nats::connect(&args.url).await?;
    let config = push::OrderedConfig { deliver_subject: client.new_inbox(), ..Default::default() };
    Ok(jetstream::new(client).get_stream("bench").await?.create_consumer(config).await?.messages().await?)
}

async fn publish_pipelined(args: &Args, context: &Context) -> Result<()> {
    let load = Load::new(args.events);
    let (_, elapsed) = publish(connections(args, CONNECTIONS).await?, &load).await?;
    stored(context, load.texts.len()).await?;
    rate("publish_pipelined", load.texts.len(), elapsed, "events/s");
    Ok(())
}

async fn publish_unary(args: &Args, context: &Context) -> Result<()> {
    let load = Load::new(args.events / 4);
    let contexts = connections(args, CONNECTIONS).await?;
    let mut tasks = JoinSet::new();
    let shares = load.shares(CALLERS);
    let started = Instant::now();
    for (index, texts) in shares.into_iter().enumerate() {
        let context = contexts[index % CONNECTIONS].clone();
        tasks.spawn(async move {
            for text in texts {
                context.publish("bench.0", text).await?.await?;
            }
            anyhow::Ok(())
        });
    }
    joined(tasks).await?;
    let elapsed = started.elapsed();
    stored(context, load.texts.len()).await?;
    rate("publish_unary", load.texts.len(), elapsed, "events/s");
    Ok(())
}

async fn publish_single(args: &Args, context: &Context) -> Result<()> {
    let load = Load::new(args.events / 100);
    let mut micros = Vec::new();
    for text in load.texts.iter().cloned() {
        let started = Instant::now();
        context.publish("bench.0", text).await?.await?;
        micros.push(started.elapsed().as_secs_f64() * 1e6);
    }
    stored(context, load.texts.len()).await?;
    percentiles("publish_single", micros);
    Ok(())
}

async fn replay(args: &Args, context: &Context) -> Result<()> {
    let load = Load::new(args.events);
    publish(connections(args, CONNECTIONS).await?, &load).await?;
    let stream = context.get_stream("bench").await?;
    let started = Instant::now();
    let messages = stream.create_consumer(pull::OrderedConfig::default()).await?.messages().await?;
    read(messages, load.texts.len(), load.checksum, |_| Ok(())).await?;
    rate("replay", load.texts.len(), started.elapsed(), "events/s");
    Ok(())
}

async fn fanout(args: &Args, _: &Context) -> Result<()> {
    let load = Load::new(args.events / 10);
    let (events, expected) = (load.texts.len(), load.checksum);
    let mut tasks = JoinSet::new();
    for _ in 0..args.readers {
        let messages = live(args).await?;
        tasks.spawn(async move { read(messages, events, expected, |_| Ok(())).await });
    }
    let (started, _) = publish(connections(args, 1).await?, &load).await?;
    joined(tasks).await?;
    rate("fanout", args.readers * events, started.elapsed(), "deliveries/s");
    Ok(())
}

async fn latency(args: &Args, context: &Context) -> Result<()> {
    let load = Load::new(args.events / 40);
    let (events, expected) = (load.texts.len(), load.checksum);
    let messages = live(args).await?;
    let epoch = Instant::now();
    let sent: Arc<[AtomicU64]> = (0..events).map(|_| AtomicU64::new(0)).collect();
    let delivered = sent.clone();
    let mut reading = JoinSet::new();
    reading.spawn(async move {
        let mut micros = Vec::with_capacity(events);
        let seen = |place: usize| {
            let nanos = epoch.elapsed().as_nanos() as u64 - delivered[place].load(Ordering::Acquire);
            micros.push(nanos as f64 / 1e3);
            Ok(())
        };
        read(messages, events, expected, seen).await?;
        Ok(micros)
    });
    let mut tick = tokio::time::interval(Duration::from_secs(1) / RATE);
    let mut acks = Vec::with_capacity(events);
    for (text, sent) in load.texts.iter().zip(sent.iter()) {
        tick.tick().await;
        sent.store(epoch.elapsed().as_nanos() as u64, Ordering::Release);
        acks.push(context.publish("bench.0", text.clone()).await?);
    }
    let micros = joined(reading).await?.concat();
    for ack in acks {
        ack.await?;
    }
    percentiles("latency", micros);
    Ok(())
}

async fn queue(args: &Args, context: &Context) -> Result<()> {
    let load = Load::new(args.events);
    publish(connections(args, CONNECTIONS).await?, &load).await?;
    let config = pull::Config { durable_name: Some("workers".into()), max_ack_pending: 8_000, ..Default::default() };
    context.get_stream("bench").await?.create_consumer(config).await?;
    // How many are still to be settled, by anybody.
    let left = Arc::new(AtomicU64::new(load.texts.len() as u64));
    let sum = Arc::new(AtomicU64::new(0));
    let (done, over) = tokio::sync::watch::channel(false);
    let done = Arc::new(done);
    let mut tasks = JoinSet::new();
    let contexts = connections(args, CONNECTIONS).await?;
    let started = Instant::now();
    for context in contexts {
        let (left, sum, done, mut over) = (left.clone(), sum.clone(), done.clone(), over.clone());
        tasks.spawn(async move {
            let consumer: jetstream::consumer::Consumer<pull::Config> =
                context.get_consumer_from_stream("workers", "bench").await?;
            let mut messages = consumer.messages().await?;
            loop {
                let message = tokio::select! {
                    message = messages.next() => message,
                    _ = over.wait_for(|over| *over) => return anyhow::Ok(()),
                };
                let Some(message) = message.transpose()? else { bail!("the messages ended") };
                sum.fetch_add(checksum(&message.payload), Ordering::Relaxed);
                message.ack().await.map_err(|error| anyhow::anyhow!(error))?;
                if left.fetch_sub(1, Ordering::Relaxed) == 1 {
                    done.send_replace(true);
                }
            }
        });
    }
    joined(tasks).await?;
    let elapsed = started.elapsed();
    let sum = sum.load(Ordering::Relaxed);
    ensure!(sum == load.checksum, "the checksum is {sum:016x} for {:016x}", load.checksum);
    rate("queue", load.texts.len(), elapsed, "events/s");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let context = connect(&args).await?;
    create_stream(&context).await?;
    match args.workload.as_str() {
        "publish_pipelined" => publish_pipelined(&args, &context).await,
        "publish_unary" => publish_unary(&args, &context).await,
        "publish_single" => publish_single(&args, &context).await,
        "replay" => replay(&args, &context).await,
        "fanout" => fanout(&args, &context).await,
        "latency" => latency(&args, &context).await,
        "queue" => queue(&args, &context).await,
        other => bail!("{other} is not known"),
    }
}
