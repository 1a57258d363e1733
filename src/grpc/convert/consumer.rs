//! Consumers.

use std::time::Duration;

use tonic::Status;

use super::{
    Checks, duration, duration_message, filter, filter_message, position, queue::pause, timestamp, timestamp_value,
    whole_micros,
};
use crate::{
    broker::{ConsumerView, Position},
    domain::{
        Bounds, Connection, ConsumerChange, ConsumerName, Invalid, Mode, NewConsumer, Offset, QueuePolicy, StartFrom,
        limits,
    },
    grpc::{reason::Reason, status::Problem},
    proto::v1,
};

/// A consumer to be registered. What only the server sets is ignored.
pub(crate) fn new_consumer(consumer: Option<v1::Consumer>) -> Result<NewConsumer, Status> {
    let Some(consumer) = consumer else {
        return Err(Problem::invalid(Reason::RequestInvalid, &Invalid::one("consumer", "must be set")).into());
    };
    let v1::Consumer {
        name,
        topic,
        mode,
        filter: wanted,
        start,
        lease,
        backoff,
        max_attempts,
        max_in_flight,
        create_time: _,
        status: _,
    } = consumer;
    let mut checks = Checks::default();
    let name = checks.consumer("consumer.name", &name);
    let topic = checks.topic("consumer.topic", &topic);
    let mode = self::mode(&mut checks, mode);
    let filter = filter(&mut checks, "consumer.filter", wanted);
    let start = self::start(&mut checks, start);
    let queue_fields = lease.is_some() || !backoff.is_empty() || max_attempts != 0 || max_in_flight != 0;
    if mode == Some(Mode::Ordered) && queue_fields {
        let text = "lease, backoff, max_attempts and max_in_flight belong to MODE_QUEUE";
        checks.add(Reason::RequestInvalid, "consumer.mode", text);
    }
    let queue = queue_policy(&mut checks, lease, backoff, max_attempts, max_in_flight);
    let parts = (|| Some((name?, topic?, mode?, start?)))();
    checks.finish(parts.map(|(name, topic, mode, start)| NewConsumer { name, topic, mode, filter, start, queue }))
}

fn mode(checks: &mut Checks, mode: i32) -> Option<Mode> {
    match v1::Mode::try_from(mode) {
        Ok(v1::Mode::Unspecified | v1::Mode::Ordered) => Some(Mode::Ordered),
        Ok(v1::Mode::Queue) => Some(Mode::Queue),
        Err(_) => {
            checks.add(Reason::RequestInvalid, "consumer.mode", format!("{mode} is not a Mode"));
            None
        }
    }
}

fn start(checks: &mut Checks, start: Option<v1::consumer::Start>) -> Option<StartFrom> {
    use v1::consumer::Start;
    match start {
        None => Some(StartFrom::Earliest),
        Some(Start::StartAt(at)) => start_at(checks, "consumer.start_at", at, StartFrom::Earliest),
        Some(Start::AfterOffset(offset)) => start_after(checks, "consumer.after_offset", offset),
        Some(Start::StartTime(time)) => start_time(checks, "consumer.start_time", time),
    }
}

/// A change of a consumer, whose, and whether it is one for MODE_QUEUE.
pub(crate) fn consumer_update(
    request: v1::UpdateConsumerRequest,
) -> Result<(ConsumerName, ConsumerChange, bool), Status> {
    let v1::UpdateConsumerRequest { name, filter: wanted, lease, backoff, max_attempts, max_in_flight } = request;
    let mut checks = Checks::default();
    let name = checks.consumer("name", &name);
    let filter = wanted.map(|wanted| filter(&mut checks, "filter", Some(wanted)));
    let for_queue = lease.is_some() || backoff.is_some() || max_attempts.is_some() || max_in_flight.is_some();
    let lease = lease.and_then(|lease| checks.check(Reason::RequestInvalid, "lease", lease_value(lease)));
    let backoff = backoff.map(|v1::Backoff { pauses }| match pauses.is_empty() {
        true => QueuePolicy::default().backoff,
        false => self::backoff(&mut checks, "backoff.pauses", pauses),
    });
    let max_attempts = given(&mut checks, "max_attempts", max_attempts, limits::ATTEMPTS_MAX);
    let max_in_flight = given(&mut checks, "max_in_flight", max_in_flight, limits::IN_FLIGHT_MAX);
    let change = ConsumerChange { filter, lease, backoff, max_attempts, max_in_flight };
    checks.finish(name.map(|name| (name, change, for_queue)))
}

