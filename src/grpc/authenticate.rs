//! Lets a call through to its handler if its credential allows it, with its principal.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, Request, Response, header::AUTHORIZATION};
use tonic::Status;
use tower::{Layer, Service};

use super::{
    call::Call,
    permissions::access,
    reason::Reason,
    status::{Problem, denied},
};
use crate::{
    auth::{Auth, AuthError},
    domain::{Access, Principal},
};

/// Where programs may send their key.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Puts [`Authenticate`] before a service.
#[derive(Debug, Clone)]
pub struct AuthenticateLayer {
    auth: Auth,
}

impl AuthenticateLayer {
    /// With the credentials of this `auth`.
    pub fn new(auth: Auth) -> Self {
        Self { auth }
    }
}

impl<S> Layer<S> for AuthenticateLayer {
    type Service = Authenticate<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Authenticate { auth: self.auth.clone(), inner }
    }
}

/// Answers a call itself that is not allowed, or that no row of the table knows; passes on any other,
/// with an `Arc<Principal>` among its extensions unless the RPC is open to everybody.
#[derive(Debug, Clone)]
pub struct Authenticate<S> {
    auth: Auth,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Authenticate<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The clone has not been asked whether it is ready: the one that has goes with the call.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let auth = self.auth.clone();
        Box::pin(async move {
            // Nobody but this layer names a principal.
            request.extensions_mut().remove::<Arc<Principal>>();
            match admit(&auth, request.uri().path(), request.headers()).await {
                Ok(Some(principal)) => {
                    if let Some(call) = request.extensions().get::<Call>() {
                        call.set_principal(principal.name.clone());
                    }
                    request.extensions_mut().insert(principal);
                    inner.call(request).await
                }
                Ok(None) => inner.call(request).await,
                Err(refusal) => Ok(refusal.into_http()),
            }
        })
    }
}

/// The principal of a call that may go on; `None` if the RPC is open to everybody.
async fn admit(auth: &Auth, path: &str, headers: &HeaderMap) -> Result<Option<Arc<Principal>>, Status> {
    let access = access(path).ok_or_else(method_not_found)?;
    if access == Access::Open {
        return Ok(None);
    }
    let refused = |error: AuthError| Status::from(Problem::from(error));
    let credential = credential(headers).map_err(refused)?;
    let principal = auth.authenticate(credential).await.map_err(refused)?;
    if !access.allows(Some(&principal)) {
        return Err(denied("the credential does not allow this call; use one that does").into());
    }
    Ok(Some(Arc::new(principal)))
}

fn method_not_found() -> Status {
    Problem::new(Reason::MethodNotFound, "there is no such method; check its name and the server's version").into()
}

/// The one credential of a call: `authorization: Bearer x`, or `x-api-key: x`, or both alike.
fn credential(headers: &HeaderMap) -> Result<&str, AuthError> {
    let bearers = headers.get_all(AUTHORIZATION).iter().map(|value| value.to_str().ok().and_then(bearer));
    let keys = headers.get_all(API_KEY).iter().map(|value| value.to_str().ok().map(str::trim));
    let mut found = None;
    for credential in bearers.chain(keys) {
        let credential = credential.filter(|text| !text.is_empty()).ok_or(AuthError::Invalid)?;
        if found.is_some_and(|other| other != credential) {
            return Err(AuthError::Invalid);
        }
        found = Some(credential);
    }
    found.ok_or(AuthError::Missing)
}

/// The token of `Bearer <token>`; the scheme's case does not matter.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Who calls a handler. A call that came around the layer has no principal, and is refused.
pub(crate) fn caller<T>(request: &tonic::Request<T>) -> Result<Arc<Principal>, Status> {
    let principal = request.extensions().get::<Arc<Principal>>();
    principal.cloned().ok_or_else(|| Problem::from(AuthError::Missing).into())
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;
    use crate::domain::{Caller, CredentialRef, Role, Username};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_credential_is_found_in_either_header() {
        for good in [
            &[("authorization", "Bearer abc")][..],
            &[("authorization", "bearer abc")],
            &[("authorization", "BEARER  abc ")],
            &[("x-api-key", "abc")],
            &[("authorization", "Bearer abc"), ("x-api-key", "abc")],
            &[("authorization", "Bearer abc"), ("authorization", "Bearer abc")],
        ] {
            assert!(matches!(credential(&headers(good)), Ok("abc")), "{good:?}");
        }
    }

    #[test]
    fn what_is_malformed_or_ambiguous_is_invalid_and_not_missing() {
        for bad in [
            &[("authorization", "")][..],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer ")],
            &[("authorization", "Basic YTpi")],
            &[("authorization", "abc")],
            &[("x-api-key", "")],
            &[("x-api-key", "a"), ("x-api-key", "b")],
            &[("authorization", "Bearer a"), ("x-api-key", "b")],
            &[("authorization", "Bearer a"), ("authorization", "Basic a")],
            &[("authorization", "Basic a"), ("x-api-key", "a")],
            &[("authorization", "Bearer ä")],
        ] {
            assert!(matches!(credential(&headers(bad)), Err(AuthError::Invalid)), "{bad:?}");
        }
        assert!(matches!(credential(&HeaderMap::new()), Err(AuthError::Missing)));
    }

    #[test]
    fn a_handler_without_a_principal_refuses() {
        let mut request = tonic::Request::new(());
        let refusal = caller(&request).unwrap_err();
        assert_eq!(refusal.code(), Code::Unauthenticated);
        assert!(refusal.message().starts_with("CREDENTIAL_MISSING: "), "{refusal}");

        let ada = Caller::User { name: Username::parse("ada").unwrap(), role: Role::Viewer };
        let principal = Principal::new(ada, CredentialRef::Key { id: "k".into() }, None);
        request.extensions_mut().insert(Arc::new(principal));
        assert_eq!(caller(&request).unwrap().name, "users/ada");
    }
}
