//! MODE_QUEUE: settling, and dead letters.

use std::{collections::HashSet, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use tonic::Status;

use super::{
    Checks, checks, duration, duration_message, event,
    paging::{digest, page_size, refuse_token},
    timestamp, whole_micros,
};
use crate::{
    broker::{DeadLetterView, Deliveries, Settle, SettleOutcome},
    domain::{
        ConsumerName, DeadCause, DeadLetter, DeadLetters, LeaseId, Offset, Settlement, Unsettled, Verdict, limits,
    },
    grpc::reason::Reason,
    proto::v1,
};

/// A request to settle deliveries, checked.
pub(crate) fn settle(request: v1::SettleRequest) -> Result<Settle, Status> {
    let v1::SettleRequest { consumer, lease_id, ack, nack, extend } = request;
    let mut checks = Checks::default();
    let consumer = checks.consumer("consumer", &consumer);
    let lease = lease(&mut checks, &lease_id);
    let count = ack.len() + nack.len() + extend.len();
    if count > limits::SETTLE_OFFSETS {
        let text = format!("has {count} offsets; at most {} are taken", limits::SETTLE_OFFSETS);
        checks.add(Reason::RequestInvalid, "ack", text);
    }
    let mut seen = HashSet::new();
    let mut settlements = Vec::with_capacity(count.min(limits::SETTLE_OFFSETS));
    let mut add = |checks: &mut Checks, field: String, offset: i64, verdict: Option<Verdict>| {
        let settled = delivered(offset).and_then(|offset| match seen.insert(offset) {
            true => Ok(offset),
            false => Err(format!("{offset} occurs twice in the request")),
        });
        let offset = checks.check(Reason::RequestInvalid, field, settled);
        if let (Some(offset), Some(verdict), Some(lease)) = (offset, verdict, lease) {
            settlements.push(Settlement { lease, offset, verdict });
        }
    };
    if count <= limits::SETTLE_OFFSETS {
        for (index, offset) in ack.into_iter().enumerate() {
            add(&mut checks, format!("ack[{index}]"), offset, Some(Verdict::Ack));
        }
        for (index, failed) in nack.into_iter().enumerate() {
            let offset = failed.offset;
            let verdict = verdict(&mut checks, index, failed);
            add(&mut checks, format!("nack[{index}].offset"), offset, verdict);
        }
        for (index, offset) in extend.into_iter().enumerate() {
            add(&mut checks, format!("extend[{index}]"), offset, Some(Verdict::Extend));
        }
    }
    checks.finish(consumer.map(|consumer| Settle { consumer, settlements }))
}

fn lease(checks: &mut Checks, lease_id: &str) -> Option<LeaseId> {
    let parsed = lease_id.parse().ok().filter(|id: &i64| *id > 0 && id.to_string() == lease_id);
    let parsed = parsed.ok_or_else(|| "is not the lease_id of a DeliveryBatch".to_owned());
    checks.check(Reason::RequestInvalid, "lease_id", parsed).map(LeaseId)
}

/// The offset of an event.
fn delivered(offset: i64) -> Result<Offset, String> {
    Offset::new(offset).filter(|offset| *offset > Offset::ZERO).ok_or_else(|| format!("{offset} is no event's offset"))
}

fn verdict(checks: &mut Checks, index: usize, nack: v1::Nack) -> Option<Verdict> {
    let v1::Nack { offset: _, error, delay, dead_letter } = nack;
    let text = checks::text(&error, limits::SETTLE_ERROR_BYTES).map(|()| error);
    let error = checks.check(Reason::RequestInvalid, format!("nack[{index}].error"), text);
    let field = format!("nack[{index}].delay");
    let delay = match delay {
        None => Some(None),
        Some(_) if dead_letter => {
            checks.add(Reason::RequestInvalid, field, "contradicts dead_letter");
            None
        }
        Some(delay) => checks.check(Reason::RequestInvalid, field, pause(delay)).map(Some),
    };
    match dead_letter {
        true => error.map(|error| Verdict::Reject { error }),
        false => error.zip(delay).map(|(error, delay)| Verdict::Nack { error, delay }),
    }
}

/// A pause before another attempt.
pub(super) fn pause(pause: prost_types::Duration) -> Result<Duration, String> {
    duration(pause).and_then(|pause| match pause <= limits::DELAY_MAX {
        true => Ok(whole_micros(pause)),
        false => Err(format!("{} s is longer than 30 days", pause.as_secs())),
    })
}

/// What became of a request to settle, for the wire.
pub(crate) fn settled(outcome: SettleOutcome) -> v1::SettleResponse {
    let SettleOutcome { failures, extended } = outcome;
    let failure = |(offset, cause): (Offset, Unsettled)| v1::SettleFailure {
        offset: offset.get(),
        cause: match cause {
            Unsettled::Lost => v1::settle_failure::Cause::Lost,
            Unsettled::AlreadySettled => v1::settle_failure::Cause::AlreadySettled,
            Unsettled::Unknown => v1::settle_failure::Cause::Unknown,
        }
        .into(),
    };
    let failures = failures.into_iter().map(failure).collect();
    v1::SettleResponse { failures, lease_remaining: extended.map(duration_message) }
}

/// Deliveries, for the wire of a single call.
pub(super) fn deliveries(deliveries: Deliveries) -> v1::DeliveryBatch {
    let Deliveries { lease, remaining, topic, events } = deliveries;
    let delivery = |one: &crate::broker::Delivery| v1::Delivery {
        event: Some(event(one.event(), &topic)),
        attempt: attempt(one.attempt),
    };
    v1::DeliveryBatch {
        lease_id: lease.to_string(),
        lease_remaining: Some(duration_message(remaining)),
        deliveries: events.iter().map(delivery).collect(),
    }
}

/// The number of an attempt, for the wire.
pub(crate) fn attempt(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// A page of dead letters.
#[derive(Debug)]
pub(crate) struct DeadLetterPage {
    /// The consumer.
    pub(crate) consumer: ConsumerName,
    /// Dead letters after this offset.
    pub(crate) after: Offset,
    /// Dead letters in the page.
    pub(crate) size: usize,
}

/// A request for dead letters, checked.
pub(crate) fn list_dead_letters(request: v1::ListDeadLettersRequest) -> Result<DeadLetterPage, Status> {
    let v1::ListDeadLettersRequest { consumer, page_size: size, page_token } = request;
    let mut checks = Checks::default();
    let name = checks.consumer("consumer", &consumer);
    let size = page_size(&mut checks, size);
    let after = match page_token.is_empty() {
        true => Some(Offset::ZERO),
        false => {
            let after = after_token(&consumer, &page_token);
            if after.is_none() {
                refuse_token(&mut checks);
            }
            after
        }
    };
    let parts = (|| Some((name?, size?, after?)))();
    checks.finish(parts.map(|(consumer, size, after)| DeadLetterPage { consumer, after, size }))
}

fn after_token(consumer: &str, token: &str) -> Option<Offset> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let offset = bytes.strip_prefix(&digest(&["dead_letters", consumer]))?;
    Offset::new(i64::from_be_bytes(offset.try_into().ok()?))
}

/// A page of dead letters, for the wire.
pub(crate) fn dead_letters(
    consumer: &ConsumerName,
    views: Vec<DeadLetterView>,
    more: bool,
) -> v1::ListDeadLettersResponse {
    let last = views.last().map(|view| view.letter.offset);
    let token = last.filter(|_| more).map(|last| {
        let query = digest(&["dead_letters", consumer.as_str()]);
        URL_SAFE_NO_PAD.encode([&query[..], &last.get().to_be_bytes()].concat())
    });
    let dead_letters = views.into_iter().map(dead_letter).collect();
    v1::ListDeadLettersResponse { dead_letters, next_page_token: token.unwrap_or_default() }
}

fn dead_letter(view: DeadLetterView) -> v1::DeadLetter {
    let DeadLetterView { letter, event: found, topic } = view;
    let DeadLetter { offset, key, attempts, error, cause, first_sent, last_sent, dead_time } = letter;
    v1::DeadLetter {
        offset: offset.get(),
        key,
        attempts: attempt(attempts),
        error,
        cause: match cause {
            DeadCause::MaxAttempts => v1::dead_letter::Cause::MaxAttempts,
            DeadCause::Rejected => v1::dead_letter::Cause::Rejected,
            DeadCause::Trimmed => v1::dead_letter::Cause::Trimmed,
        }
        .into(),
        first_sent_time: first_sent.map(timestamp),
        last_sent_time: last_sent.map(timestamp),
        dead_time: Some(timestamp(dead_time)),
        event: found.map(|found| event(&found, &topic)),
    }
}

/// Which dead letters of which consumer a request names, checked.
pub(crate) fn which_dead_letters(
    consumer: &str,
    offsets: Vec<i64>,
    all: bool,
) -> Result<(ConsumerName, DeadLetters), Status> {
    let mut checks = Checks::default();
    let name = checks.consumer("consumer", consumer);
    if offsets.len() > limits::DEAD_LETTERS_MOVED {
        let text = format!("has {} offsets; at most {} are taken", offsets.len(), limits::DEAD_LETTERS_MOVED);
        checks.add(Reason::RequestInvalid, "offsets", text);
    }
    let which = match (offsets.is_empty(), all) {
        (true, true) => Some(DeadLetters::All),
        (false, false) => {
            let parsed =
                offsets.into_iter().take(limits::DEAD_LETTERS_MOVED).enumerate().filter_map(|(index, offset)| {
                    checks.check(Reason::RequestInvalid, format!("offsets[{index}]"), delivered(offset))
                });
            let mut parsed: Vec<_> = parsed.collect();
            parsed.sort_unstable();
            parsed.dedup();
            Some(DeadLetters::Of(parsed))
        }
        (true, false) | (false, true) => {
            checks.add(Reason::RequestInvalid, "offsets", "either offsets or all must be set, not both");
            None
        }
    };
    checks.finish(name.zip(which))
}