/// A number that must be given to be changed.
fn given(checks: &mut Checks, field: &str, value: Option<i32>, max: u32) -> Option<u32> {
    let value = value?;
    let parsed = u32::try_from(value).ok().filter(|value| (1..=max).contains(value));
    checks.check(Reason::RequestInvalid, field, parsed.ok_or_else(|| format!("{value} is not from 1 to {max}")))
}

/// How long a delivery stays leased.
fn lease_value(lease: prost_types::Duration) -> Result<Duration, String> {
    duration(lease).and_then(|lease| match (limits::LEASE_MIN..=limits::LEASE_MAX).contains(&lease) {
        true => Ok(whole_micros(lease)),
        false => Err(format!("{lease:?} is not from 1 s to 1 h")),
    })
}

/// Pauses between attempts; those that are wrong are noted and left out.
fn backoff(checks: &mut Checks, field: &str, pauses: Vec<prost_types::Duration>) -> Vec<Duration> {
    if pauses.len() > limits::BACKOFF_STEPS {
        let text = format!("has {} pauses; at most {} are taken", pauses.len(), limits::BACKOFF_STEPS);
        checks.add(Reason::RequestInvalid, field, text);
        return Vec::new();
    }
    let pauses = pauses.into_iter().enumerate();
    pauses
        .filter_map(|(index, one)| checks.check(Reason::RequestInvalid, format!("{field}[{index}]"), pause(one)))
        .collect()
}

/// Where a consumer is to go on, and which.
pub(crate) fn seek(request: v1::SeekConsumerRequest) -> Result<(ConsumerName, StartFrom), Status> {
    use v1::seek_consumer_request::Start;
    let v1::SeekConsumerRequest { name, start } = request;
    let mut checks = Checks::default();
    let name = checks.consumer("name", &name);
    let start = match start {
        Some(Start::StartAt(at)) if at != v1::StartAt::Unspecified as i32 => {
            start_at(&mut checks, "start_at", at, StartFrom::Earliest)
        }
        Some(Start::AfterOffset(offset)) => start_after(&mut checks, "after_offset", offset),
        Some(Start::StartTime(time)) => start_time(&mut checks, "start_time", time),
        Some(Start::StartAt(_)) | None => {
            checks.add(Reason::StartInvalid, "start", "must be set: where the consumer is to go on");
            None
        }
    };
    checks.finish(name.zip(start))
}

/// A place without a number.
pub(super) fn start_at(checks: &mut Checks, field: &str, at: i32, default: StartFrom) -> Option<StartFrom> {
    match v1::StartAt::try_from(at) {
        Ok(v1::StartAt::Unspecified) => Some(default),
        Ok(v1::StartAt::Earliest) => Some(StartFrom::Earliest),
        Ok(v1::StartAt::Head) => Some(StartFrom::Head),
        Err(_) => {
            checks.add(Reason::StartInvalid, field, format!("{at} is not a StartAt"));
            None
        }
    }
}

/// A place after an offset.
pub(super) fn start_after(checks: &mut Checks, field: &str, offset: i64) -> Option<StartFrom> {
    checks.offset(Reason::StartInvalid, field, offset).map(StartFrom::After)
}

/// A place at a time.
pub(super) fn start_time(checks: &mut Checks, field: &str, time: prost_types::Timestamp) -> Option<StartFrom> {
    checks.check(Reason::StartInvalid, field, timestamp_value(time)).map(StartFrom::Time)
}

