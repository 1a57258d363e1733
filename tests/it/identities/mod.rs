//! Users, sessions, keys and producers, over sockets: what begins, changes and ends them.

mod keys;
mod last_admin;
mod live_streams;
mod passwords;
mod producers;
mod refresh;
mod servers;
mod tokens;
mod users;

use std::time::Duration;

use eventflow::proto::v1;
use tonic::{Code, Status};

use crate::{
    client::{Client, assert_refused},
    harness::{backend::Backend, server::Server},
};

const PASSWORD: &str = "correct horse battery";

/// A server, and its admin by a key or a login that no test ends.
async fn started(backend: Backend) -> (Server, Client) {
    let server = backend.server().await.start().await;
    let admin = Client::admin(&server).await;
    (server, admin)
}

async fn create_user(admin: &Client, name: &str, role: v1::Role, password: &str) -> Result<v1::User, Status> {
    let user = v1::User { username: name.into(), role: role.into(), ..Default::default() };
    let request = v1::CreateUserRequest { user: Some(user), password: password.into() };
    Ok(admin.auth().create_user(request).await?.into_inner().user.expect("a user"))
}

async fn login(client: &Client, name: &str, password: &str) -> Result<v1::Tokens, Status> {
    let request = v1::LoginRequest { username: name.into(), password: password.into() };
    Ok(client.auth().login(request).await?.into_inner().tokens.expect("tokens"))
}

/// A new user who has logged in: the tokens, and a client with the access token.
async fn logged_in(admin: &Client, name: &str, role: v1::Role) -> (v1::Tokens, Client) {
    create_user(admin, name, role, PASSWORD).await.expect("a user can be created");
    let tokens = login(admin, name, PASSWORD).await.expect("the user can log in");
    let client = admin.with(&tokens.access_token);
    (tokens, client)
}

async fn refresh(client: &Client, token: &str) -> Result<v1::Tokens, Status> {
    let request = v1::RefreshTokenRequest { refresh_token: token.into() };
    Ok(client.auth().refresh_token(request).await?.into_inner().tokens.expect("tokens"))
}

async fn logout(client: &Client) -> Result<(), Status> {
    client.auth().logout(v1::LogoutRequest {}).await.map(drop)
}

async fn update_user(client: &Client, request: v1::UpdateUserRequest) -> Result<v1::User, Status> {
    Ok(client.auth().update_user(request).await?.into_inner().user.expect("a user"))
}

async fn set_disabled(admin: &Client, name: &str, disabled: bool) -> Result<v1::User, Status> {
    let disabled = Some(disabled);
    update_user(admin, v1::UpdateUserRequest { username: name.into(), disabled, ..Default::default() }).await
}

async fn set_role(admin: &Client, name: &str, role: v1::Role) -> Result<v1::User, Status> {
    let role = Some(role.into());
    update_user(admin, v1::UpdateUserRequest { username: name.into(), role, ..Default::default() }).await
}

async fn delete_user(client: &Client, name: &str) -> Result<(), Status> {
    client.auth().delete_user(v1::DeleteUserRequest { username: name.into() }).await.map(drop)
}

/// A new key of an owner, without its secret, and the whole key.
async fn create_key(client: &Client, owner: &str, ttl: Option<Duration>) -> Result<(v1::ApiKey, String), Status> {
    let ttl = ttl.map(|ttl| prost_types::Duration::try_from(ttl).expect("a duration"));
    let request = v1::CreateApiKeyRequest { owner: owner.into(), ttl };
    let response = client.auth().create_api_key(request).await?.into_inner();
    Ok((response.api_key.expect("a key"), response.secret))
}

async fn revoke(client: &Client, id: &str) -> Result<v1::ApiKey, Status> {
    let request = v1::RevokeApiKeyRequest { id: id.into() };
    Ok(client.auth().revoke_api_key(request).await?.into_inner().api_key.expect("a key"))
}

/// All keys of an owner, or of all.
async fn list_keys(client: &Client, owner: &str) -> Result<Vec<v1::ApiKey>, Status> {
    let request = v1::ListApiKeysRequest { owner: owner.into(), page_size: 1000, page_token: String::new() };
    Ok(client.auth().list_api_keys(request).await?.into_inner().api_keys)
}

/// Who a credential is, as the server sees it.
async fn whoami(client: &Client) -> Result<String, Status> {
    Ok(client.auth().get_caller(v1::GetCallerRequest {}).await?.into_inner().name)
}

/// Asserts that a credential is refused for this reason.
#[track_caller]
fn assert_ended(outcome: Result<String, Status>, reason: &str) {
    assert_refused(&outcome.expect_err("the credential has ended"), Code::Unauthenticated, reason);
}

/// Asserts that a call was denied.
#[track_caller]
fn assert_denied<T: std::fmt::Debug>(outcome: Result<T, Status>) {
    assert_refused(&outcome.expect_err("the call is not allowed"), Code::PermissionDenied, "PERMISSION_DENIED");
}
