//! Fetching events by one call.

use std::time::Duration;

use tonic::Status;

use super::{Checks, consumer::start_after, duration, event, position, queue::deliveries};
use crate::{
    broker::{Poll, Polled, PolledConsumer, PolledQueue},
    domain::{StartFrom, limits},
    grpc::reason::Reason,
    proto::v1,
};

/// A request for events, checked.
pub(crate) fn poll(request: v1::PollRequest) -> Result<Poll, Status> {
    let v1::PollRequest { consumer, max_events, wait, after_offset } = request;
    let mut checks = Checks::default();
    let consumer = checks.consumer("consumer", &consumer);
    let max_events = match usize::try_from(max_events) {
        Ok(0) => limits::POLL_EVENTS_DEFAULT,
        Ok(events) if events <= limits::FRAME_EVENTS => events,
        Ok(_) | Err(_) => {
            let text = format!("{max_events} is not from 1 to {}; 0 means the default", limits::FRAME_EVENTS);
            checks.add(Reason::RequestInvalid, "max_events", text);
            0
        }
    };
    let wait = wait.map_or(Ok(Duration::ZERO), duration).and_then(|wait| match wait <= limits::POLL_WAIT_MAX {
        true => Ok(wait),
        false => Err(format!("{wait:?} is longer than 60 s")),
    });
    let wait = checks.check(Reason::RequestInvalid, "wait", wait);
    let after = match after_offset.map(|offset| start_after(&mut checks, "after_offset", offset)) {
        Some(Some(StartFrom::After(offset))) => Some(offset),
        _ => None,
    };
    checks.finish(consumer.zip(wait).map(|(consumer, wait)| Poll { consumer, max_events, wait, after }))
}

/// What was there, for the wire.
pub(crate) fn polled(polled: PolledConsumer) -> v1::PollResponse {
    match polled {
        PolledConsumer::Ordered(Polled { runs, position: at, epoch }) => {
            let events = runs.iter().flat_map(|run| run.iter().map(|one| event(one, run.topic()))).collect();
            let batch = v1::EventBatch { events, position: Some(position(at)) };
            v1::PollResponse { batch: Some(batch), epoch: epoch.0, deliveries: None }
        }
        PolledConsumer::Queue(PolledQueue { deliveries: found }) => {
            v1::PollResponse { batch: None, epoch: 0, deliveries: found.map(deliveries) }
        }
    }
}
