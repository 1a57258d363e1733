//! Filters, in each request that may have one: at each limit, one below, and one above.

use eventflow::proto::v1;
use tonic::Status;

use super::{
    valid::filter,
    world::{TOPIC, World, assert_invalid},
};
use crate::{
    client::from_earliest,
    harness::backend::{Backend, on_both_stores},
};

/// Makes a filter with something of this size.
type Sized = fn(usize) -> v1::Filter;

/// The field that is named, within the filter, the limit, and the filter.
const LIMITS: [(&str, usize, Sized); 7] = [
    // 96 keys, and one entry in each other field.
    ("", 100, |n| v1::Filter { keys: (4..n).map(|n| n.to_string()).collect(), ..filter() }),
    ("", 4096, |n| v1::Filter { keys: vec![x(1024), x(1024), x(1024), x(n - 3072)], ..Default::default() }),
    (".types[0]", 255, |n| v1::Filter { types: vec![x(n)], ..Default::default() }),
    (".keys[0]", 1024, |n| v1::Filter { keys: vec![x(n)], ..Default::default() }),
    (".correlation_ids[0]", 128, |n| v1::Filter { correlation_ids: vec![x(n)], ..Default::default() }),
    // A name of 255 bytes, after "producers/".
    (".producers[0]", 265, |n| v1::Filter { producers: vec![x(n)], ..Default::default() }),
    (".attributes[", 64, |n| v1::Filter { attributes: [(x(n), "v".into())].into(), ..Default::default() }),
];

fn x(len: usize) -> String {
    "x".repeat(len)
}

/// What each request that may have a filter is answered with this one, by the filter's place in it.
async fn answers(world: &World, name: &str, filter: &v1::Filter) -> [(&'static str, Result<(), Status>); 4] {
    let filter = || Some(filter.clone());
    let consumer = v1::Consumer { name: name.into(), topic: TOPIC.into(), filter: filter(), ..Default::default() };
    let register = v1::RegisterConsumerRequest { consumer: Some(consumer), if_not_exists: false };
    let update = v1::UpdateConsumerRequest { name: "billing".into(), filter: filter(), ..Default::default() };
    let subscribe = v1::SubscribeRequest { filter: filter(), ..from_earliest(TOPIC) };
    let list = v1::ListEventsRequest { topic: TOPIC.into(), filter: filter(), ..Default::default() };
    let mut consumers = world.admin.consumers();
    [
        ("consumer.filter", consumers.register_consumer(register).await.map(drop)),
        ("filter", consumers.update_consumer(update).await.map(drop)),
        ("filter", world.admin.subscribe(subscribe).await.map(drop)),
        ("filter", world.admin.events().list_events(list).await.map(drop)),
    ]
}

async fn refuses(world: &World, filter: &v1::Filter, field: &str) {
    for (place, answer) in answers(world, "c", filter).await {
        let refusal = answer.err().unwrap_or_else(|| panic!("{place}{field} was taken: {filter:?}"));
        let named = crate::client::violations(&refusal);
        assert!(named.len() == 1 && named[0].starts_with(&format!("{place}{field}")), "{field}: {refusal:?}");
        assert_invalid(&refusal, "FILTER_INVALID", &[&named[0]]);
    }
}

on_both_stores! {
    async fn filters_are_taken_up_to_each_limit_and_refused_one_above(backend: Backend) {
        let world = World::on(backend).await;
        for (n, (field, limit, make)) in LIMITS.into_iter().enumerate() {
            for size in [limit - 1, limit] {
                for (place, answer) in answers(&world, &format!("c{n}-{size}"), &make(size)).await {
                    assert!(answer.is_ok(), "{place}{field} of {size} was refused: {answer:?}");
                }
            }
            let before = world.names().await;
            refuses(&world, &make(limit + 1), field).await;
            assert_eq!(world.names().await, before);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_must_not_have_stars_inside_or_empty_entries() {
    let world = World::on(Backend::Sqlite).await;
    let none = v1::Filter::default;
    let attribute = |name: &str| v1::Filter { attributes: [(name.to_owned(), "v".to_owned())].into(), ..none() };
    let cases = [
        (v1::Filter { types: vec!["a*b".into()], ..none() }, ".types[0]"),
        (v1::Filter { types: vec!["a".into(), "*a".into()], ..none() }, ".types[1]"),
        (v1::Filter { types: vec!["a**".into()], ..none() }, ".types[0]"),
        (v1::Filter { types: vec![String::new()], ..none() }, ".types[0]"),
        (v1::Filter { keys: vec![String::new()], ..none() }, ".keys[0]"),
        (attribute(""), ".attributes[\"\"]"),
        (attribute("a b"), ".attributes[\"a b\"]"),
    ];
    for (filter, field) in cases {
        refuses(&world, &filter, field).await;
    }
}
