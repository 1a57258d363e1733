//! Standard input as groups of events, each as large as what was there to read.

use std::{
    io::{BufRead, BufReader, Read, Seek},
    os::fd::AsFd,
    path::Path,
};

use prost::Message;
use tokio::sync::mpsc;

use super::{Template, event};
use crate::{
    cli::failure::Failure,
    domain::limits::{PAYLOAD_BYTES, REQUEST_BYTES, REQUEST_EVENTS},
    proto::v1::NewEvent,
};

/// Bytes in a line: an envelope holds a payload in base64, and much context.
pub(super) const LINE_BYTES: usize = 2 * PAYLOAD_BYTES + (512 << 10);
/// Bytes of events after which a group is sent: the event that passes it still fits into a request.
const GROUP_BYTES: usize = REQUEST_BYTES - PAYLOAD_BYTES - (512 << 10);
/// Groups that are read ahead; when so many wait, reading pauses.
const GROUPS_AHEAD: usize = 2;

/// What a line is.
#[derive(Debug)]
pub(super) enum Source {
    /// The payload of an event of this template.
    Payloads(Box<Template>),
    /// A whole event in proto JSON.
    Envelopes,
}

/// Events that were there to read at one time.
#[derive(Debug)]
pub(super) struct Group {
    /// At most as many as fit into a request.
    pub(super) events: Vec<NewEvent>,
    /// Bytes of input that they were read from.
    pub(super) bytes: u64,
    /// Why reading ended after them, if it did not reach the end.
    pub(super) failure: Option<Failure>,
}

/// One payload: the whole file, or for `-` the whole of standard input.
pub(super) fn whole(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut payload = Vec::new();
    // One byte more than the server takes, so that it is the server that refuses.
    let limit = PAYLOAD_BYTES as u64 + 1;
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut payload)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut payload))
    };
    read.map_err(|error| Failure::Local(format!("{} cannot be read: {error}", path.display())))?;
    Ok(payload)
}

/// Bytes of standard input that are still to be read, if it is a file.
pub(super) fn size() -> Option<u64> {
    let mut file = std::fs::File::from(std::io::stdin().as_fd().try_clone_to_owned().ok()?);
    let size = file.metadata().ok().filter(std::fs::Metadata::is_file)?.len();
    // The clone shares the place of the original, which is not moved.
    Some(size.saturating_sub(file.stream_position().ok()?))
}

/// Reads standard input on a thread of its own, which ends with the process: such reads cannot be cancelled.
pub(super) fn read(source: Source, line_bytes: usize) -> Result<mpsc::Receiver<Group>, Failure> {
    let (sender, receiver) = mpsc::channel(GROUPS_AHEAD);
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || {
            let reader = BufReader::with_capacity(1 << 20, std::io::stdin());
            Lines { reader, source, line_bytes, number: 0, bytes: 0 }.send_groups(&sender);
        })
        .map_err(|error| Failure::Local(format!("standard input cannot be read: {error}")))?;
    Ok(receiver)
}

struct Lines<R> {
    reader: BufReader<R>,
    source: Source,
    line_bytes: usize,
    number: u64,
    bytes: u64,
}

impl<R: Read> Lines<R> {
    fn send_groups(mut self, sender: &mpsc::Sender<Group>) {
        loop {
            let (group, ended) = self.group();
            if sender.blocking_send(group).is_err() || ended {
                return;
            }
        }
    }

    /// Waits for one line, and takes those that can be had without waiting. Also says whether it was the last group.
    fn group(&mut self) -> (Group, bool) {
        let (mut events, mut encoded, before) = (Vec::new(), 0, self.bytes);
        let (failure, ended) = loop {
            match self.event() {
                Ok(Some(event)) => {
                    encoded += event.encoded_len();
                    events.push(event);
                }
                Ok(None) => break (None, true),
                Err(failure) => break (Some(failure), true),
            }
            let waits = !self.reader.buffer().contains(&b'\n');
            if waits || events.len() >= REQUEST_EVENTS || encoded >= GROUP_BYTES {
                break (None, false);
            }
        };
        (Group { events, bytes: self.bytes - before, failure }, ended)
    }

