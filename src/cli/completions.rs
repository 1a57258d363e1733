//! `eventflow completions`.

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{args::Arguments, failure::Failure};

/// Arguments of `completions`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  eventflow completions bash > ~/.local/share/bash-completion/completions/eventflow")]
pub(super) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Writes the script.
pub(super) fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    // Generated in memory first, since the generator panics when its output is closed.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), "eventflow", &mut script);
    std::io::stdout().write_all(&script).map_err(|error| Failure::writing(&error))
}
