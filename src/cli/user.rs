//! `eventflow user`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{
    confirm::confirm,
    connection::Connection,
    failure::Failure,
    moment::show_time,
    output::{Listing, Output, yes_or_no},
    password::{self, Ask},
};
use crate::proto::v1::{self, User, auth_service_client::AuthServiceClient};

/// What to do with users.
#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Add a person, or a program that calls with API keys.
    Create(CreateArgs),
    /// List users.
    List,
    /// Change a user's role, disable it or enable it again.
    Update(UpdateArgs),
    /// Remove a user with its sessions and keys; its events stay.
    Delete {
        /// The user, without "users/".
        username: String,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
    /// Set a new password: one's own, or as an admin that of another user. It ends the user's sessions.
    Password(PasswordArgs),
}

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum RoleName {
    /// Reads events and the state of everything.
    Viewer,
    /// And manages topics, producers, consumers and their keys, publishes and consumes.
    Operator,
    /// And manages users and their keys.
    Admin,
}

/// Arguments of `user create`.
#[derive(Debug, Args)]
#[command(after_help = "The password is asked for on the terminal, or read from standard input if that is none.\n\n\
    Examples:\n  eventflow user create ada --role operator\n  eventflow user create ci --role viewer --program")]
pub(super) struct CreateArgs {
    /// The user, for example "ada".
    username: String,
    /// What it may do.
    #[arg(long, value_enum)]
    role: RoleName,
    /// It has no password, and calls with API keys: see `key create`.
    #[arg(long, conflicts_with = "password_file")]
    program: bool,
    /// File with the password; a line break at its end is not part of it.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// Arguments of `user update`.
#[derive(Debug, Args)]
pub(super) struct UpdateArgs {
    /// The user.
    username: String,
    /// What it may do.
    #[arg(long, value_enum)]
    role: Option<RoleName>,
    /// Whether it can neither log in nor use its keys; its sessions end.
    #[arg(long, value_name = "BOOL")]
    disabled: Option<bool>,
}

/// Arguments of `user password`.
#[derive(Debug, Args)]
#[command(after_help = "Passwords are asked for on the terminal, or read from standard input if that is none, a line \
    each: first the old one, if it is one's own.\n\n\
    Examples:\n  eventflow user password\n  eventflow user password ada")]
pub(super) struct PasswordArgs {
    /// The user, whose old password is not asked for. Left out: oneself.
    username: Option<String>,
    /// File with one's own old password.
    #[arg(long, value_name = "FILE", conflicts_with = "username")]
    old_password_file: Option<PathBuf>,
    /// File with the new password.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// Does it.
pub(super) async fn run(connection: &Connection, output: Output, command: UserCommand) -> Result<(), Failure> {
    let mut client = AuthServiceClient::new(connection.channel());
    let user = match command {
        UserCommand::Create(args) => {
            let request = connection.request(create_request(args)?).await?;
            client.create_user(request).await?.into_inner().user
        }
        UserCommand::Update(args) => {
            let request = connection.request(update_request(args)?).await?;
            client.update_user(request).await?.into_inner().user
        }
        UserCommand::List => return list(connection, output).await,
        UserCommand::Delete { username, yes } => {
            confirm(&format!("Remove the user {username} with its sessions and keys for good?"), yes)?;
            let request = connection.request(v1::DeleteUserRequest { username: username.clone() }).await?;
            client.delete_user(request).await?;
            return output.done(&format!("deleted {username}"));
        }
        UserCommand::Password(args) => return set_password(connection, output, args).await,
    };
    let user = user.unwrap_or_default();
    output.item("User", &user, &fields(&user))
}

async fn list(connection: &Connection, output: Output) -> Result<(), Failure> {
    let mut client = AuthServiceClient::new(connection.channel());
    let (mut users, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListUsersRequest { page_size: 1000, page_token };
        let page = client.list_users(connection.request(request).await?).await?.into_inner();
        users.extend(page.users);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return output.list(&LISTING, &users);
        }
    }
}

async fn set_password(connection: &Connection, output: Output, args: PasswordArgs) -> Result<(), Failure> {
    let PasswordArgs { username, old_password_file, password_file } = args;
    let (old_password, done) = match &username {
        None => (
            password::read("old password", old_password_file, Ask::Once)?,
            "the password is changed; log in again with it".to_owned(),
        ),
        Some(name) => (String::new(), format!("the password of {name} is changed")),
    };
    let new_password = password::read("new password", password_file, Ask::Twice)?;
    let request = v1::ChangePasswordRequest { username: username.unwrap_or_default(), old_password, new_password };
    let request = connection.request(request).await?;
    AuthServiceClient::new(connection.channel()).change_password(request).await?;
    output.done(&done)
}

fn create_request(args: CreateArgs) -> Result<v1::CreateUserRequest, Failure> {
    let CreateArgs { username, role, program, password_file } = args;
    let password = match program {
        true => String::new(),
        false => {
            let password = password::read(&format!("password of {username}"), password_file, Ask::Twice)?;
            if password.is_empty() {
                let text = "the password is empty; say --program for a user that calls with API keys alone";
                return Err(Failure::Usage(text.to_owned()));
            }
            password
        }
    };
    let user = User { username, role: role_message(role).into(), ..User::default() };
    Ok(v1::CreateUserRequest { user: Some(user), password })
}

fn update_request(args: UpdateArgs) -> Result<v1::UpdateUserRequest, Failure> {
    let UpdateArgs { username, role, disabled } = args;
    if (role, disabled) == (None, None) {
        return Err(Failure::Usage("nothing to change; give --role or --disabled".to_owned()));
    }
    Ok(v1::UpdateUserRequest { username, role: role.map(|role| role_message(role).into()), disabled })
}

const LISTING: Listing<User> = Listing {
    message: "User",
    columns: &["NAME", "ROLE", "DISABLED", "CREATED"],
    cells: |user| {
        let created = show_time(user.create_time.as_ref());
        vec![user.username.clone(), role_name(user.role()).to_owned(), yes_or_no(user.disabled), created]
    },
};

fn fields(user: &User) -> [(&'static str, String); 4] {
    [
        ("name", user.username.clone()),
        ("role", role_name(user.role()).to_owned()),
        ("disabled", yes_or_no(user.disabled)),
        ("created", show_time(user.create_time.as_ref())),
    ]
}

/// A role for people.
pub(super) fn role_name(role: v1::Role) -> &'static str {
    match role {
        v1::Role::Unspecified => "-",
        v1::Role::Viewer => "viewer",
        v1::Role::Operator => "operator",
        v1::Role::Admin => "admin",
    }
}

fn role_message(role: RoleName) -> v1::Role {
    match role {
        RoleName::Viewer => v1::Role::Viewer,
        RoleName::Operator => v1::Role::Operator,
        RoleName::Admin => v1::Role::Admin,
    }
}
