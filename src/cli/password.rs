//! Passwords, from a file, the terminal or standard input.

use std::{
    io::{BufRead, IsTerminal, Read},
    path::PathBuf,
};

use super::failure::Failure;

/// A password is at most 128 characters; what is longer was not meant to be one.
const PASSWORD_BYTES: u64 = 4096;

/// What is asked for on the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// One that exists.
    Once,
    /// A new one, twice, since nobody sees it.
    Twice,
}

/// Reads a password: the one line of `file`, else asked for on the terminal, else a line of standard input.
pub(super) fn read(prompt: &str, file: Option<PathBuf>, ask: Ask) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::Local(format!("the password cannot be read: {error}"));
    let mut text = String::new();
    match file {
        Some(path) => {
            let open = std::fs::File::open(&path);
            let named = |error: std::io::Error| Failure::Local(format!("{} cannot be read: {error}", path.display()));
            open.map_err(named)?.take(PASSWORD_BYTES).read_to_string(&mut text).map_err(named)?;
        }
        None if std::io::stdin().is_terminal() => {
            text = rpassword::prompt_password(format!("{prompt}: ")).map_err(failed)?;
            if ask == Ask::Twice && rpassword::prompt_password(format!("{prompt}, again: ")).map_err(failed)? != text {
                return Err(Failure::Local("the two are not the same; nothing was changed".to_owned()));
            }
        }
        None => {
            // A line for each password that a command wants.
            std::io::stdin().lock().take(PASSWORD_BYTES).read_line(&mut text).map_err(failed)?;
        }
    }
    let password = text.strip_suffix('\n').unwrap_or(&text);
    Ok(password.strip_suffix('\r').unwrap_or(password).to_owned())
}
