//! `grpc.health.v1`.

use tonic::Code;
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_client::HealthClient},
};

use crate::{
    api,
    client::Client,
    harness::{
        backend::{Backend, on_both_stores},
        patience::eventually,
        server::Server,
    },
};

/// What health says of a name; `None` if it does not know the name.
async fn status(server: &Server, service: &str) -> Option<i32> {
    let mut client = HealthClient::new(server.channel().await);
    match client.check(HealthCheckRequest { service: service.into() }).await {
        Ok(response) => Some(response.into_inner().status),
        Err(status) => {
            assert_eq!(status.code(), Code::NotFound, "{status:?}");
            None
        }
    }
}

on_both_stores! {
    async fn health_serves_under_every_name_and_knows_no_other(backend: Backend) {
        let server = backend.server().await.start().await;
        let services: std::collections::BTreeSet<_> =
            api::methods().iter().map(|method| method.parent_service().full_name().to_owned()).collect();
        assert_eq!(services.len(), 5);
        for name in services.iter().map(String::as_str).chain([""]) {
            assert_eq!(status(&server, name).await, Some(ServingStatus::Serving as i32), "{name:?}");
        }
        // The watch begins with the server and may need a moment.
        eventually("a serving store", async || {
            (status(&server, "eventflow.store").await == Some(ServingStatus::Serving as i32)).then_some(())
        }).await;
        // A notifier that is away is no reason not to serve.
        assert!(status(&server, "eventflow.notifier").await.is_some());
        assert_eq!(status(&server, "eventflow.nothing").await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_of_health_sees_the_drain_begin() {
    let mut server = Backend::Sqlite.server().await.start().await;
    let mut client = HealthClient::new(server.channel().await);
    let mut watch = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status, ServingStatus::Serving as i32);
    let admin = Client::admin(&server).await;
    let seen = tokio::spawn(async move {
        loop {
            match watch.message().await {
                Ok(Some(said)) if said.status == ServingStatus::NotServing as i32 => return true,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return false,
            }
        }
    });
    drop(admin);
    assert_eq!(server.terminate().await, 0);
    assert!(seen.await.unwrap(), "the watch ended without saying NOT_SERVING");
}
