//! Several servers over one store: what one ends, the others refuse.

use eventflow::proto::v1;
use tonic::Status;

use super::{create_key, create_user, delete_user, logged_in, logout, refresh, revoke, set_role, whoami};
use crate::{
    client::Client,
    harness::{databases::Database, patience::eventually, redis::Redis, server::Server},
};

/// Waits until a credential is refused.
async fn ended(client: &Client, what: &str) -> Status {
    eventually(&format!("{what} to be refused by the other server"), async || whoami(client).await.err()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_on_one_server_ends_on_the_others() {
    let (database, redis) = (Database::fresh().await, Redis::shared().await);
    let one = Server::cluster(&database, redis).start().await;
    let two = Server::cluster(&database, redis).start().await;
    let here = Client::admin(&one).await;
    let there = here.on(&two).await;
    assert_eq!(whoami(&there).await.unwrap(), "users/admin", "both servers know the signing key");

    // A refresh token works once, on whichever server.
    let (tokens, _) = logged_in(&here, "ada", v1::Role::Viewer).await;
    let ada = there.with(&tokens.access_token);
    assert_eq!(whoami(&ada).await.unwrap(), "users/ada");
    let next = refresh(&there, &tokens.refresh_token).await.unwrap();
    assert_eq!(whoami(&here.with(&next.access_token)).await.unwrap(), "users/ada");
    refresh(&here, &tokens.refresh_token).await.unwrap_err();
    assert!(ended(&ada, "a session").await.message().starts_with("CREDENTIAL_REVOKED"));

    create_user(&here, "ci", v1::Role::Operator, "").await.unwrap();
    let (key, secret) = create_key(&here, "users/ci", None).await.unwrap();
    let program = there.with(&secret);
    assert_eq!(whoami(&program).await.unwrap(), "users/ci");
    set_role(&here, "ci", v1::Role::Viewer).await.unwrap();
    eventually("a lower role on the other server", async || {
        let caller = program.auth().get_caller(v1::GetCallerRequest {}).await.unwrap().into_inner();
        (caller.role() == v1::Role::Viewer).then_some(())
    })
    .await;
    revoke(&here, &key.id).await.unwrap();
    assert!(ended(&program, "a key").await.message().starts_with("CREDENTIAL_REVOKED"));

    let (_, bob) = logged_in(&here, "bob", v1::Role::Viewer).await;
    let bob_there = bob.on(&two).await;
    assert_eq!(whoami(&bob_there).await.unwrap(), "users/bob");
    logout(&bob).await.unwrap();
    assert!(ended(&bob_there, "a login").await.message().starts_with("CREDENTIAL_REVOKED"));
    delete_user(&here, "bob").await.unwrap();
    assert!(ended(&bob_there, "a deleted user").await.message().starts_with("CREDENTIAL_REVOKED"));
}
