//! Page tokens while the topic changes, and tokens that are not the query's own.

use eventflow::proto::v1;
use sqlx::{Connection, SqliteConnection};
use tonic::Code;

use super::{all, listed, page, trim};
use crate::{
    client::{Client, assert_refused, violations},
    harness::{
        backend::{Backend, on_both_stores},
        databases::Database,
        server::Server,
    },
};

async fn with_events(backend: Backend, count: usize) -> (Server, Client) {
    let server = backend.server().await.start().await;
    let admin = Client::admin(&server).await;
    admin.create_topic("orders").await;
    for n in (0..count).step_by(5) {
        admin.publish_numbered("orders", n + 1, 5).await;
    }
    (server, admin)
}

fn offsets(page: &v1::ListEventsResponse) -> Vec<i64> {
    page.events.iter().map(|event| event.offset).collect()
}

on_both_stores! {
    async fn appends_between_pages_neither_repeat_nor_leave_out_anything(backend: Backend) {
        let (_server, admin) = with_events(backend, 20).await;
        for newest_first in [false, true] {
            let query = v1::ListEventsRequest { newest_first, page_size: 7, ..all() };
            let head = listed(&admin, &query).await.len() as i64;
            let (mut seen, mut page_token) = (Vec::new(), String::new());
            for n in 0.. {
                let answer = page(&admin, v1::ListEventsRequest { page_token, ..query.clone() }).await.unwrap();
                seen.extend(offsets(&answer));
                page_token = answer.next_page_token;
                if page_token.is_empty() {
                    break;
                }
                // A listing that ascends goes on to what was recorded meanwhile; one that descends does not.
                if n < 3 {
                    admin.publish_numbered("orders", 1000, 5).await;
                }
            }
            match newest_first {
                false => assert_eq!(seen, (1..=seen.len() as i64).collect::<Vec<_>>()),
                true => assert_eq!(seen, (1..=head).rev().collect::<Vec<_>>()),
            }
            assert!(seen.len() as i64 >= head);
        }
    }

    async fn trims_between_pages_leave_out_what_is_gone_and_nothing_else(backend: Backend) {
        let (_server, admin) = with_events(backend, 40).await;
        let oldest = v1::ListEventsRequest { page_size: 8, ..all() };
        let newest = v1::ListEventsRequest { newest_first: true, ..oldest.clone() };
        let (up, down) = (page(&admin, oldest.clone()).await.unwrap(), page(&admin, newest.clone()).await.unwrap());
        assert_eq!((offsets(&up), offsets(&down)), ((1..=8).collect(), (33..=40).rev().collect()));
        assert_eq!(trim(&admin, 21).await, 21);
        let next = v1::ListEventsRequest { page_token: up.next_page_token.clone(), ..oldest.clone() };
        assert_eq!(offsets(&page(&admin, next).await.unwrap()), (21..=28).collect::<Vec<_>>());
        let next = v1::ListEventsRequest { page_token: down.next_page_token.clone(), page_size: 100, ..newest.clone() };
        let rest = page(&admin, next).await.unwrap();
        assert_eq!((offsets(&rest), rest.next_page_token.as_str()), ((21..=32).rev().collect(), ""));
        // Everything is gone.
        trim(&admin, 41).await;
        for (query, token) in [(oldest, up.next_page_token), (newest, down.next_page_token)] {
            let empty = page(&admin, v1::ListEventsRequest { page_token: token, ..query }).await.unwrap();
            assert_eq!((offsets(&empty), empty.next_page_token.as_str()), (vec![], ""));
        }
    }

    async fn a_token_is_refused_by_every_other_query(backend: Backend) {
        let (_server, admin) = with_events(backend, 10).await;
        admin.create_topic("letters").await;
        let page_token = page(&admin, v1::ListEventsRequest { page_size: 3, ..all() }).await.unwrap().next_page_token;
        let own = v1::ListEventsRequest { page_token: page_token.clone(), ..all() };
        assert_eq!(offsets(&page(&admin, own.clone()).await.unwrap()), (4..=10).collect::<Vec<_>>());
        let filter = Some(v1::Filter { keys: vec!["k".into()], ..Default::default() });
        let time = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
        for other in [
            v1::ListEventsRequest { topic: "letters".into(), ..own.clone() },
            v1::ListEventsRequest { newest_first: true, ..own.clone() },
            v1::ListEventsRequest { filter, ..own.clone() },
            v1::ListEventsRequest { from_time: time, ..own.clone() },
            v1::ListEventsRequest { to_time: time, ..own.clone() },
            v1::ListEventsRequest { after_offset: Some(2), ..own.clone() },
            v1::ListEventsRequest { before_offset: Some(9), ..own.clone() },
            v1::ListEventsRequest { page_token: page_token[1..].into(), ..own.clone() },
            v1::ListEventsRequest { page_token: "no token".into(), ..own.clone() },
            v1::ListEventsRequest { page_token: "x".repeat(100_000), ..own.clone() },
        ] {
            let refusal = page(&admin, other).await.unwrap_err();
            assert_refused(&refusal, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
            assert_eq!(violations(&refusal), ["page_token"]);
        }
    }
}

/// As when a topic is deleted and created again, or the store is restored from a backup.
const REPLACE_POSTGRES: &str = "update eventflow.topics set log_id = gen_random_uuid()";
const REPLACE_SQLITE: &str = "update topics set log_id = randomblob(16)";

async fn a_replaced_log_is_told(server: Server, admin: Client, replace: impl AsyncFnOnce(&Server)) {
    admin.create_topic("orders").await;
    admin.publish_numbered("orders", 1, 10).await;
    let query = v1::ListEventsRequest { page_size: 3, ..all() };
    let page_token = page(&admin, query.clone()).await.unwrap().next_page_token;
    replace(&server).await;
    let refusal = page(&admin, v1::ListEventsRequest { page_token, ..query.clone() }).await.unwrap_err();
    assert_refused(&refusal, Code::FailedPrecondition, "LOG_REPLACED");
    assert_eq!(listed(&admin, &query).await, (1..=10).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_replaced_between_pages_is_told_on_postgres() {
    let database = Database::fresh().await;
    let server = Server::embedded().environment("EVENTFLOW_DATABASE_URL", &database.url()).start().await;
    let admin = Client::admin(&server).await;
    let replace = async |_: &Server| {
        sqlx::query(REPLACE_POSTGRES).execute(&mut database.connect().await).await.unwrap();
    };
    a_replaced_log_is_told(server, admin, replace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_replaced_between_pages_is_told_on_sqlite() {
    let server = Server::embedded().start().await;
    let admin = Client::admin(&server).await;
    let replace = async |server: &Server| {
        let url = format!("sqlite:{}", server.data_dir().join("eventflow.db").display());
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        sqlx::query(REPLACE_SQLITE).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    };
    a_replaced_log_is_told(server, admin, replace).await;
}
