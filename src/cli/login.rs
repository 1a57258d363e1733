//! `eventflow login`.

use std::{
    io::{IsTerminal, Read},
    path::PathBuf,
};

use clap::Args;

use super::{
    connection::Connection,
    failure::Failure,
    output,
    session::{Session, SessionFile},
};
use crate::proto::v1::{self, auth_service_client::AuthServiceClient};

/// A password is at most 128 characters; what is longer was not meant to be one.
const PASSWORD_BYTES: u64 = 4096;

/// Arguments of `login`.
#[derive(Debug, Args)]
#[command(after_help = "The password is asked for on the terminal, or read from standard input if that is none.\n\n\
    Examples:\n  eventflow login ada\n  eventflow login admin --password-file ./eventflow-data/admin-password")]
pub(super) struct LoginArgs {
    /// The user, for example "ada".
    username: String,
    /// File with the password; a line break at its end is not part of it.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// Logs in and keeps the tokens for the other commands.
pub(super) async fn run(connection: &Connection, args: LoginArgs) -> Result<(), Failure> {
    let LoginArgs { username, password_file } = args;
    let no_home =
        || Failure::Local("there is no place for the login: neither XDG_CONFIG_HOME nor HOME is set".to_owned());
    let file = SessionFile::of_user().ok_or_else(no_home)?;
    let password = password(&username, password_file)?;
    let request = connection.open_request(v1::LoginRequest { username: username.clone(), password });
    let answer = AuthServiceClient::new(connection.channel()).login(request).await?.into_inner();
    let session = Session::new(username, answer.tokens.unwrap_or_default())?;
    let server = connection.address().name();
    file.lock().await?.save(&server, &session)?;
    output::print(&format!("logged in at {server} as {}\n", session.username))
}

fn password(username: &str, file: Option<PathBuf>) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::Local(format!("the password cannot be read: {error}"));
    let mut text = String::new();
    match file {
        Some(path) => {
            let open = std::fs::File::open(&path);
            let named = |error: std::io::Error| Failure::Local(format!("{} cannot be read: {error}", path.display()));
            open.map_err(named)?.take(PASSWORD_BYTES).read_to_string(&mut text).map_err(named)?;
        }
        None if std::io::stdin().is_terminal() => {
            text = rpassword::prompt_password(format!("password of {username}: ")).map_err(failed)?;
        }
        None => {
            std::io::stdin().lock().take(PASSWORD_BYTES).read_to_string(&mut text).map_err(failed)?;
        }
    }
    let password = text.strip_suffix('\n').unwrap_or(&text);
    Ok(password.strip_suffix('\r').unwrap_or(password).to_owned())
}
