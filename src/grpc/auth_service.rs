//! `AuthService`.

use std::{collections::HashMap, pin::Pin};

use secrecy::{ExposeSecret, SecretString};
use tonic::{Request, Response, Status};

use super::{
    authenticate::caller,
    convert::{self, Checks},
    reason::Reason,
    status::Problem,
};
use crate::{
    auth::Auth,
    broker::Broker,
    domain::{Caller, Permission, Role, limits},
    proto::{server::auth_service_server::AuthService, v1},
};

/// `AuthService` over a broker and its credentials.
#[derive(Debug, Clone)]
pub(super) struct AuthRpcs {
    pub(super) broker: Broker,
    pub(super) auth: Auth,
}

/// Answers with METHOD_UNAVAILABLE for RPCs that this version does not serve yet. It is written as
/// `async_trait` writes methods, since that macro does not see into this one.
macro_rules! unavailable {
    ($($rpc:ident: $request:ident -> $response:ident, $name:literal;)*) => {
        $(
            fn $rpc<'life, 'async_trait>(
                &'life self,
                _request: Request<v1::$request>,
            ) -> Pin<Box<dyn Future<Output = Result<Response<v1::$response>, Status>> + Send + 'async_trait>>
            where
                'life: 'async_trait,
                Self: 'async_trait,
            {
                Box::pin(std::future::ready(Err(Problem::unavailable($name).into())))
            }
        )*
    };
}

#[tonic::async_trait]
impl AuthService for AuthRpcs {
    async fn login(&self, request: Request<v1::LoginRequest>) -> Result<Response<v1::LoginResponse>, Status> {
        let v1::LoginRequest { username, password } = request.into_inner();
        let mut checks = Checks::default();
        let longest = limits::PASSWORD_MAX * 4;
        if password.len() > longest {
            checks.add(Reason::RequestInvalid, "password", format!("has more than {longest} bytes"));
        }
        if username.len() > limits::NAME_BYTES {
            checks.add(Reason::RequestInvalid, "username", format!("has more than {} bytes", limits::NAME_BYTES));
        }
        checks.finish(Some(()))?;
        let password = SecretString::from(password);
        let tokens = self.auth.login(&username, &password).await.map_err(Problem::from)?;
        Ok(Response::new(v1::LoginResponse {
            tokens: Some(v1::Tokens {
                access_token: tokens.access_token.expose_secret().to_owned(),
                expire_time: Some(convert::timestamp(tokens.expire_time)),
                refresh_token: tokens.refresh_token.expose_secret().to_owned(),
            }),
        }))
    }

    async fn get_caller(
        &self,
        request: Request<v1::GetCallerRequest>,
    ) -> Result<Response<v1::GetCallerResponse>, Status> {
        let principal = caller(&request)?;
        let v1::GetCallerRequest {} = request.into_inner();
        let role = match &principal.caller {
            Caller::User { role: Role::Viewer, .. } => v1::Role::Viewer,
            Caller::User { role: Role::Operator, .. } => v1::Role::Operator,
            Caller::User { role: Role::Admin, .. } => v1::Role::Admin,
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

    unavailable! {
        refresh_token: RefreshTokenRequest -> RefreshTokenResponse, "RefreshToken";
        logout: LogoutRequest -> LogoutResponse, "Logout";
        create_user: CreateUserRequest -> CreateUserResponse, "CreateUser";
        list_users: ListUsersRequest -> ListUsersResponse, "ListUsers";
        update_user: UpdateUserRequest -> UpdateUserResponse, "UpdateUser";
        delete_user: DeleteUserRequest -> DeleteUserResponse, "DeleteUser";
        change_password: ChangePasswordRequest -> ChangePasswordResponse, "ChangePassword";
        create_api_key: CreateApiKeyRequest -> CreateApiKeyResponse, "CreateApiKey";
        list_api_keys: ListApiKeysRequest -> ListApiKeysResponse, "ListApiKeys";
        rotate_api_key: RotateApiKeyRequest -> RotateApiKeyResponse, "RotateApiKey";
        revoke_api_key: RevokeApiKeyRequest -> RevokeApiKeyResponse, "RevokeApiKey";
    }
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
