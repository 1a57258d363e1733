//! Users and their passwords.

use secrecy::{ExposeSecret, SecretString};
use tonic::Status;

use super::{Checks, timestamp};
use crate::{
    auth::{Tokens, check_password},
    broker::NewUser,
    domain::{Role, Username, limits},
    grpc::reason::Reason,
    proto::v1,
    store::{User, UserChange},
};

/// A user to be created. What only the server sets is ignored.
pub(crate) fn new_user(request: v1::CreateUserRequest) -> Result<NewUser, Status> {
    let v1::CreateUserRequest { user, password } = request;
    let mut checks = Checks::default();
    if user.is_none() {
        checks.add(Reason::RequestInvalid, "user", "must be set");
    }
    let password = (!password.is_empty()).then(|| new_password(&mut checks, "password", password)).flatten();
    let user = user.map(|user| {
        let v1::User { username, role, disabled, create_time: _ } = user;
        let name = checks.user("user.username", &username);
        (name, self::role(&mut checks, "user.role", role), disabled)
    });
    let new = user.and_then(|(name, role, disabled)| Some(NewUser { name: name?, role: role?, disabled, password }));
    checks.finish(new)
}

/// What to change about a user.
pub(crate) fn user_change(request: v1::UpdateUserRequest) -> Result<(Username, UserChange), Status> {
    let v1::UpdateUserRequest { username, role, disabled } = request;
    let mut checks = Checks::default();
    let name = checks.user("username", &username);
    let role = role.and_then(|role| self::role(&mut checks, "role", role));
    checks.finish(name.map(|name| (name, UserChange { role, disabled })))
}

/// A password to be set: whose, if another one's than the caller's; the old one and the new one.
pub(crate) struct PasswordChange {
    /// `None`: the caller.
    pub(crate) user: Option<Username>,
    /// Empty if none was given.
    pub(crate) old: SecretString,
    /// It keeps to the rule.
    pub(crate) new: SecretString,
}

/// Reads a change of a password.
pub(crate) fn password_change(request: v1::ChangePasswordRequest) -> Result<PasswordChange, Status> {
    let v1::ChangePasswordRequest { username, old_password, new_password } = request;
    let mut checks = Checks::default();
    let user = if username.is_empty() { None } else { checks.user("username", &username) };
    given_password(&mut checks, "old_password", &old_password);
    let new = self::new_password(&mut checks, "new_password", new_password);
    checks.finish(new.map(|new| PasswordChange { user, old: old_password.into(), new }))
}

/// Checks that a password which somebody claims to have can be compared at all.
pub(crate) fn given_password(checks: &mut Checks, field: &str, password: &str) {
    let longest = limits::PASSWORD_MAX * 4;
    if password.len() > longest {
        checks.add(Reason::RequestInvalid, field, format!("has more than {longest} bytes"));
    }
}

/// A user for the wire.
pub(crate) fn user(user: User) -> v1::User {
    let User { name, role, disabled, password_hash: _, create_time } = user;
    let role = self::role_message(role).into();
    v1::User { username: name.to_string(), role, disabled, create_time: Some(timestamp(create_time)) }
}

/// The tokens of a session for the wire, the one time that they are shown.
pub(crate) fn tokens(tokens: Tokens) -> v1::Tokens {
    let Tokens { access_token, expire_time, refresh_token } = tokens;
    v1::Tokens {
        access_token: access_token.expose_secret().to_owned(),
        expire_time: Some(timestamp(expire_time)),
        refresh_token: refresh_token.expose_secret().to_owned(),
    }
}

/// A role for the wire.
pub(crate) fn role_message(role: Role) -> v1::Role {
    match role {
        Role::Viewer => v1::Role::Viewer,
        Role::Operator => v1::Role::Operator,
        Role::Admin => v1::Role::Admin,
    }
}

fn role(checks: &mut Checks, field: &str, role: i32) -> Option<Role> {
    let role = match v1::Role::try_from(role) {
        Ok(v1::Role::Viewer) => Ok(Role::Viewer),
        Ok(v1::Role::Operator) => Ok(Role::Operator),
        Ok(v1::Role::Admin) => Ok(Role::Admin),
        Ok(v1::Role::Unspecified) => Err("must be set; one of ROLE_VIEWER, ROLE_OPERATOR and ROLE_ADMIN".to_owned()),
        Err(_) => Err(format!("{role} is no role that this server knows")),
    };
    checks.check(Reason::RequestInvalid, field, role)
}

fn new_password(checks: &mut Checks, field: &str, password: String) -> Option<SecretString> {
    let checked = match password.contains('\0') {
        true => Err("holds U+0000, which is not taken".to_owned()),
        false => check_password(&password),
    };
    checks.check(Reason::RequestInvalid, field, checked)?;
    Some(password.into())
}
