//! Sending groups of events, again if the server was away.

use std::{io::IsTerminal, time::Duration};

use tokio::time::Instant;
use tonic::{Code, Status};

use crate::{
    cli::{
        connection::Connection,
        failure::{Failure, is_unavailable},
        json::{self, Defaults},
        moment::show_time,
        output::{self, Output},
        progress::Progress,
        retry::Backoff,
    },
    proto::v1::{self, event_service_client::EventServiceClient},
};

/// Sends groups one after the other and prints where their events are recorded.
pub(super) struct Publisher<'a> {
    connection: &'a Connection,
    output: Output,
    topic: String,
    validate_only: bool,
    expected_head: Option<i64>,
    progress: Progress,
    /// Events whose places are printed.
    events: u64,
    /// Bytes of input that they were read from.
    bytes: u64,
    sized: bool,
}

impl<'a> Publisher<'a> {
    /// For this topic.
    pub(super) fn new(
        connection: &'a Connection,
        output: Output,
        topic: String,
        validate_only: bool,
        expected_head: Option<i64>,
    ) -> Self {
        let (progress, events, bytes, sized) = (Progress::default(), 0, 0, false);
        Self { connection, output, topic, validate_only, expected_head, progress, events, bytes, sized }
    }

    /// Shows how far it is with an input of this size. Nothing is shown where people type the lines.
    pub(super) fn show_progress(&mut self, size: Option<u64>) {
        if !std::io::stdin().is_terminal() {
            self.sized = size.is_some();
            self.progress = size.map_or_else(|| Progress::of_events(None), Progress::of_bytes);
        }
    }

    /// Whether groups may be sent ahead of the answers to those before them.
    pub(super) fn may_send_ahead(&self) -> bool {
        self.expected_head.is_none() && !self.validate_only
    }

    /// The server.
    pub(super) fn connection(&self) -> &'a Connection {
        self.connection
    }

    /// The request for a group.
    pub(super) fn request(&self, events: Vec<v1::NewEvent>) -> v1::PublishRequest {
        v1::PublishRequest {
            topic: self.topic.clone(),
            events,
            expected_head_offset: self.expected_head,
            validate_only: self.validate_only,
        }
    }

    /// Sends a group until it is recorded, refused, or its time is over. The events need ids.
    pub(super) async fn send(&mut self, events: Vec<v1::NewEvent>, bytes: u64) -> Result<(), Failure> {
        let published = self.publish(self.request(events)).await?.published;
        if let Some(head) = self.expected_head.filter(|_| !self.validate_only) {
            // The next group follows on this one; nobody may have written between.
            let newest = published.iter().map(|event| event.offset).max();
            self.expected_head = Some(newest.map_or(head, |newest| newest.max(head)));
        }
        self.print(&published, bytes)
    }

    async fn publish(&self, message: v1::PublishRequest) -> Result<v1::PublishResponse, Failure> {
        let deadline = Instant::now() + self.connection.timeout();
        let mut backoff = Backoff::default();
        let mut client = EventServiceClient::new(self.connection.channel());
        loop {
            let mut request = self.connection.request(message.clone()).await?;
            request.set_timeout(deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)));
            let status = match client.publish(request).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => status,
            };
            let pause = backoff.pause(Some(&status));
            if !may_repeat(&status) || Instant::now() + pause >= deadline {
                return Err(status.into());
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Prints where events are recorded, which were read from so many bytes of input.
    pub(super) fn print(&mut self, published: &[v1::Published], bytes: u64) -> Result<(), Failure> {
        let mut text = String::new();
        for event in published {
            if self.output.is_json() {
                text += &json::line("Published", event, Defaults::Written)?;
            } else {
                text += &line(event);
            }
            text.push('\n');
        }
        self.progress.suspend(|| output::print(&text))?;
        self.events += published.len() as u64;
        self.bytes += bytes;
        if self.sized {
            self.progress.bytes(self.bytes, self.events);
        } else {
            self.progress.events(self.events);
        }
        Ok(())
    }
}

/// The events have ids, so that a repeat is safe also when the outcome is unknown.
pub(super) fn may_repeat(status: &Status) -> bool {
    use tonic_types::StatusExt;
    let full = || status.code() == Code::ResourceExhausted && status.get_details_retry_info().is_some();
    is_unavailable(status) || full()
}

fn line(event: &v1::Published) -> String {
    let v1::Published { id, offset, recorded_time, duplicate } = event;
    let offset = if *offset == 0 { "-".to_owned() } else { offset.to_string() };
    if *duplicate {
        return format!("{offset} {id} duplicate, recorded {}", show_time(recorded_time.as_ref()));
    }
    format!("{offset} {id}")
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::{line, may_repeat, v1::Published};

    #[test]
    fn a_line_is_offset_and_id() {
        let event = Published { id: "x".to_owned(), offset: 7, ..Published::default() };
        assert_eq!(line(&event), "7 x");
        assert_eq!(line(&Published { duplicate: true, ..event.clone() }), "7 x duplicate, recorded -");
        assert_eq!(line(&Published { offset: 0, ..event }), "- x");
    }

    #[test]
    fn refusals_are_not_repeated() {
        assert!(may_repeat(&Status::unavailable("x")));
        for status in [Status::aborted("x"), Status::invalid_argument("x"), Status::resource_exhausted("x")] {
            assert!(!may_repeat(&status), "{status}");
        }
    }
}
