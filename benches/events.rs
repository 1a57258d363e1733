//! What is done for each event, without I/O: `cargo bench --bench events`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use eventflow::domain::{Attributes, ContentHash, EventBody, Filter, IdKey, NewEvent, Payload, TypePattern};

const ID: &str = "0193f5a8-9d2c-7b1e-8a44-5c7d9e0f1a2b";
const ORDER: &str = r#"{"order_id":"6c1f3a9e2b7d4850","customer":"customer-4711","amount":129.90,"currency":"EUR","items":[{"sku":"SKU-1234","quantity":2},{"sku":"SKU-9876","quantity":1}],"status":"placed","shipping":"standard"}"#;

fn attributes() -> Attributes {
    [("region", "eu"), ("tenant", "shop-7")].map(|(name, value)| (name.into(), value.into())).into()
}

fn new_event() -> NewEvent {
    NewEvent {
        r#type: "order.placed".into(),
        key: "order-4711".into(),
        id: ID.into(),
        source: "".into(),
        time: None,
        content_type: "".into(),
        attributes: attributes(),
        correlation_id: "".into(),
        causation_id: "".into(),
        payload: Payload::Text(ORDER.into()),
    }
}

fn body() -> EventBody {
    EventBody {
        r#type: "order.placed".into(),
        key: "order-4711".into(),
        id: ID.into(),
        source: "/producers/shop".into(),
        time: None,
        content_type: "application/json".into(),
        attributes: attributes(),
        correlation_id: "".into(),
        causation_id: "".into(),
        payload: Payload::Text(ORDER.into()),
        producer: "producers/shop".into(),
    }
}

/// What idempotent publishing computes.
fn identity(criterion: &mut Criterion) {
    let event = new_event();
    let mut group = criterion.benchmark_group("identity");
    group.throughput(Throughput::Elements(1));
    group.bench_function("content_hash", |bencher| bencher.iter(|| ContentHash::of(black_box(&event))));
    group.bench_function("id_key", |bencher| bencher.iter(|| IdKey::of(black_box("/producers/shop"), black_box(ID))));
    group.finish();
}

/// What a reader with a filter computes.
fn filter(criterion: &mut Criterion) {
    let body = body();
    let types = |patterns: &[&str]| patterns.iter().map(|pattern| TypePattern::new(pattern)).collect();
    let by_type = Filter { types: types(&["invoice.*", "order.*"]), ..Filter::default() };
    let by_all = Filter {
        types: types(&["order.placed"]),
        keys: vec!["order-1".into(), "order-4711".into()],
        attributes: attributes(),
        correlation_ids: vec![],
        producers: vec!["producers/shop".into()],
    };
    let mut group = criterion.benchmark_group("filter");
    group.throughput(Throughput::Elements(1));
    for (name, filter) in [("type", by_type), ("all_fields", by_all)] {
        assert!(filter.matches(&body), "{name} lets nothing pass");
        group.bench_function(name, |bencher| bencher.iter(|| black_box(&filter).matches(black_box(&body))));
    }
    group.finish();
}

criterion_group!(events, identity, filter);
criterion_main!(events);
