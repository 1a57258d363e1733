//! `AuthService`.

use std::collections::HashMap;

use secrecy::{ExposeSecret, SecretString};
use tonic::{Request, Response, Status};

use super::{
    authenticate::caller,
    convert::{self, Checks, PasswordChange},
    reason::Reason,
    status::Problem,
};
use crate::{
    auth::Auth,
    broker::{Broker, NewKey},
    domain::{Caller, Permission, limits},
    proto::{server::auth_service_server::AuthService, v1},
};

/// `AuthService` over a broker and its credentials.
#[derive(Debug, Clone)]
pub(super) struct AuthRpcs {
    pub(super) broker: Broker,
    pub(super) auth: Auth,
}

#[tonic::async_trait]
impl AuthService for AuthRpcs {
    async fn login(&self, request: Request<v1::LoginRequest>) -> Result<Response<v1::LoginResponse>, Status> {
        let v1::LoginRequest { username, password } = request.into_inner();
        let mut checks = Checks::default();
        convert::given_password(&mut checks, "password", &password);
        if username.len() > limits::NAME_BYTES {
            checks.add(Reason::RequestInvalid, "username", format!("has more than {} bytes", limits::NAME_BYTES));
        }
        checks.finish(Some(()))?;
        let password = SecretString::from(password);
        let tokens = self.auth.login(&username, &password).await.map_err(Problem::from)?;
        Ok(Response::new(v1::LoginResponse { tokens: Some(convert::tokens(tokens)) }))
    }

    async fn get_caller(
        &self,
        request: Request<v1::GetCallerRequest>,
    ) -> Result<Response<v1::GetCallerResponse>, Status> {
        let principal = caller(&request)?;
        let v1::GetCallerRequest {} = request.into_inner();
        let role = match &principal.caller {
            Caller::User { role, .. } => convert::role_message(*role),
            Caller::Producer { .. } | Caller::Consumer { .. } => v1::Role::Unspecified,
        };
        let permissions = Permission::ALL.iter().filter(|permission| principal.may(**permission));
        Ok(Response::new(v1::GetCallerResponse {
            name: principal.name.to_string(),
            role: role.into(),
            permissions: permissions.map(|permission| permission.as_str().to_owned()).collect(),
            expire_time: principal.expires.map(convert::timestamp),
        }))
    }