fn queue_policy(
    checks: &mut Checks,
    lease: Option<prost_types::Duration>,
    backoff: Vec<prost_types::Duration>,
    max_attempts: i32,
    max_in_flight: i32,
) -> QueuePolicy {
    let mut policy = QueuePolicy::default();
    let reason = Reason::RequestInvalid;
    if let Some(lease) = lease {
        policy.lease = checks.check(reason, "consumer.lease", lease_value(lease)).unwrap_or(policy.lease);
    }
    if !backoff.is_empty() {
        policy.backoff = self::backoff(checks, "consumer.backoff", backoff);
    }
    let mut count = |field: &str, value: i32, default: u32, max: u32| match u32::try_from(value) {
        Ok(0) => default,
        Ok(value) if value <= max => value,
        Ok(_) | Err(_) => {
            checks.add(reason, field, format!("{value} is not from 1 to {max}; 0 means {default}"));
            default
        }
    };
    policy.max_attempts = count("consumer.max_attempts", max_attempts, policy.max_attempts, limits::ATTEMPTS_MAX);
    policy.max_in_flight = count("consumer.max_in_flight", max_in_flight, policy.max_in_flight, limits::IN_FLIGHT_MAX);
    policy
}

/// A consumer for the wire.
pub(crate) fn consumer(view: ConsumerView) -> v1::Consumer {
    let lag_events = i64::try_from(view.lag_events()).ok();
    let ConsumerView { consumer, queue: busy, bounds, lag_time, connections, connection_count } = view;
    let NewConsumer { name, topic, mode, filter, start, queue } = consumer.settings;
    let bounds = bounds.unwrap_or(Bounds { head: consumer.stored, trimmed_to: Offset::ZERO });
    let status = v1::ConsumerStatus {
        position: Some(position(Position { offset: consumer.stored, bounds })),
        lag_events,
        lag_time: lag_time.map(duration_message),
        in_flight: busy.map(|busy| number(busy.in_flight)),
        retrying: busy.map(|busy| number(busy.retrying)),
        dead_letters: busy.map(|busy| number(busy.dead_letters)),
        paused: consumer.paused,
        epoch: consumer.epoch.0,
        connections: connections.into_iter().map(connection).collect(),
        connection_count: i32::try_from(connection_count).unwrap_or(i32::MAX),
        trimmed_events: number(consumer.trimmed_events),
    };
    let (lease, backoff, max_attempts, max_in_flight) = match mode {
        Mode::Ordered => (None, Vec::new(), 0, 0),
        Mode::Queue => (
            Some(duration_message(queue.lease)),
            queue.backoff.into_iter().map(duration_message).collect(),
            i32::try_from(queue.max_attempts).unwrap_or(i32::MAX),
            i32::try_from(queue.max_in_flight).unwrap_or(i32::MAX),
        ),
    };
    v1::Consumer {
        name: name.to_string(),
        topic: topic.to_string(),
        mode: match mode {
            Mode::Ordered => v1::Mode::Ordered,
            Mode::Queue => v1::Mode::Queue,
        }
        .into(),
        filter: filter_message(&filter),
        start: Some(start_message(start)),
        lease,
        backoff,
        max_attempts,
        max_in_flight,
        create_time: Some(timestamp(consumer.create_time)),
        status: Some(status),
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn start_message(start: StartFrom) -> v1::consumer::Start {
    use v1::consumer::Start;
    match start {
        StartFrom::Earliest => Start::StartAt(v1::StartAt::Earliest.into()),
        StartFrom::Head => Start::StartAt(v1::StartAt::Head.into()),
        StartFrom::After(offset) => Start::AfterOffset(offset.get()),
        StartFrom::Time(time) => Start::StartTime(timestamp(time)),
    }
}

fn connection(connection: Connection) -> v1::Connection {
    let Connection { subscription, peer, server, connect_time } = connection;
    v1::Connection {
        subscription_id: subscription.to_string(),
        peer,
        server,
        connect_time: Some(timestamp(connect_time)),
    }
}
