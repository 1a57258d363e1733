//! Running the command of one event.

use std::{
    os::{fd::AsFd, unix::process::ExitStatusExt},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStderr, Command},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::held::Job;
use crate::cli::{
    failure::Failure,
    json::{self, Defaults},
};

/// Bytes of an error that the server keeps.
const ERROR_BYTES: usize = 4096;
/// How long what is left of the standard error of a command that has ended is read: others may hold it open.
const LINGER: Duration = Duration::from_millis(500);
/// Longer than any command runs.
const FOR_EVER: Duration = Duration::from_secs(365 * 86_400);

/// What is run for each event.
#[derive(Debug, Clone)]
pub(super) struct Program {
    /// For `sh -c`.
    pub(super) exec: String,
    /// How long it may take.
    pub(super) timeout: Option<Duration>,
    /// Kills it.
    pub(super) kill: CancellationToken,
}

/// A command under way.
struct Running {
    child: Child,
    stderr: Option<ChildStderr>,
    /// The end of what it wrote to standard error.
    tail: Vec<u8>,
    /// Why it was killed.
    killed: Option<String>,
    ended: Option<std::io::Result<ExitStatus>>,
    deadline: Instant,
}

/// Runs it for an event to its end; the error is what the server should keep.
pub(super) async fn run(program: &Program, job: &Job) -> Result<(), String> {
    let event = json::line("Event", &job.event, Defaults::Left).map_err(|failure: Failure| failure.to_string())? + "\n";
    let mut child = start(program, job).map_err(|error| format!("the command cannot be started: {error}"))?;
    let stdin = child.stdin.take();
    let feed = async move {
        if let Some(mut stdin) = stdin {
            // A command that does not read its input, or not all of it, is free to do so.
            let _closed = stdin.write_all(event.as_bytes()).await;
        }
    };
    let stderr = child.stderr.take();
    let deadline = Instant::now() + program.timeout.unwrap_or(FOR_EVER).min(FOR_EVER);
    let mut running = Running { child, stderr, tail: Vec::new(), killed: None, ended: None, deadline };
    tokio::pin!(feed);
    let mut fed = false;
    while !running.is_over() {
        tokio::select! {
            () = running.advance(program) => {}
            () = &mut feed, if !fed => fed = true,
        }
    }
    running.outcome()
}

fn start(program: &Program, job: &Job) -> std::io::Result<Child> {
    let mut command = Command::new("sh");
    command.arg("-c").arg(&program.exec);
    command.env("EVENT_OFFSET", job.id.offset.to_string()).env("EVENT_ATTEMPT", job.attempt.to_string());
    command.env("EVENT_KEY", &job.event.key).env("EVENT_TYPE", &job.event.r#type);
    // Standard output is for results.
    let output = std::io::stderr().as_fd().try_clone_to_owned().map_or_else(|_| Stdio::null(), Stdio::from);
    // In a group of its own it is killed with all that it started, and a terminal's interrupt is for the worker alone.
    command.process_group(0).stdin(Stdio::piped()).stdout(output).stderr(Stdio::piped()).kill_on_drop(true).spawn()
}

impl Running {
    /// Waits for one thing to happen. Cancelling it loses nothing.
    async fn advance(&mut self, program: &Program) {
        let mut buffer = [0; 1024];
        tokio::select! {
            status = self.child.wait(), if self.ended.is_none() => {
                self.ended = Some(status);
                self.deadline = Instant::now() + LINGER;
            }
            read = read(&mut self.stderr, &mut buffer), if self.stderr.is_some() => match read {
                Ok(count @ 1..) => self.wrote(&buffer[..count]).await,
                Ok(0) | Err(_) => self.stderr = None,
            },
            () = sleep_until(self.deadline) => match (&self.ended, program.timeout) {
                (None, Some(timeout)) => self.kill(format!("timed out after {timeout:?}")),
                (None, None) => self.deadline += FOR_EVER,
                (Some(_), _) => self.stderr = None,
            },
            () = program.kill.cancelled(), if self.killed.is_none() && self.ended.is_none() => {
                self.kill("the worker was told to stop".to_owned());
            }
        }
    }

    fn is_over(&self) -> bool {
        self.ended.is_some() && self.stderr.is_none()
    }

    async fn wrote(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        let surplus = self.tail.len().saturating_sub(ERROR_BYTES);
        self.tail.drain(..surplus);
        let mut stderr = tokio::io::stderr();
        // Who does not want to see it still gets it with the dead letter.
        let _closed = stderr.write_all(bytes).await;
        let _closed = stderr.flush().await;
    }

    fn kill(&mut self, why: String) {
        self.killed = Some(why);
        self.deadline = Instant::now() + FOR_EVER;
        // Until it was waited for, the number is still its own.
        let group = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = group {
            // It may have ended by itself.
            let _gone = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
    }

    fn outcome(self) -> Result<(), String> {
        let ended = match self.ended {
            Some(Ok(status)) => status,
            Some(Err(error)) => return Err(format!("the end of the command cannot be seen: {error}")),
            None => return Err("the command has not ended".to_owned()),
        };
        if ended.success() {
            return Ok(());
        }
        if let Some(why) = self.killed {
            return Err(why);
        }
        let tail = text(&self.tail);
        Err(match (tail.is_empty(), ended.code(), ended.signal()) {
            (false, ..) => tail,
            (true, Some(code), _) => format!("exit code {code}"),
            (true, None, signal) => format!("killed by signal {}", signal.unwrap_or_default()),
        })
    }
}

async fn read(stderr: &mut Option<ChildStderr>, buffer: &mut [u8]) -> std::io::Result<usize> {
    match stderr {
        Some(stderr) => stderr.read(buffer).await,
        None => Ok(0),
    }
}

/// The end of a text as the server takes it.
fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}");
    let text = text.trim_end();
    let surplus = text.len().saturating_sub(ERROR_BYTES);
    let begin = (surplus..=text.len()).find(|&place| text.is_char_boundary(place)).unwrap_or(text.len());
    text[begin..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::{ERROR_BYTES, text};

    #[test]
    fn an_error_is_the_end_of_the_text_and_fits() {
        assert_eq!(text(b"no such\xff address\0\n"), "no such\u{fffd} address\u{fffd}");
        assert_eq!(text(&[0xff; ERROR_BYTES]).len(), ERROR_BYTES / 3 * 3);
        let long = "ä".repeat(ERROR_BYTES) + "!";
        let kept = text(long.as_bytes());
        assert!(kept.len() <= ERROR_BYTES && kept.ends_with("ä!") && kept.starts_with('ä'), "{}", kept.len());
    }
}
