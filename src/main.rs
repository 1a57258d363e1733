//! The `eventflow` program.

fn main() -> std::process::ExitCode {
    eventflow::cli::run(std::env::args_os())
}
