//! The command line: `serve`, and thin commands over the generated clients.

mod address;
mod args;
mod bench;
mod completions;
mod confirm;
mod connection;
mod consumer;
mod credentials;
mod event;
mod failure;
mod filter;
mod health;
mod json;
mod key;
mod login;
mod logout;
mod metrics;
mod migrate;
mod moment;
mod note;
mod output;
mod password;
mod payload;
mod producer;
mod progress;
mod publish;
mod retry;
mod serve;
mod server_info;
mod session;
mod settings;
mod tail;
mod topic;
mod user;
mod whoami;
mod work;

use std::{cell::OnceCell, ffi::OsString, io::Write, process::ExitCode};

use clap::{CommandFactory, FromArgMatches};

use self::{
    args::{Arguments, ClientOptions, Command},
    connection::Connection,
    credentials::Given,
    failure::Failure,
    output::Output,
};

/// Runs the program with these arguments, the first being its name.
///
/// The exit code is 0 for success, 1 for a failure, 2 for wrong usage, 3 for something not found, 4 for a refused
/// credential, 5 for an unavailable server and 6 for a conflict.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = match Arguments::command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => {
            // Help and versions are errors to clap; a closed pipe while printing them is none to us.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { failure::USAGE } else { 0 });
        }
    };
    match start(&matches) {
        Ok(()) | Err(Failure::PipeClosed) => ExitCode::SUCCESS,
        Err(failure) => {
            // Whoever closed standard error does not want to know; the exit code still says it.
            let _ = write!(std::io::stderr(), "{}", failure.report());
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Begins the runtime. It is left without waiting for reads of the terminal that nobody will answer.
fn start(matches: &clap::ArgMatches) -> Result<(), Failure> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    crate::config::refuse_unknown(&Arguments::command(), names).map_err(Failure::Usage)?;
    let arguments = Arguments::from_arg_matches(matches).map_err(|error| Failure::Usage(error.to_string()))?;
    let given = Given::from_matches(matches, &arguments.client)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Local(format!("the runtime cannot start: {error}")))?;
    let result = runtime.block_on(dispatch(arguments, given));
    runtime.shutdown_background();
    result
}

async fn dispatch(arguments: Arguments, given: Given) -> Result<(), Failure> {
    let Arguments { client, command } = arguments;
    let server = OnceCell::new();
    let connect = || {
        let connection = Connection::open(&client, given.clone())?;
        server.get_or_init(|| connection.address().name());
        Ok(connection)
    };
    let done = carry_out(command, &client, &given, connect).await;
    done.map_err(|failure| match server.get() {
        Some(server) => failure.at(server),
        None => failure,
    })
}

async fn carry_out(
    command: Command,
    client: &ClientOptions,
    given: &Given,
    connect: impl FnOnce() -> Result<Connection, Failure>,
) -> Result<(), Failure> {
    let output = Output::new(client.output);
    match command {
        Command::Serve(settings) => serve::run(settings).await,
        Command::Migrate(settings) => migrate::run(&settings, &client.data_dir, output).await,
        Command::Metrics => metrics::run(),
        Command::Settings => settings::run(),
        Command::Completions(args) => completions::run(&args),
        Command::Health(args) => health::run(&connect()?, output, args).await,
        Command::Server(args) => server_info::run(&connect()?, output, args).await,
        Command::Login(args) => login::run(&connect()?, output, args).await,
        Command::Logout => logout::run(&connect()?, output).await,
        Command::Whoami => whoami::run(&connect()?, output).await,
        Command::Topic(args) => topic::run(&connect()?, output, args).await,
        Command::Producer(args) => producer::run(&connect()?, output, args).await,
        Command::Consumer(args) => consumer::run(&connect()?, output, args).await,
        Command::User(args) => user::run(&connect()?, output, args).await,
        Command::Key(args) => key::run(&connect()?, output, args).await,
        Command::Event(args) => event::run(&connect()?, output, args).await,
        Command::Publish(args) => publish::run(&connect()?, output, args).await,
        Command::Work(args) => work::run(connect()?, output, args, client.verbose).await,
        Command::Bench(args) => bench::run(client, given, output, args).await,
        Command::Tail(args) => tail::run(connect()?, output, args, client.verbose).await,
    }
}
