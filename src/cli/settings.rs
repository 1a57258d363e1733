//! `eventflow settings`.

use std::io::Write;

use clap::{Arg, Args, Command};

use super::{args::ClientOptions, failure::Failure};
use crate::config::ServeSettings;

const COMMANDS: &str = "
## The commands

All other commands are clients, and take these, before or after the name of the command:

| flag | variable | default | what |
| --- | --- | --- | --- |
";

/// Writes the page; no server is asked.
pub(super) fn run() -> Result<(), Failure> {
    std::io::stdout().write_all(page().as_bytes()).map_err(|error| Failure::writing(&error))
}

/// All settings of `serve` and of the client commands in Markdown, as `docs/configuration.md` has it.
fn page() -> String {
    let mut page = "\
# Configuration

`eventflow serve` takes each of these as a flag or from the environment; a flag wins. Without any, it runs embedded:
SQLite in `./eventflow-data`, on loopback. A variable `EVENTFLOW_…` that is none of these, nor one of the commands, is
refused, so that a slip of the pen does not go unnoticed (`EVENTFLOW_PORT…` and `EVENTFLOW_SERVICE_…`, which Kubernetes
sets, are let pass). Times are written `250ms`, `15s`, `60m`, `24h` or `30d`.

Secrets belong into the environment or into files: anybody on a machine can read the flags of a process.

This page is written by `eventflow settings > docs/configuration.md`.

| flag | variable | default | what |
| --- | --- | --- | --- |
"
    .to_owned();
    page.push_str(&rows(&ServeSettings::augment_args(Command::new("serve"))));
    page.push_str(COMMANDS);
    page.push_str(&rows(&ClientOptions::augment_args(Command::new("commands"))));
    page
}

fn rows(command: &Command) -> String {
    command.get_arguments().map(row).collect()
}

fn row(setting: &Arg) -> String {
    let flag = setting.get_long().unwrap_or_default();
    let value = setting.get_value_names().unwrap_or_default().first();
    let value =
        value.filter(|_| setting.get_action().takes_values()).map_or_else(String::new, |name| format!(" {name}"));
    let variable = setting.get_env().map(|name| name.to_string_lossy()).unwrap_or_default();
    let default = setting.get_default_values().first().map(|value| value.to_string_lossy()).unwrap_or_default();
    let default = if default.is_empty() { "–".to_owned() } else { format!("`{default}`") };
    let help = setting.get_help().map(ToString::to_string).unwrap_or_default();
    let help = help.replace('|', "\\|");
    format!("| `--{flag}{value}` | `{variable}` | {default} | {help} |\n")
}

#[cfg(test)]
mod tests {
    use super::page;

    #[test]
    fn every_setting_has_a_variable_and_an_explanation() {
        let page = page();
        let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| `--")).collect();
        assert!(rows.len() >= 20, "{} settings", rows.len());
        for flag in ["`--listen ", "`--server "] {
            assert!(rows.iter().any(|row| row.contains(flag)), "no {flag}");
        }
        for row in rows {
            let cells: Vec<_> = row.split(" | ").collect();
            assert!(cells[1].starts_with("`EVENTFLOW_") && cells[3].len() > 10, "{row}");
        }
    }
}
