//! Streams.

use std::time::Duration;

use tonic::Status;
use uuid::Uuid;

use super::{
    Checks,
    consumer::{start_after, start_at, start_time},
    duration, duration_message, filter, position,
};
use crate::{
    broker::{ClosingReason, Frame, Source, StopAt, Subscribe},
    domain::{LogId, StartFrom, limits},
    grpc::{SubscribeFrame, call::Call, reason::Reason},
    proto::v1::{self, subscribe_response},
};

/// A request for a stream, checked.
pub(crate) fn subscribe(request: v1::SubscribeRequest, call: &Call) -> Result<Subscribe, Status> {
    let v1::SubscribeRequest {
        from,
        start,
        filter: wanted,
        stop_at,
        stop_offset,
        max_batch_events,
        heartbeat_interval,
        take_over,
        wait,
        max_in_flight,
        skip_trimmed,
        log_id,
    } = request;
    let mut checks = Checks::default();
    let max_in_flight = in_flight(&mut checks, max_in_flight, &from);
    if take_over && wait {
        checks.add(Reason::RequestInvalid, "wait", "contradicts take_over: a stream that takes over need not wait");
    }
    let from = source(&mut checks, from, start, wanted, take_over || wait);
    let stop = stop(&mut checks, stop_at, stop_offset);
    let max_batch_events = batch_events(&mut checks, max_batch_events);
    let heartbeat_interval = heartbeat(&mut checks, heartbeat_interval);
    let log_id = match (log_id.as_str(), Uuid::try_parse(&log_id)) {
        ("", _) => None,
        (_, Ok(id)) => Some(LogId(id)),
        (_, Err(_)) => {
            checks.add(Reason::StartInvalid, "log_id", "is not the log_id of an earlier Started");
            None
        }
    };
    let parts = (|| Some((from?, stop?, max_batch_events?, heartbeat_interval?)))();
    checks.finish(parts.map(|(from, stop, max_batch_events, heartbeat_interval)| Subscribe {
        from,
        stop,
        max_batch_events,
        heartbeat_interval,
        take_over,
        wait,
        skip_trimmed,
        log_id,
        max_in_flight,
        peer: call.peer().to_owned(),
    }))
}

fn source(
    checks: &mut Checks,
    from: Option<v1::subscribe_request::From>,
    start: Option<v1::subscribe_request::Start>,
    wanted: Option<v1::Filter>,
    holds: bool,
) -> Option<Source> {
    use v1::subscribe_request::{From, Start};
    match from {
        None => {
            checks.add(Reason::RequestInvalid, "from", "must be set: a consumer or a topic");
            None
        }
        Some(From::Consumer(name)) => {
            if start.is_some() {
                checks.add(Reason::StartInvalid, "start", "belongs to a topic; a consumer resumes where it is");
            }
            if wanted.is_some() {
                checks.add(Reason::FilterInvalid, "filter", "belongs to a topic; a consumer has its own");
            }
            checks.consumer("consumer", &name).map(Source::Consumer)
        }
        Some(From::Topic(name)) => {
            if holds {
                checks.add(Reason::RequestInvalid, "take_over", "take_over and wait belong to consumers");
            }
            let start = match start {
                None => Some(StartFrom::Head),
                Some(Start::StartAt(at)) => start_at(checks, "start_at", at, StartFrom::Head),
                Some(Start::AfterOffset(offset)) => start_after(checks, "after_offset", offset),
                Some(Start::StartTime(time)) => start_time(checks, "start_time", time),
            };
            let filter = filter(checks, "filter", wanted);
            let name = checks.topic("topic", &name);
            name.zip(start).map(|(name, start)| Source::Topic { name, start, filter })
        }
    }
}

fn stop(checks: &mut Checks, stop_at: i32, stop_offset: i64) -> Option<StopAt> {
    let parsed = v1::StopAt::try_from(stop_at);
    if stop_offset != 0 && parsed != Ok(v1::StopAt::Offset) {
        checks.add(Reason::StartInvalid, "stop_offset", "belongs to STOP_AT_OFFSET");
    }
    match parsed {
        Ok(v1::StopAt::Unspecified | v1::StopAt::Never) => Some(StopAt::Never),
        Ok(v1::StopAt::Head) => Some(StopAt::Head),
        Ok(v1::StopAt::Offset) => checks.offset(Reason::StartInvalid, "stop_offset", stop_offset).map(StopAt::Offset),
        Err(_) => {
            checks.add(Reason::StartInvalid, "stop_at", format!("{stop_at} is not a StopAt"));
            None
        }
    }
}

