//! `eventflow login`.

use std::path::PathBuf;

use clap::Args;

use super::{
    connection::Connection,
    failure::Failure,
    output::Output,
    password::{self, Ask},
    session::{Session, SessionFile},
};
use crate::proto::v1::{self, auth_service_client::AuthServiceClient};

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
pub(super) async fn run(connection: &Connection, output: Output, args: LoginArgs) -> Result<(), Failure> {
    let LoginArgs { username, password_file } = args;
    let no_home =
        || Failure::Local("there is no place for the login: neither XDG_CONFIG_HOME nor HOME is set".to_owned());
    let file = SessionFile::of_user().ok_or_else(no_home)?;
    let password = password::read(&format!("password of {username}"), password_file, Ask::Once)?;
    let request = connection.open_request(v1::LoginRequest { username: username.clone(), password });
    let answer = AuthServiceClient::new(connection.channel()).login(request).await?.into_inner();
    let session = Session::new(username, answer.tokens.unwrap_or_default())?;
    let server = connection.address().name();
    file.lock().await?.save(&server, &session)?;
    output.done(&format!("logged in at {server} as {}", session.username))
}
