//! An append whose answer was lost is never said to have failed.

use sqlx::{Executor, PgConnection};
use tonic::Code;

use crate::{
    client::{Client, assert_refused, event},
    feed::everything,
    harness::{
        chaos::{Flow, Proxy},
        databases::Database,
        patience::eventually,
        postgres::Postgres,
        server::Server,
    },
};

/// From now on, Postgres has no room for appends.
const NO_ROOM: &str = "do $$ begin
    execute replace(pg_get_functiondef('eventflow.append_v2'::regproc), E'begin\\n',
        E'begin\\nraise exception ''no room'' using errcode = ''53100'';\\n');
end $$";

/// Appends wait for whoever holds this; reads do not.
const HOLD: &str = "begin; lock table eventflow.segments in share row exclusive mode";

/// Appends that wait for a lock.
async fn waiting(postgres: &mut PgConnection) -> i64 {
    let waiting = "select count(*) from pg_locks where relation = 'eventflow.segments'::regclass and not granted";
    sqlx::query_scalar(waiting).fetch_one(postgres).await.unwrap()
}

async fn stored(postgres: &mut PgConnection) -> i64 {
    sqlx::query_scalar("select count(*) from eventflow.segments").fetch_one(postgres).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_are_recorded_are_not_said_to_be_refused() {
    let database = Database::fresh().await;
    let proxy = Proxy::to_unix(Postgres::shared().await.socket()).await;
    let url = database.url_through(proxy.address());
    let server = Server::embedded().environment("EVENTFLOW_DATABASE_URL", &url).start().await;
    let client = Client::admin(&server).await;
    client.create_topic("orders").await;
    client.publish("orders", vec![event("1")]).await.unwrap();
    let (mut postgres, mut holder) = (database.connect().await, database.connect().await);

    // Answers stop once the append is with Postgres: before, it may need one to get there.
    holder.execute(HOLD).await.unwrap();
    let publisher = client.clone();
    let publish = tokio::spawn(async move { publisher.publish("orders", vec![event("2")]).await });
    eventually("an append to wait", async || (waiting(&mut postgres).await == 1).then_some(())).await;
    proxy.stop(Flow::ToClient);
    holder.execute("commit").await.unwrap();
    eventually("the event to be recorded", async || (stored(&mut postgres).await == 2).then_some(())).await;
    postgres.execute(NO_ROOM).await.unwrap();
    proxy.cut();
    proxy.flow();

    let refusal = publish.await.unwrap().unwrap_err();
    assert_refused(&refusal, Code::Unavailable, "OUTCOME_UNKNOWN");
    assert_eq!(refusal.metadata().get("grpc-retry-pushback-ms").unwrap(), "-1");
    assert_eq!(everything(&client, "orders").await.len(), 2);
    // What was never sent before is known not to be there.
    let refusal = client.publish("orders", vec![event("3")]).await.unwrap_err();
    assert_refused(&refusal, Code::ResourceExhausted, "STORAGE_FULL");
}