fn in_flight(checks: &mut Checks, wanted: i32, from: &Option<v1::subscribe_request::From>) -> Option<usize> {
    match (usize::try_from(wanted), from) {
        (Ok(0), _) => None,
        (Ok(wanted), Some(v1::subscribe_request::From::Consumer(_))) if wanted <= limits::IN_FLIGHT_MAX as usize => {
            Some(wanted)
        }
        (Ok(_) | Err(_), _) => {
            let text = format!("is a number from 1 to {}, for consumers in MODE_QUEUE", limits::IN_FLIGHT_MAX);
            checks.add(Reason::RequestInvalid, "max_in_flight", text);
            None
        }
    }
}

fn batch_events(checks: &mut Checks, events: i32) -> Option<usize> {
    match usize::try_from(events) {
        Ok(0) => Some(limits::FRAME_EVENTS),
        Ok(events) if events <= limits::FRAME_EVENTS => Some(events),
        Ok(_) | Err(_) => {
            let text = format!("{events} is not from 1 to {}; 0 means the most", limits::FRAME_EVENTS);
            checks.add(Reason::RequestInvalid, "max_batch_events", text);
            None
        }
    }
}

fn heartbeat(checks: &mut Checks, interval: Option<prost_types::Duration>) -> Option<Duration> {
    let Some(interval) = interval else { return Some(limits::HEARTBEAT_DEFAULT) };
    let interval = duration(interval).and_then(|interval| {
        match (limits::HEARTBEAT_MIN..=limits::HEARTBEAT_MAX).contains(&interval) {
            true => Ok(interval),
            false => Err(format!("{interval:?} is not from 1 s to 5 min")),
        }
    });
    checks.check(Reason::RequestInvalid, "heartbeat_interval", interval)
}

/// A frame for the wire.
pub(crate) fn frame(frame: Frame) -> SubscribeFrame {
    use subscribe_response::Frame as Message;
    let message = match frame {
        Frame::Batch { run, position } => return SubscribeFrame::batch(run, position),
        Frame::Deliveries(deliveries) => return SubscribeFrame::deliveries(deliveries),
        Frame::Started { subscription, epoch, position: at, heartbeat_interval, log_id } => {
            Message::Started(v1::Started {
                subscription_id: subscription.to_string(),
                epoch: epoch.map_or(0, |epoch| epoch.0),
                position: Some(position(at)),
                heartbeat_interval: Some(duration_message(heartbeat_interval)),
                log_id: log_id.to_string(),
            })
        }
        Frame::CaughtUp { position: at } => Message::CaughtUp(v1::CaughtUp { position: Some(position(at)) }),
        Frame::Heartbeat { position: at, paused, waiting } => {
            Message::Heartbeat(v1::Heartbeat { position: Some(position(at)), paused, waiting })
        }
        Frame::Skipped { from, to } => Message::Skipped(v1::Skipped { from_offset: from.get(), to_offset: to.get() }),
        Frame::Closing { reason, remaining } => Message::Closing(closing_message(reason, remaining)),
    };
    SubscribeFrame::message(message)
}

/// The notice that a stream will end.
pub(super) fn closing_message(reason: ClosingReason, remaining: Duration) -> v1::Closing {
    v1::Closing { reason: closing_reason(reason).into(), remaining: Some(duration_message(remaining)) }
}

fn closing_reason(reason: ClosingReason) -> v1::closing::Reason {
    match reason {
        ClosingReason::Draining => v1::closing::Reason::Draining,
        ClosingReason::MaxAge => v1::closing::Reason::MaxAge,
        ClosingReason::ConsumerChanged => v1::closing::Reason::ConsumerChanged,
        ClosingReason::TakenOver => v1::closing::Reason::TakenOver,
        ClosingReason::CredentialEnded => v1::closing::Reason::CredentialEnded,
        ClosingReason::Deleted => v1::closing::Reason::Deleted,
    }
}