    /// The event of the next line; `None` at the end.
    fn event(&mut self) -> Result<Option<NewEvent>, Failure> {
        loop {
            let Some(line) = self.line()? else { return Ok(None) };
            return match &self.source {
                Source::Payloads(template) => Ok(Some(event::with_payload(template, line))),
                Source::Envelopes if line.iter().all(u8::is_ascii_whitespace) => continue,
                Source::Envelopes => event::from_envelope(&line)
                    .map(Some)
                    .map_err(|error| Failure::Local(format!("line {} is no event: {error}", self.number))),
            };
        }
    }

    fn line(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let mut line = Vec::new();
        // The line break counts as well.
        let limit = self.line_bytes as u64 + 1;
        let read = self.reader.by_ref().take(limit).read_until(b'\n', &mut line);
        let read = read.map_err(|error| Failure::Local(format!("standard input cannot be read: {error}")))?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.bytes += read as u64;
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if line.len() > self.line_bytes {
            let (number, limit) = (self.number, self.line_bytes);
            return Err(Failure::Local(format!("line {number} is longer than {limit} bytes")));
        }
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read};

    use super::{Lines, Source};
    use crate::proto::v1::new_event::Payload;

    /// Gives one part at each read, as a pipe does whose writer pauses.
    struct Parts(Vec<&'static [u8]>);

    impl Read for Parts {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let part = self.0.remove(0);
            into[..part.len()].copy_from_slice(part);
            Ok(part.len())
        }
    }

    fn groups(source: Source, parts: Vec<&'static [u8]>) -> Vec<(Vec<Payload>, Option<String>)> {
        let mut lines = Lines { reader: BufReader::new(Parts(parts)), source, line_bytes: 30, number: 0, bytes: 0 };
        let mut groups = Vec::new();
        loop {
            let (group, ended) = lines.group();
            let payloads = group.events.into_iter().filter_map(|event| event.payload).collect();
            groups.push((payloads, group.failure.map(|failure| failure.to_string())));
            if ended {
                return groups;
            }
        }
    }

    fn payloads() -> Source {
        use clap::Parser;
        #[derive(Parser)]
        struct Program {
            #[command(flatten)]
            args: super::super::PublishArgs,
        }
        Source::Payloads(Box::new(Program::parse_from(["publish", "orders", "--type", "a"]).args.template))
    }

    fn text(text: &str) -> Payload {
        Payload::Text(text.to_owned())
    }

    #[test]
    fn a_pause_of_the_writer_ends_a_group() {
        let groups = groups(payloads(), vec![b"one\ntwo\n\nth", b"ree\n", b"four"]);
        let texts: Vec<Vec<Payload>> = groups.into_iter().map(|(payloads, _)| payloads).collect();
        let wanted = [vec![text("one"), text("two"), text("")], vec![text("three")], vec![text("four")], Vec::new()];
        assert_eq!(texts, wanted);
    }

    #[test]
    fn what_is_not_text_is_sent_as_it_is() {
        let groups = groups(payloads(), vec![b"\xff\n"]);
        assert_eq!(groups[0].0, [Payload::Data(vec![0xff].into())]);
    }

    #[test]
    fn a_wrong_line_is_named_after_those_before_it() {
        let groups = groups(Source::Envelopes, vec![b"{\"text\":\"a\"}\n\n{\"kind\":1}\n{\"text\":\"b\"}\n"]);
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].0, [text("a")]);
        assert!(groups[0].1.as_ref().is_some_and(|failure| failure.starts_with("line 3 is no event")), "{groups:?}");
    }

    #[test]
    fn an_endless_line_is_refused() {
        let endless: &'static [u8] = &[b'x'; 31];
        let groups = groups(payloads(), vec![endless]);
        assert_eq!(groups[0].1.as_deref(), Some("line 1 is longer than 30 bytes"));
    }
}
