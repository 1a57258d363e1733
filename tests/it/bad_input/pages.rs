//! Pages of names: 50 items unless the request says, and 1,000 at most.

use eventflow::proto::v1;
use futures::{StreamExt, stream};

use super::world::{TOPIC, World};
use crate::{
    client::Client,
    harness::backend::{Backend, on_both_stores},
};

/// Items of each kind, besides the few of every server: more than any page has.
const ITEMS: usize = 1001;
/// Items that a page has when so many are asked for.
const SIZES: [(i32, usize); 6] = [(0, 50), (1, 1), (999, 999), (1000, 1000), (1001, 1000), (i32::MAX, 1000)];

/// Creates a topic, a consumer, a producer with its key, and a user.
async fn create(admin: &Client, n: usize) {
    let name = format!("n{n}");
    admin.create_topic(&name).await;
    admin.register(&name, TOPIC).await;
    admin.producer(&name, &[]).await;
    let user = v1::User { username: name, role: v1::Role::Viewer.into(), ..Default::default() };
    let request = v1::CreateUserRequest { user: Some(user), password: String::new() };
    admin.auth().create_user(request).await.expect("a user can be created");
}

/// The items on the first page of a listing, and whether another page follows.
async fn page(admin: &Client, what: &str, page_size: i32) -> (usize, bool) {
    let page_token = String::new();
    let (items, next) = match what {
        "topics" => {
            let request = v1::ListTopicsRequest { prefix: String::new(), page_size, page_token };
            let page = admin.topics().list_topics(request).await.expect("a page").into_inner();
            (page.topics.len(), page.next_page_token)
        }
        "consumers" => {
            let request = v1::ListConsumersRequest { topic: String::new(), page_size, page_token };
            let page = admin.consumers().list_consumers(request).await.expect("a page").into_inner();
            (page.consumers.len(), page.next_page_token)
        }
        "producers" => {
            let request = v1::ListProducersRequest { page_size, page_token };
            let page = admin.producers().list_producers(request).await.expect("a page").into_inner();
            (page.producers.len(), page.next_page_token)
        }
        "users" => {
            let request = v1::ListUsersRequest { page_size, page_token };
            let page = admin.auth().list_users(request).await.expect("a page").into_inner();
            (page.users.len(), page.next_page_token)
        }
        "keys" => {
            let request = v1::ListApiKeysRequest { owner: String::new(), page_size, page_token };
            let page = admin.auth().list_api_keys(request).await.expect("a page").into_inner();
            (page.api_keys.len(), page.next_page_token)
        }
        other => panic!("{other} are not listed"),
    };
    (items, !next.is_empty())
}

on_both_stores! {
    async fn a_page_of_each_listing_has_50_items_unless_told_and_1000_at_most(backend: Backend) {
        let world = World::on(backend).await;
        stream::iter(0..ITEMS).for_each_concurrent(32, |n| create(&world.admin, n)).await;
        for what in ["topics", "consumers", "producers", "users", "keys"] {
            for (asked, wanted) in SIZES {
                assert_eq!(page(&world.admin, what, asked).await, (wanted, true), "{asked} {what}");
            }
        }
    }
}
