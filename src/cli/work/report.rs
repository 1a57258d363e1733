//! One line for each event, and a summary.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::settling::Finished;
use crate::cli::{
    failure::Failure,
    moment::{proto_duration, show_duration},
    note::Notes,
    output::{Output, plain},
};

/// Bytes that wait to be printed; with more, no command begins.
const FULL: usize = 64 << 10;

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It is done.
    Ack,
    /// It failed.
    Nack,
    /// The lease was over before the server was told: it comes again.
    Lost,
}

/// What is printed, and what waits to be.
#[derive(Debug)]
pub(super) struct Report {
    output: Output,
    notes: Notes,
    lines: String,
    done: u64,
    failed: u64,
    lost: u64,
}

impl Report {
    /// With nothing done.
    pub(super) fn new(output: Output, notes: Notes) -> Self {
        Self { output, notes, lines: String::new(), done: 0, failed: 0, lost: 0 }
    }

    /// The server knows what became of an event, or said that it was too late.
    pub(super) fn settled(&mut self, finished: &Finished, lost: bool) {
        let (outcome, count) = match (&finished.result, lost) {
            (_, true) => (Outcome::Lost, &mut self.lost),
            (Ok(()), false) => (Outcome::Ack, &mut self.done),
            (Err(_), false) => (Outcome::Nack, &mut self.failed),
        };
        *count += 1;
        self.lines += &if self.output.is_json() { object(finished, outcome) } else { text(finished, outcome) };
        self.lines.push('\n');
    }

    /// A remark for people.
    pub(super) fn say(&self, text: impl std::fmt::Display) {
        self.notes.say(text);
    }

    /// Whether who reads the output is slower than the commands.
    pub(super) fn is_full(&self) -> bool {
        self.lines.len() >= FULL
    }

    /// Prints what waits; `None` if nothing does.
    pub(super) fn print(&mut self) -> Option<impl Future<Output = Result<(), Failure>> + use<>> {
        let lines = std::mem::take(&mut self.lines);
        (!lines.is_empty()).then(|| write(lines))
    }

    /// Adds how it went in all: for programs as a remark.
    pub(super) fn summarize(&mut self) {
        let Self { done, failed, lost, .. } = self;
        let mut summary = format!("{done} done, {failed} failed");
        if *lost > 0 {
            summary += &format!(", {lost} too late");
        }
        if self.output.is_json() {
            self.say(summary);
        } else {
            self.lines += &(summary + "\n");
        }
    }
}

async fn write(lines: String) -> Result<(), Failure> {
    let mut stdout = tokio::io::stdout();
    stdout.write_all(lines.as_bytes()).await.map_err(|error| Failure::writing(&error))?;
    stdout.flush().await.map_err(|error| Failure::writing(&error))
}

/// A length of time in whole milliseconds.
fn length(took: Duration) -> String {
    show_duration(&proto_duration(Duration::from_millis(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))))
}

fn text(finished: &Finished, outcome: Outcome) -> String {
    let Finished { id, attempt, result, took } = finished;
    let told = match outcome {
        Outcome::Ack => "done",
        Outcome::Nack => "failed",
        Outcome::Lost => "too late",
    };
    let line = format!("{}  attempt {attempt}  {told}  {}", id.offset, length(*took));
    match result {
        Ok(()) => line,
        Err(error) => format!("{line}  {}", plain(error)),
    }
}

fn object(finished: &Finished, outcome: Outcome) -> String {
    let Finished { id, attempt, result, took } = finished;
    let outcome = match outcome {
        Outcome::Ack => "ack",
        Outcome::Nack => "nack",
        Outcome::Lost => "lost",
    };
    let duration = format!("{}s", took.as_millis() as f64 / 1000.0);
    let mut object =
        json!({"offset": id.offset.to_string(), "attempt": attempt, "outcome": outcome, "duration": duration});
    if let (Err(error), Some(fields)) = (result, object.as_object_mut()) {
        fields.insert("error".to_owned(), error.clone().into());
    }
    object.to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Finished, Outcome, object, text};
    use crate::cli::work::held::Id;

    #[test]
    fn a_line_is_offset_attempt_outcome_and_time() {
        let id = Id { lease: "1".into(), offset: 5 };
        let finished = Finished { id, attempt: 2, result: Ok(()), took: Duration::from_micros(12_345) };
        assert_eq!(text(&finished, Outcome::Ack), "5  attempt 2  done  0.012s");
        assert_eq!(
            object(&finished, Outcome::Lost),
            r#"{"attempt":2,"duration":"0.012s","offset":"5","outcome":"lost"}"#
        );
        let failed = Finished { result: Err("no\nway".to_owned()), took: Duration::from_secs(60), ..finished };
        assert_eq!(text(&failed, Outcome::Nack), "5  attempt 2  failed  1m  no\\nway");
        assert!(object(&failed, Outcome::Nack).contains(r#""error":"no\nway""#));
    }
}
