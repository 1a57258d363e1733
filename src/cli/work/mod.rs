//! `eventflow work`.

mod command;
mod feed;
mod held;
mod report;
mod settling;
mod worker;

use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use self::{
    command::Program,
    feed::{Feed, Stop},
    report::Report,
    worker::Worker,
};
use super::{connection::Connection, failure::Failure, note::Notes, output::Output};
use crate::{
    config::duration,
    proto::v1::{self, consumer_service_client::ConsumerServiceClient},
};

const EXAMPLES: &str = "\
The command gets the event as JSON on its standard input, and EVENT_OFFSET, EVENT_KEY, EVENT_TYPE and EVENT_ATTEMPT in
its environment. Exit code 0 means that the event is done. With any other one it comes again after the consumer's
pauses, and after its last attempt it becomes a dead letter; the end of what the command wrote to standard error is
kept with it. What a command writes goes to standard error, where the results are not.

An interrupt takes no more events and waits for the commands that run; a second one kills them.

Examples:
  eventflow work mailer --exec ./send-mail --concurrency 4
  eventflow work mailer --exec 'jq -r .text | mail -s \"$EVENT_TYPE\" ops@example.com' --exec-timeout 1m
  eventflow work mailer --exec ./send-mail --until-head -o json";

/// Arguments of `work`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct WorkArgs {
    /// The consumer, in MODE_QUEUE.
    name: String,
    /// What `sh -c` runs for each event.
    #[arg(long, value_name = "COMMAND")]
    exec: String,
    /// How many commands run at once, of different keys; 1 to 256.
    #[arg(long, default_value_t = 1, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
    /// Kill a command that runs for longer; it has failed then. [default: never]
    #[arg(long, value_parser = duration, value_name = "TIME")]
    exec_timeout: Option<Duration>,
    /// End when everything that is recorded now is settled; dead letters that were put back are not waited for.
    #[arg(long)]
    until_head: bool,
    /// How often the server shows that it is there; two such times of silence mean that it is not.
    #[arg(long, default_value = "15s", value_parser = duration, value_name = "TIME")]
    heartbeat: Duration,
}

/// Works until the end that was asked for, or until it is told to stop.
pub(super) async fn run(connection: Connection, output: Output, args: WorkArgs, verbose: bool) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::Local(format!("signals cannot be received: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let WorkArgs { name, exec, concurrency, exec_timeout, until_head, heartbeat } = args;
    refuse_ordered(&connection, &name).await?;
    let notes = Notes::new(verbose);
    let concurrency = usize::from(concurrency);
    let stop = if until_head { Stop::Head } else { Stop::Never };
    let feed = Feed::new(&connection, name.clone(), heartbeat, concurrency, stop, notes);
    let program = Program { exec, timeout: exec_timeout, kill: CancellationToken::new() };
    let (stop, kill) = (CancellationToken::new(), program.kill.clone());
    let mut worker = Worker::new(&connection, name, program, concurrency, Report::new(output, notes), stop.clone());
    let work = worker.work(feed);
    tokio::pin!(work);
    // The first signal asks it to stop, the second one to stop at once; a third one ends it also while the server, or
    // who reads the output, does not answer.
    for token in [stop, kill] {
        tokio::select! {
            result = &mut work => return result,
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        token.cancel();
    }
    tokio::select! {
        result = &mut work => result,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

/// A stream of an ordered consumer would take it from whoever has it.
async fn refuse_ordered(connection: &Connection, name: &str) -> Result<(), Failure> {
    let request = connection.request(v1::GetConsumerRequest { name: name.to_owned() }).await?;
    let answer = ConsumerServiceClient::new(connection.channel()).get_consumer(request).await?.into_inner();
    match answer.consumer.unwrap_or_default().mode() {
        v1::Mode::Queue => Ok(()),
        v1::Mode::Unspecified | v1::Mode::Ordered => {
            let why =
                format!("consumer {name} is in MODE_ORDERED; print its events with: eventflow tail --consumer {name}");
            Err(Status::failed_precondition(why).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::WorkArgs;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        args: WorkArgs,
    }

    #[test]
    fn a_worker_has_a_consumer_and_a_command() {
        let parse =
            |args: &[&str]| Program::try_parse_from(["work"].iter().chain(args)).ok().map(|program| program.args);
        let args = parse(&["mailer", "--exec", "true", "--concurrency", "4", "--exec-timeout", "1m"]).expect("valid");
        assert_eq!((args.concurrency, args.exec_timeout.map(|limit| limit.as_secs())), (4, Some(60)));
        for bad in [&["mailer"][..], &["--exec", "true"], &["mailer", "--exec", "true", "--concurrency", "0"]] {
            assert!(parse(bad).is_none(), "{bad:?} was accepted");
        }
    }
}
