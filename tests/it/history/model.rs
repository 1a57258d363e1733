//! Random queries, compared with a look at every event.

use std::collections::HashMap;

use eventflow::proto::v1;

use super::{all, pages, trim};
use crate::{
    chance::Chance,
    client::{Client, event},
    harness::backend::{Backend, on_both_stores},
};

const QUERIES: usize = 300;
const TYPES: [&str; 4] = ["order.placed", "order.paid", "letter.sent", "order"];
const VALUES: [&str; 3] = ["a", "b", ""];

fn pick<'a>(chance: &mut Chance, from: &[&'a str]) -> &'a str {
    from[chance.number(0..from.len() as u64) as usize]
}

fn random_event(chance: &mut Chance) -> v1::NewEvent {
    let value = pick(chance, &VALUES);
    let attributes = if value.is_empty() { HashMap::new() } else { [("region".to_owned(), value.to_owned())].into() };
    v1::NewEvent {
        r#type: pick(chance, &TYPES).into(),
        key: pick(chance, &VALUES).into(),
        correlation_id: pick(chance, &VALUES).into(),
        attributes,
        ..event("x")
    }
}

/// Some of the entries, or none.
fn some(chance: &mut Chance, from: &[&str]) -> Vec<String> {
    if chance.number(0..2) == 0 {
        return Vec::new();
    }
    from.iter().filter(|entry| !entry.is_empty() && chance.number(0..2) == 0).map(ToString::to_string).collect()
}

fn random_query(chance: &mut Chance, events: &[v1::Event]) -> v1::ListEventsRequest {
    let attributes = some(chance, &["a", "b"]).pop().map(|value| ("region".to_owned(), value));
    let filter = v1::Filter {
        types: some(chance, &["order.*", "letter.sent", "order", "o*", "x*"]),
        keys: some(chance, &VALUES),
        attributes: attributes.into_iter().collect(),
        correlation_ids: some(chance, &VALUES),
        producers: some(chance, &["users/admin", "producers/shop"]),
    };
    let offset =
        |chance: &mut Chance| (chance.number(0..2) == 0).then(|| chance.number(0..events.len() as u64 + 3) as i64);
    let (after_offset, before_offset) = (offset(chance), offset(chance));
    let time = |chance: &mut Chance| {
        let at = chance.number(0..3 * events.len() as u64) as usize;
        events.get(at).and_then(|event| event.recorded_time)
    };
    let (from_time, to_time) = (time(chance), time(chance));
    let page_size = chance.number(1..60) as i32;
    let newest_first = chance.number(0..2) == 0;
    let filter = Some(filter);
    v1::ListEventsRequest { filter, from_time, to_time, after_offset, before_offset, newest_first, page_size, ..all() }
}

/// Whether an event belongs into a listing, by the words of the proto.
fn wanted(query: &v1::ListEventsRequest, event: &v1::Event) -> bool {
    let v1::Filter { types, keys, attributes, correlation_ids, producers } = query.filter.clone().unwrap_or_default();
    let covers = |pattern: &String| match pattern.strip_suffix('*') {
        Some(prefix) => event.r#type.starts_with(prefix),
        None => *pattern == event.r#type,
    };
    let any = |list: &[String], value: &String| list.is_empty() || list.contains(value);
    let time = event.recorded_time.map(|time| (time.seconds, time.nanos));
    (types.is_empty() || types.iter().any(covers))
        && any(&keys, &event.key)
        && any(&correlation_ids, &event.correlation_id)
        && any(&producers, &event.producer)
        && attributes.iter().all(|(name, value)| event.attributes.get(name) == Some(value))
        && query.after_offset.is_none_or(|after| event.offset > after)
        && query.before_offset.is_none_or(|before| event.offset < before)
        && query.from_time.is_none_or(|from| time >= Some((from.seconds, from.nanos)))
        && query.to_time.is_none_or(|to| time < Some((to.seconds, to.nanos)))
}

on_both_stores! {
    async fn random_queries_list_what_a_look_at_every_event_finds(backend: Backend) {
        let server = backend.server().await.start().await;
        let admin = Client::admin(&server).await;
        admin.create_topic("orders").await;
        let shop = admin.producer("shop", &["orders"]).await;
        let mut chance = Chance::printed();
        for _ in 0..60 {
            let events = (0..chance.number(1..12)).map(|_| random_event(&mut chance)).collect();
            let publisher = if chance.number(0..2) == 0 { &admin } else { &shop };
            publisher.publish("orders", events).await.unwrap();
        }
        let mut events = pages(&admin, &v1::ListEventsRequest { page_size: 1000, ..all() }).await.concat();
        let mut found = 0;
        for n in 0..QUERIES {
            if n == QUERIES / 2 {
                let earliest = trim(&admin, events.len() as i64 / 3).await;
                events.retain(|event| event.offset >= earliest);
            }
            let query = random_query(&mut chance, &events);
            let mut expected: Vec<&v1::Event> = events.iter().filter(|event| wanted(&query, event)).collect();
            if query.newest_first {
                expected.reverse();
            }
            let listed = pages(&admin, &query).await;
            assert!(listed.iter().all(|page| page.len() <= query.page_size as usize), "{query:?}");
            let listed: Vec<v1::Event> = listed.concat();
            assert!(listed.iter().eq(expected.iter().copied()), "{query:?} listed {:?}", listed.iter().map(|e| e.offset).collect::<Vec<_>>());
            found += listed.len();
        }
        println!("{QUERIES} queries over {} events listed {found}", events.len());
        assert!(found > QUERIES, "the queries found too little to tell anything");
    }
}
