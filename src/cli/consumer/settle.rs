//! `eventflow consumer settle`.

use std::time::Duration;

use clap::Args;
use tonic::{Code, Status};

use crate::{
    cli::{connection::Connection, failure::Failure, moment::proto_duration, output::Output},
    config::duration,
    proto::v1::{self, consumer_service_client::ConsumerServiceClient},
};

const EXAMPLES: &str = "\
Examples:
  eventflow consumer settle mailer --lease 17 --ack 5 --ack 6
  eventflow consumer settle mailer --lease 17 --nack 7 --error 'no such address' --dead-letter
  eventflow consumer settle mailer --lease 17 --extend 8";

/// Arguments of `consumer settle`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct SettleArgs {
    /// The consumer.
    name: String,
    /// The lease, as `consumer poll` shows it.
    #[arg(long, value_name = "ID")]
    lease: String,
    /// This event is done; may be repeated.
    #[arg(long, value_name = "OFFSET", required_unless_present_any = ["nack", "extend"])]
    ack: Vec<i64>,
    /// This event failed and is to be tried again; may be repeated.
    #[arg(long, value_name = "OFFSET")]
    nack: Vec<i64>,
    /// With --nack: what went wrong, at most 4 KiB.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT", requires = "nack")]
    error: String,
    /// With --nack: not before this pause, at most 30d. [default: the consumer's backoff]
    #[arg(long, value_parser = duration, value_name = "TIME", requires = "nack")]
    delay: Option<Duration>,
    /// With --nack: give up now.
    #[arg(long, requires = "nack", conflicts_with = "delay")]
    dead_letter: bool,
    /// This event needs a new lease period from now; may be repeated.
    #[arg(long, value_name = "OFFSET")]
    extend: Vec<i64>,
}

/// Does it.
pub(super) async fn run(connection: &Connection, output: Output, args: SettleArgs) -> Result<(), Failure> {
    let mut client = ConsumerServiceClient::new(connection.channel());
    let answer = client.settle(connection.request(request(args)).await?).await?.into_inner();
    if output.is_json() {
        output.item("SettleResponse", &answer, &[])?;
    }
    refuse_failures(&answer.failures)?;
    output.done("settled")
}

fn request(args: SettleArgs) -> v1::SettleRequest {
    let SettleArgs { name, lease, ack, nack, error, delay, dead_letter, extend } = args;
    let delay = delay.map(proto_duration);
    let nack = nack.into_iter().map(|offset| v1::Nack { offset, error: error.clone(), delay, dead_letter });
    v1::SettleRequest { consumer: name, lease_id: lease, ack, nack: nack.collect(), extend }
}

/// Fails if something could not be settled; what was settled before is as it should be.
pub(super) fn refuse_failures(failures: &[v1::SettleFailure]) -> Result<(), Failure> {
    use v1::settle_failure::Cause;
    let told = failures.iter().filter_map(|failure| {
        let why = match failure.cause() {
            Cause::AlreadySettled => return None,
            Cause::Lost => "its lease was over, and it may be delivered again",
            Cause::Unknown => "it does not belong to this lease",
            Cause::Unspecified => "the server did not say why",
        };
        Some(format!("{} is not settled: {why}", failure.offset))
    });
    let told: Vec<_> = told.collect();
    if told.is_empty() { Ok(()) } else { Err(Status::new(Code::Aborted, told.join("; ")).into()) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{SettleArgs, refuse_failures, request, v1};

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        args: SettleArgs,
    }

    fn parse(args: &[&str]) -> Option<v1::SettleRequest> {
        let line = ["settle", "mailer", "--lease", "7"].iter().chain(args);
        Some(request(Program::try_parse_from(line).ok()?.args))
    }

    #[test]
    fn what_is_said_of_failures_holds_for_each_of_them() {
        let wanted =
            parse(&["--ack", "1", "--nack", "2", "--nack", "3", "--error", "e", "--delay", "5s", "--extend", "4"])
                .expect("valid");
        assert_eq!((&wanted.ack[..], &wanted.extend[..]), (&[1][..], &[4][..]));
        let delay = Some(prost_types::Duration { seconds: 5, nanos: 0 });
        let nack = |offset| v1::Nack { offset, error: "e".to_owned(), delay, dead_letter: false };
        assert_eq!(wanted.nack, [nack(2), nack(3)]);
        for bad in [
            &[][..],
            &["--ack", "1", "--error", "e"],
            &["--ack", "1", "--dead-letter"],
            &["--nack", "1", "--delay", "1s", "--dead-letter"],
        ] {
            assert_eq!(parse(bad), None, "{bad:?} was accepted");
        }
    }

    #[test]
    fn settling_again_is_no_failure_and_a_lost_lease_is_one() {
        use v1::settle_failure::Cause;
        let failure = |cause: Cause| [v1::SettleFailure { offset: 5, cause: cause.into() }];
        assert!(refuse_failures(&failure(Cause::AlreadySettled)).is_ok());
        let lost = refuse_failures(&failure(Cause::Lost)).expect_err("lost");
        assert_eq!(lost.exit_code(), 6);
        assert!(lost.report().contains("5 is not settled: its lease was over"), "{}", lost.report());
    }
}
