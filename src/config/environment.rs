//! Environment variables that look like ours but are not.

use std::collections::BTreeSet;

/// Refuses `EVENTFLOW_*` variables that nothing reads, so that a misspelt one is noticed.
///
/// Kubernetes injects `EVENTFLOW_PORT*` and `EVENTFLOW_SERVICE_*` for a service of that name; those pass.
pub fn refuse_unknown(command: &clap::Command, names: impl Iterator<Item = String>) -> Result<(), String> {
    let mut known = BTreeSet::new();
    collect(command, &mut known);
    let injected = |name: &str| name.starts_with("EVENTFLOW_PORT") || name.starts_with("EVENTFLOW_SERVICE_");
    let unknown: Vec<String> =
        names.filter(|name| name.starts_with("EVENTFLOW_") && !injected(name) && !known.contains(name)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let known: Vec<String> = known.into_iter().collect();
    Err(format!("unknown environment variable {}; the known ones are {}", unknown.join(", "), known.join(", ")))
}

fn collect(command: &clap::Command, known: &mut BTreeSet<String>) {
    known.extend(command.get_arguments().filter_map(|arg| arg.get_env()).map(|name| name.to_string_lossy().into()));
    for child in command.get_subcommands() {
        collect(child, known);
    }
}

#[cfg(test)]
mod tests {
    use super::refuse_unknown;

    fn command() -> clap::Command {
        let flag = clap::Arg::new("listen").long("listen").env("EVENTFLOW_LISTEN");
        clap::Command::new("eventflow").subcommand(clap::Command::new("serve").arg(flag))
    }

    #[test]
    fn a_misspelt_variable_is_named() {
        let names = ["EVENTFLOW_LISTEN", "EVENTFLOW_PORT_50051_TCP", "EVENTFLOW_SERVICE_HOST", "PATH"];
        assert_eq!(refuse_unknown(&command(), names.map(String::from).into_iter()), Ok(()));
        let refused = refuse_unknown(&command(), ["EVENTFLOW_LISTN".to_owned()].into_iter());
        assert!(refused.is_err_and(|text| text.contains("EVENTFLOW_LISTN") && text.contains("EVENTFLOW_LISTEN")));
    }
}
