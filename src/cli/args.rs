//! What the command line looks like.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use secrecy::SecretString;

use super::{
    bench, completions, consumer, event, health, key, login, producer, publish, server_info, tail, topic, user, work,
};
use crate::config::{MigrateSettings, ServeSettings, duration};

const EXAMPLES: &str = "\
Examples:
  eventflow serve
  eventflow topic create orders
  eventflow publish orders --type order.placed --key order-1 --data '{\"order\":1}'
  eventflow tail orders --earliest
  eventflow consumer register billing orders
  eventflow tail --consumer billing
  eventflow consumer register mailer orders --mode queue
  eventflow work mailer --exec ./send-mail --concurrency 4

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 credential or permission, 5 unavailable, 6 conflict";

/// A durable event log over gRPC: the server, and commands to use it.
#[derive(Debug, Parser)]
#[command(name = "eventflow", version, after_help = EXAMPLES, max_term_width = 100, subcommand_required = true)]
pub(super) struct Arguments {
    /// How the commands reach the server.
    #[command(flatten)]
    pub(super) client: ClientOptions,
    /// What to do.
    #[command(subcommand)]
    pub(super) command: Command,
}

/// How the commands reach the server, and how they print.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of the client commands")]
pub(super) struct ClientOptions {
    /// Address of the server. [default: that of server.json in the data folder, else http://127.0.0.1:50051]
    #[arg(long, global = true, env = "EVENTFLOW_SERVER", value_name = "ADDRESS")]
    pub(super) server: Option<String>,

    /// API key to call with. Better given in the environment, where other users do not see it.
    #[arg(long, global = true, env = "EVENTFLOW_API_KEY", hide_env_values = true, value_name = "KEY")]
    pub(super) api_key: Option<SecretString>,

    /// Access token to call with.
    #[arg(long, global = true, env = "EVENTFLOW_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(super) token: Option<SecretString>,

    /// Data folder of a server on this machine: its address and its key lie there.
    #[arg(long, global = true, env = "EVENTFLOW_DATA_DIR", default_value = "./eventflow-data", value_name = "FOLDER")]
    pub(super) data_dir: PathBuf,

    /// How results look.
    #[arg(
        long,
        short,
        global = true,
        env = "EVENTFLOW_OUTPUT",
        value_enum,
        default_value = "table",
        value_name = "FORMAT"
    )]
    pub(super) output: Format,

    /// How long a call may take, its retries included.
    #[arg(long, global = true, env = "EVENTFLOW_TIMEOUT", default_value = "30s", value_parser = duration, value_name = "TIME")]
    pub(super) timeout: Duration,

    /// Say on standard error what happens, also if it is not a terminal.
    #[arg(long, short, global = true, env = "EVENTFLOW_VERBOSE")]
    pub(super) verbose: bool,
}

/// How results look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Aligned columns, for people.
    Table,
    /// Proto JSON, one object a line, for programs.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the server; without any flag, on this machine only and with SQLite.
    Serve(ServeSettings),
    /// Bring the store's schema up to date without serving it.
    Migrate(MigrateSettings),
    /// Ask whether the server is serving: exit code 0 if so, 5 otherwise.
    Health(health::HealthArgs),
    /// What the server is.
    #[command(subcommand)]
    Server(server_info::ServerCommand),
    /// Log in with a name and a password, and keep the tokens for the other commands.
    Login(login::LoginArgs),
    /// End the login, so that its tokens stop working.
    Logout,
    /// Who the commands call as, and what that allows.
    Whoami,
    /// Topics: named, totally ordered logs of events.
    #[command(subcommand)]
    Topic(topic::TopicCommand),
    /// Producers: programs that publish, with a key each.
    #[command(subcommand)]
    Producer(producer::ProducerCommand),
    /// Consumers: named readers whose place the server keeps.
    #[command(subcommand)]
    Consumer(consumer::ConsumerCommand),
    /// Users: people, and programs with a role.
    #[command(subcommand)]
    User(user::UserCommand),
    /// API keys: what programs call with.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Events: what topics keep.
    #[command(subcommand)]
    Event(event::EventCommand),
    /// Publish events: one from --data or --file, or one for each line of standard input.
    Publish(publish::PublishArgs),
    /// Print the events of a topic or a consumer as they are recorded.
    Tail(tail::TailArgs),
    /// Run a command for each event of a consumer in MODE_QUEUE.
    Work(work::WorkArgs),
    /// Measure how fast the server is.
    Bench(bench::BenchArgs),
    /// Write what each metric of the server means to standard output, in Markdown.
    Metrics,
    /// Write what each setting of the server means to standard output, in Markdown.
    Settings,
    /// Write the completions of a shell to standard output.
    Completions(completions::CompletionsArgs),
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Arguments, Command};

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn options_may_stand_before_and_after_the_command() {
        for line in
            [["eventflow", "--data-dir", "/x", "topic", "list"], ["eventflow", "topic", "list", "--data-dir", "/x"]]
        {
            let parsed = Arguments::try_parse_from(line).expect("both orders are accepted");
            assert_eq!(parsed.client.data_dir.to_str(), Some("/x"));
        }
    }

    #[test]
    fn the_data_folder_of_serve_is_that_of_the_commands() {
        let parsed = Arguments::try_parse_from(["eventflow", "serve", "--data-dir", "/x"]).expect("valid");
        let Command::Serve(settings) = parsed.command else { panic!("not serve: {:?}", parsed.command) };
        assert_eq!(settings.data_dir.to_str(), Some("/x"));
    }
}
