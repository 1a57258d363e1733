//! The layer before every handler: who gets through to it.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use eventflow::{domain::Principal, grpc::AuthenticateLayer, store::KeyOwner};
use http::{Request, Response};
use secrecy::ExposeSecret;
use tonic::{Code, Status};
use tower::{Layer, ServiceExt, service_fn};

use crate::world::World;

const CREATE_TOPIC: &str = "/eventflow.v1.TopicService/CreateTopic";
const GET_CALLER: &str = "/eventflow.v1.AuthService/GetCaller";

/// A call through the layer: the principal that the handler saw, or the refusal.
async fn call(world: &World, path: &str, headers: &[(&str, &str)]) -> Result<Option<Arc<Principal>>, Status> {
    let reached = Arc::new(AtomicU32::new(0));
    let handler = service_fn({
        let reached = Arc::clone(&reached);
        move |request: Request<()>| {
            reached.fetch_add(1, Ordering::Relaxed);
            let mut response = Response::new(());
            if let Some(principal) = request.extensions().get::<Arc<Principal>>() {
                response.extensions_mut().insert(Arc::clone(principal));
            }
            std::future::ready(Ok::<_, Infallible>(response))
        }
    });
    let service = AuthenticateLayer::new(world.auth.clone()).layer(handler);
    let mut request = Request::builder().uri(format!("http://localhost{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = service.oneshot(request.body(()).unwrap()).await.unwrap();
    match Status::from_header_map(response.headers()) {
        Some(status) => {
            assert_eq!(reached.load(Ordering::Relaxed), 0, "a refused call reached its handler");
            Err(status)
        }
        None => {
            assert_eq!(reached.load(Ordering::Relaxed), 1);
            Ok(response.extensions().get::<Arc<Principal>>().cloned())
        }
    }
}

fn refused(outcome: Result<Option<Arc<Principal>>, Status>, code: Code, reason: &str) {
    let status = outcome.unwrap_err();
    assert_eq!(status.code(), code, "{status}");
    assert!(status.message().starts_with(&format!("{reason}: ")), "{status}");
}

#[tokio::test]
async fn a_call_gets_through_with_a_credential_that_allows_it() {
    let (world, admin) = World::with_admin_key().await;
    let bearer = format!("Bearer {admin}");
    for header in [("authorization", bearer.as_str()), ("x-api-key", admin.as_str())] {
        for path in [CREATE_TOPIC, GET_CALLER] {
            let principal = call(&world, path, &[header]).await.unwrap().unwrap();
            assert_eq!(principal.name, "users/admin");
        }
    }
}

#[tokio::test]
async fn a_call_without_a_good_credential_does_not() {
    let (world, admin) = World::with_admin_key().await;
    let bearer = format!("Bearer {admin}");
    refused(call(&world, GET_CALLER, &[]).await, Code::Unauthenticated, "CREDENTIAL_MISSING");
    for headers in [
        &[("authorization", "Bearer nonsense")][..],
        &[("authorization", "Basic YWRtaW46YWRtaW4=")],
        &[("authorization", bearer.as_str()), ("x-api-key", "another")],
        &[("x-api-key", "")],
    ] {
        refused(call(&world, GET_CALLER, headers).await, Code::Unauthenticated, "CREDENTIAL_INVALID");
    }
}

#[tokio::test]
async fn a_call_that_the_credential_does_not_allow_does_not() {
    let (world, _) = World::with_admin_key().await;
    let owner = KeyOwner::User(eventflow::domain::Username::parse("admin").unwrap());
    let expired = world.key(owner, Some(std::time::Duration::ZERO)).await;
    let headers = [("x-api-key", expired.expose_secret())];
    refused(call(&world, GET_CALLER, &headers).await, Code::Unauthenticated, "CREDENTIAL_EXPIRED");

    let producer = world.add_producer("shop", false).await;
    let headers = [("x-api-key", producer.expose_secret())];
    refused(call(&world, CREATE_TOPIC, &headers).await, Code::PermissionDenied, "PERMISSION_DENIED");
    assert!(call(&world, "/eventflow.v1.EventService/Publish", &headers).await.is_ok());

    let disabled = world.add_producer("closed", true).await;
    let headers = [("x-api-key", disabled.expose_secret())];
    refused(call(&world, GET_CALLER, &headers).await, Code::FailedPrecondition, "PRODUCER_DISABLED");
}

#[tokio::test]
async fn an_open_call_needs_no_credential_and_has_no_principal() {
    let (world, admin) = World::with_admin_key().await;
    for path in ["/eventflow.v1.AuthService/Login", "/grpc.health.v1.Health/Check"] {
        assert!(call(&world, path, &[]).await.unwrap().is_none());
        assert!(call(&world, path, &[("x-api-key", &admin)]).await.unwrap().is_none());
        assert!(call(&world, path, &[("x-api-key", "nonsense")]).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn what_the_table_does_not_list_reaches_no_handler_even_for_an_admin() {
    let (world, admin) = World::with_admin_key().await;
    for path in ["/", "/eventflow.v1.AuthService/Backdoor", "/other.v1.Service/Call", "/metrics"] {
        refused(call(&world, path, &[("x-api-key", &admin)]).await, Code::Unimplemented, "METHOD_NOT_FOUND");
    }
}