    async fn get_server_info(
        &self,
        request: Request<v1::GetServerInfoRequest>,
    ) -> Result<Response<v1::GetServerInfoResponse>, Status> {
        let v1::GetServerInfoRequest {} = request.into_inner();
        let servers = self.broker.servers().await.map_err(Problem::from)?;
        Ok(Response::new(v1::GetServerInfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            store: self.broker.store().kind().to_owned(),
            limits: server_limits(),
            features: ["idempotent_publish", "ordered_consumers", "subscribe"].map(str::to_owned).to_vec(),
            servers: servers.into_iter().map(convert::running_server).collect(),
        }))
    }

    async fn refresh_token(
        &self,
        request: Request<v1::RefreshTokenRequest>,
    ) -> Result<Response<v1::RefreshTokenResponse>, Status> {
        let v1::RefreshTokenRequest { refresh_token } = request.into_inner();
        let tokens = self.broker.refresh(refresh_token.into()).await.map_err(changed)?;
        Ok(Response::new(v1::RefreshTokenResponse { tokens: Some(convert::tokens(tokens)) }))
    }

    async fn logout(&self, request: Request<v1::LogoutRequest>) -> Result<Response<v1::LogoutResponse>, Status> {
        let principal = caller(&request)?;
        let v1::LogoutRequest {} = request.into_inner();
        self.broker.logout(&principal).await.map_err(changed)?;
        Ok(Response::new(v1::LogoutResponse {}))
    }

    async fn change_password(
        &self,
        request: Request<v1::ChangePasswordRequest>,
    ) -> Result<Response<v1::ChangePasswordResponse>, Status> {
        let principal = caller(&request)?;
        let PasswordChange { user, old, new } = convert::password_change(request.into_inner())?;
        self.broker.change_password(&principal, user, &old, &new).await.map_err(changed)?;
        Ok(Response::new(v1::ChangePasswordResponse {}))
    }

    async fn create_user(
        &self,
        request: Request<v1::CreateUserRequest>,
    ) -> Result<Response<v1::CreateUserResponse>, Status> {
        let new = convert::new_user(request.into_inner())?;
        let user = self.broker.create_user(new).await.map_err(changed)?;
        Ok(Response::new(v1::CreateUserResponse { user: Some(convert::user(user)) }))
    }

    async fn list_users(
        &self,
        request: Request<v1::ListUsersRequest>,
    ) -> Result<Response<v1::ListUsersResponse>, Status> {
        let v1::ListUsersRequest { page_size, page_token } = request.into_inner();
        let mut checks = Checks::default();
        let page = convert::page(&mut checks, &["users"], page_size, &page_token);
        let page = checks.finish(page)?;
        let mut users = self.broker.list_users(&page.after, page.limit()).await.map_err(Problem::from)?;
        let next_page_token = page.cut(&mut users, |user| user.name.as_str());
        Ok(Response::new(v1::ListUsersResponse {
            users: users.into_iter().map(convert::user).collect(),
            next_page_token,
        }))
    }

    async fn update_user(
        &self,
        request: Request<v1::UpdateUserRequest>,
    ) -> Result<Response<v1::UpdateUserResponse>, Status> {
        let (name, change) = convert::user_change(request.into_inner())?;
        let user = self.broker.update_user(&name, change).await.map_err(changed)?;
        Ok(Response::new(v1::UpdateUserResponse { user: Some(convert::user(user)) }))
    }

    async fn delete_user(
        &self,
        request: Request<v1::DeleteUserRequest>,
    ) -> Result<Response<v1::DeleteUserResponse>, Status> {
        let v1::DeleteUserRequest { username } = request.into_inner();
        let mut checks = Checks::default();
        let name = checks.user("username", &username);
        self.broker.delete_user(&checks.finish(name)?).await.map_err(changed)?;
        Ok(Response::new(v1::DeleteUserResponse {}))
    }

    async fn create_api_key(
        &self,
        request: Request<v1::CreateApiKeyRequest>,
    ) -> Result<Response<v1::CreateApiKeyResponse>, Status> {
        let principal = caller(&request)?;
        let (owner, ttl) = convert::new_key(request.into_inner())?;
        let key = self.broker.create_api_key(&principal, owner, ttl).await.map_err(changed)?;
        let (api_key, secret) = shown(key);
        Ok(Response::new(v1::CreateApiKeyResponse { api_key: Some(api_key), secret }))
    }

    async fn list_api_keys(
        &self,
        request: Request<v1::ListApiKeysRequest>,
    ) -> Result<Response<v1::ListApiKeysResponse>, Status> {
        let principal = caller(&request)?;
        let v1::ListApiKeysRequest { owner, page_size, page_token } = request.into_inner();
        let mut checks = Checks::default();
        let whose = if owner.is_empty() { None } else { convert::key_owner(&mut checks, &owner) };
        let page = convert::page(&mut checks, &["api_keys", &owner], page_size, &page_token);
        let page = checks.finish(page)?;
        let found = self.broker.list_api_keys(&principal, whose, &page.after, page.limit()).await;
        let mut keys = found.map_err(Problem::from)?;
        let next_page_token = page.cut(&mut keys, |key| key.id.as_str());
        let api_keys = keys.into_iter().map(convert::api_key).collect();
        Ok(Response::new(v1::ListApiKeysResponse { api_keys, next_page_token }))
    }

    async fn rotate_api_key(
        &self,
        request: Request<v1::RotateApiKeyRequest>,
    ) -> Result<Response<v1::RotateApiKeyResponse>, Status> {
        let principal = caller(&request)?;
        let (id, grace) = convert::rotation(request.into_inner())?;
        let key = self.broker.rotate_api_key(&principal, &id, grace).await.map_err(changed)?;
        let (api_key, secret) = shown(key);
        Ok(Response::new(v1::RotateApiKeyResponse { api_key: Some(api_key), secret }))
    }

    async fn revoke_api_key(
        &self,
        request: Request<v1::RevokeApiKeyRequest>,
    ) -> Result<Response<v1::RevokeApiKeyResponse>, Status> {
        let principal = caller(&request)?;
        let v1::RevokeApiKeyRequest { id } = request.into_inner();
        let id = convert::key_id(id)?;
        let key = self.broker.revoke_api_key(&principal, &id).await.map_err(changed)?;
        Ok(Response::new(v1::RevokeApiKeyResponse { api_key: Some(convert::api_key(key)) }))
    }
}

/// The refusal of a call that stores something.
fn changed(error: impl Into<Problem>) -> Status {
    error.into().of_change().into()
}

/// A new key with its secret, for the one time that it is shown.
fn shown(key: NewKey) -> (v1::ApiKey, String) {
    let NewKey { record, secret } = key;
    (convert::api_key(record), secret.expose_secret().to_owned())
}

/// The limits on input, by name, in the unit that the name ends with.
fn server_limits() -> HashMap<String, i64> {
    let limits = [
        ("event_payload_bytes", limits::PAYLOAD_BYTES),
        ("event_type_bytes", limits::LABEL_BYTES),
        ("event_key_bytes", limits::KEY_BYTES),
        ("event_id_bytes", limits::ID_BYTES),
        ("event_attributes", limits::ATTRIBUTES),
        ("attribute_name_bytes", limits::ATTRIBUTE_NAME_BYTES),
        ("attribute_value_bytes", limits::ATTRIBUTE_VALUE_BYTES),
        ("request_bytes", limits::REQUEST_BYTES),
        ("request_events", limits::REQUEST_EVENTS),
        ("name_bytes", limits::NAME_BYTES),
        ("description_bytes", limits::DESCRIPTION_BYTES),
        ("filter_entries", limits::FILTER_ENTRIES),
        ("filter_bytes", limits::FILTER_BYTES),
        ("frame_events", limits::FRAME_EVENTS),
        ("frame_bytes", limits::FRAME_BYTES),
        ("page_items", limits::PAGE_ITEMS),
        ("metadata_bytes", limits::METADATA_BYTES as usize),
        ("connection_streams", limits::CONNECTION_STREAMS as usize),
    ];
    limits.into_iter().map(|(name, limit)| (name.to_owned(), i64::try_from(limit).unwrap_or(i64::MAX))).collect()
}
