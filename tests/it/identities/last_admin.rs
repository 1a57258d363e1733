//! Somebody can always administer the server.

use eventflow::proto::v1;
use tonic::Code;

use super::{create_user, delete_user, logged_in, set_disabled, set_role, started};
use crate::{
    client::{Client, assert_refused},
    harness::{
        backend::{Backend, on_both_stores},
        databases::Database,
        redis::Redis,
        server::Server,
    },
};

on_both_stores! {
    async fn the_last_admin_can_neither_be_disabled_nor_demoted_nor_deleted(backend: Backend) {
        let (_server, admin) = started(backend).await;
        create_user(&admin, "ada", v1::Role::Operator, "").await.unwrap();
        create_user(&admin, "off", v1::Role::Admin, "").await.unwrap();
        set_disabled(&admin, "off", true).await.unwrap();
        for refusal in [
            set_disabled(&admin, "admin", true).await.unwrap_err(),
            set_role(&admin, "admin", v1::Role::Operator).await.unwrap_err(),
            delete_user(&admin, "admin").await.unwrap_err(),
        ] {
            assert_refused(&refusal, Code::FailedPrecondition, "LAST_ADMIN");
        }
        set_role(&admin, "admin", v1::Role::Admin).await.unwrap();

        let (_, successor) = logged_in(&admin, "eve", v1::Role::Admin).await;
        delete_user(&successor, "admin").await.unwrap();
        let refusal = delete_user(&successor, "eve").await.unwrap_err();
        assert_refused(&refusal, Code::FailedPrecondition, "LAST_ADMIN");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_cannot_remove_the_last_two_admins_at_once() {
    let (database, redis) = (Database::fresh().await, Redis::shared().await);
    let one = Server::cluster(&database, redis).start().await;
    let two = Server::cluster(&database, redis).start().await;
    let admin = Client::admin(&one).await;
    let (_, mut left) = logged_in(&admin, "a0", v1::Role::Admin).await;
    let (_, mut right) = logged_in(&admin, "b0", v1::Role::Admin).await;
    delete_user(&left, "admin").await.unwrap();
    let (mut left_name, mut right_name) = ("a0".to_owned(), "b0".to_owned());
    for round in 1..=8 {
        let (here, there) = (left.on(&one).await, right.on(&two).await);
        let (first, second) = tokio::join!(delete_user(&here, &right_name), async {
            match round % 2 {
                0 => set_disabled(&there, &left_name, true).await.map(drop),
                _ => delete_user(&there, &left_name).await,
            }
        });
        let outcomes = [&first, &second];
        let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(done, 1, "{outcomes:?}");
        // Whoever came second is refused, for this reason, or since its own credential ended by then.
        let refusal = outcomes.into_iter().find_map(|outcome| outcome.as_ref().err()).unwrap();
        assert!(matches!(refusal.code(), Code::FailedPrecondition | Code::Unauthenticated), "{refusal:?}");
        let name = format!("n{round}");
        let survivor = if first.is_ok() { here } else { there };
        let (_, next) = logged_in(&survivor, &name, v1::Role::Admin).await;
        if first.is_ok() {
            (right, right_name) = (next, name);
        } else {
            (left, left_name) = (next, name);
        }
    }
}
