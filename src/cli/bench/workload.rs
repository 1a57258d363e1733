//! What can be measured, by name.

use clap::ValueEnum;

use super::{
    calls, fanout,
    figures::{Measured, Run},
    growth, idle, latency,
    load::Ids,
    publish, queue, replay, spread,
};
use crate::cli::failure::Failure;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum Workload {
    /// Events published one a request, each acknowledged by itself, with many under way on each connection.
    PublishPipelined,
    /// The same with 100 events a request.
    PublishBatched,
    /// Callers that each wait for the answer before their next event.
    PublishUnary,
    /// One caller with one event under way: how long it waits.
    PublishSingle,
    /// As publish_pipelined, each event with an id of the producer's that is ordered by time (UUIDv7).
    PublishDedup,
    /// The same with random ids (UUIDv4).
    PublishDedupRandom,
    /// As publish_pipelined, spread evenly over many topics.
    #[value(alias = "topics_1000")]
    PublishSpread,
    /// Calls of an RPC that touches no store, as many callers as in publish_unary, and then one.
    RpcEmpty,
    /// One reader, from the first event to the last.
    Replay,
    /// Live readers of one topic and one pipelined publisher; deliveries are summed.
    Fanout,
    /// From the publish call to the delivery to one live reader, at a fixed rate.
    Latency,
    /// Publishing without and with idle subscribers, and the memory that these take.
    Idle,
    /// Publishing, latency, a first page and a subscription, on a topic of many events in turns with one of few, and
    /// publishing among idle topics.
    Growth,
    /// Workers share a backlog of events without keys and settle each.
    Queue,
    /// The same with 5,000 keys.
    QueueKeyed,
}

impl Workload {
    /// Its name, as it is written and printed.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::PublishPipelined => "publish_pipelined",
            Self::PublishBatched => "publish_batched",
            Self::PublishUnary => "publish_unary",
            Self::PublishSingle => "publish_single",
            Self::PublishDedup => "publish_dedup",
            Self::PublishDedupRandom => "publish_dedup_random",
            Self::PublishSpread => "publish_spread",
            Self::RpcEmpty => "rpc_empty",
            Self::Replay => "replay",
            Self::Fanout => "fanout",
            Self::Latency => "latency",
            Self::Idle => "idle",
            Self::Growth => "growth",
            Self::Queue => "queue",
            Self::QueueKeyed => "queue_keyed",
        }
    }

    /// How many events it takes of the number that is wanted: those that wait for each other take fewer.
    pub(super) fn events(self, wanted: u64) -> u64 {
        let share = match self {
            Self::PublishPipelined
            | Self::PublishBatched
            | Self::PublishDedup
            | Self::PublishDedupRandom
            | Self::PublishSpread
            | Self::Replay
            | Self::Idle
            | Self::Queue
            | Self::QueueKeyed => 1,
            Self::PublishUnary | Self::RpcEmpty => 4,
            Self::Fanout | Self::Growth => 10,
            Self::Latency => 40,
            Self::PublishSingle => 100,
        };
        (wanted / share).max(1)
    }

    /// What is run before it is measured, to get warm: itself, but idle subscribers are opened, and a topic of many
    /// events is filled, only once.
    pub(super) fn warm_up(self) -> Self {
        if matches!(self, Self::Idle | Self::Growth) { Self::PublishPipelined } else { self }
    }

    /// One run.
    pub(super) async fn run(self, run: &Run<'_>) -> Result<Measured, Failure> {
        match self {
            Self::PublishPipelined => publish::run(run, self.name(), Ids::None, 1).await,
            Self::PublishBatched => publish::run(run, self.name(), Ids::None, publish::BATCH).await,
            Self::PublishDedup => publish::run(run, self.name(), Ids::Ordered, 1).await,
            Self::PublishDedupRandom => publish::run(run, self.name(), Ids::Random, 1).await,
            Self::PublishSpread => spread::run(run, self.name()).await,
            Self::PublishUnary => calls::unary(run, self.name()).await,
            Self::PublishSingle => calls::single(run, self.name()).await,
            Self::RpcEmpty => calls::empty(run).await,
            Self::Replay => replay::run(run, self.name()).await,
            Self::Fanout => fanout::run(run, self.name()).await,
            Self::Latency => latency::run(run, self.name()).await,
            Self::Idle => idle::run(run, self.name()).await,
            Self::Growth => growth::run(run, self.name()).await,
            Self::Queue => queue::run(run, self.name(), false).await,
            Self::QueueKeyed => queue::run(run, self.name(), true).await,
        }
    }
}
