//! Asking before something is gone for good.

use std::io::{BufRead, IsTerminal, Write};

use super::failure::Failure;

/// Asks on the terminal, unless `yes` was said already. Without a terminal it refuses.
pub(super) fn confirm(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    if !stdin.is_terminal() || !stderr.is_terminal() {
        return Err(Failure::Usage(format!("{question} Say --yes, since there is no terminal to ask on")));
    }
    let failed = |error: std::io::Error| Failure::Local(format!("the terminal cannot be used: {error}"));
    write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush()).map_err(failed)?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).map_err(failed)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::Local("nothing was changed".to_owned())),
    }
}
