//! What is stored comes back byte for byte.

use bytes::Bytes;
use bytestring::ByteString;
use eventflow::{
    domain::{Attributes, EventBody, Payload, PendingEvent, Timestamp},
    store::SharedStore,
};

use super::fixtures::{ALL, append, batch, body, read, topic};

/// Text that is hard on quoting, on collations and on encodings.
const HARD: &str = "a'b\"c\\d\\x41{},[]NULL null\t\r\n\u{1}\u{7f}äß€漢字🦀\u{feff}\u{e000}\u{fffd}\u{10ffff}e\u{301} ";

/// Stores the bodies as one batch and compares what is read.
async fn check(store: &SharedStore, bodies: Vec<EventBody>) {
    let topic = topic(store).await.id;
    let pending = |body: &EventBody| PendingEvent { body: body.clone(), identity: None };
    let (_, recorded_time) = append(store, topic, &batch(bodies.iter().map(pending).collect())).await;
    let events = read(store, topic, 0, ALL).await;
    assert_eq!(events.len(), bodies.len());
    for (event, body) in events.iter().zip(&bodies) {
        assert_eq!(event.body, *body);
        assert_eq!(event.recorded_time, recorded_time);
    }
}

/// Every field, set to what no default is.
pub(super) async fn every_field_comes_back(store: SharedStore) {
    let full = |n: usize| EventBody {
        r#type: format!("type {n} {HARD}").into(),
        key: format!("key {n} {HARD}").into(),
        id: format!("id {n} {HARD}").into(),
        source: format!("source {n} {HARD}").into(),
        time: Timestamp::from_micros(1_700_000_000_123_456 + n as i64),
        content_type: format!("content type {n} {HARD}").into(),
        attributes: [("Aa.-_9".into(), HARD.into()), (format!("b{n}").into(), "".into())].into(),
        correlation_id: format!("correlation {n} {HARD}").into(),
        causation_id: format!("causation {n} {HARD}").into(),
        payload: Payload::Text(format!("payload {n} {HARD}").into()),
        producer: format!("producers/p{n}").into(),
    };
    check(&store, vec![full(1), full(2), full(3)]).await;
    // Each field set alone, beside events without it: none takes over its neighbour's.
    let changes: [fn(&mut EventBody); 10] = [
        |body| body.r#type = HARD.into(),
        |body| body.key = HARD.into(),
        |body| body.id = HARD.into(),
        |body| body.source = HARD.into(),
        |body| body.time = Timestamp::from_micros(5),
        |body| body.content_type = HARD.into(),
        |body| body.attributes = [("a".into(), HARD.into())].into(),
        |body| body.correlation_id = HARD.into(),
        |body| body.causation_id = HARD.into(),
        |body| body.producer = "users/ada".into(),
    ];
    let mut bodies = vec![body("plain")];
    for change in changes {
        let mut changed = body("changed");
        change(&mut changed);
        bodies.extend([changed, body("plain")]);
    }
    check(&store, bodies).await;
}

/// Empty is empty, not missing and not the default.
pub(super) async fn empty_fields_come_back_empty(store: SharedStore) {
    let empty = EventBody {
        r#type: "t".into(),
        key: "".into(),
        id: "".into(),
        source: "".into(),
        time: None,
        content_type: "".into(),
        attributes: Attributes::new(),
        correlation_id: "".into(),
        causation_id: "".into(),
        payload: Payload::Data(Bytes::new()),
        producer: "producers/p".into(),
    };
    let default = EventBody { source: EventBody::default_source("producers/p"), ..empty.clone() };
    check(&store, vec![default.clone()]).await;
    check(&store, vec![empty.clone(), default.clone(), empty]).await;
    check(&store, vec![default; 50]).await;
}

/// Times between the years 1 and 9999, before 1970 too; `None` stays `None`.
pub(super) async fn times_come_back_to_the_microsecond(store: SharedStore) {
    let times = [
        None,
        Some(Timestamp::MIN),
        Timestamp::from_micros(Timestamp::MIN.micros() + 1),
        Timestamp::from_micros(-1),
        Timestamp::from_micros(-1_000_001),
        Timestamp::from_micros(0),
        Timestamp::from_micros(1),
        Timestamp::from_micros(Timestamp::MAX.micros() - 1),
        Some(Timestamp::MAX),
        None,
    ];
    check(&store, times.map(|time| EventBody { time, ..body("time") }).to_vec()).await;
    check(&store, vec![EventBody { time: Some(Timestamp::MIN), ..body("alone") }]).await;
}

/// Data stays data and text stays text, even if they are the same bytes.
pub(super) async fn payloads_keep_their_kind_and_bytes(store: SharedStore) {
    let every_byte: Vec<u8> = (0..=255).collect();
    let payloads = [
        Payload::Text("".into()),
        Payload::Data("".into()),
        Payload::Text("{}".into()),
        Payload::Data("{}".into()),
        Payload::Text(HARD.into()),
        Payload::Data(HARD.into()),
        Payload::Text("123".into()),
        Payload::Data(every_byte.into()),
        Payload::Data(vec![0; 3].into()),
        Payload::Data(vec![0xff, 0xfe].into()),
        Payload::Text("{\"b\": 1, \"a\":  2, \"a\": 1e400, \"\\u0000\": \"\\ud800\"}".into()),
    ];
    for payload in &payloads {
        check(&store, vec![EventBody { payload: payload.clone(), ..body("") }]).await;
    }
    check(&store, payloads.map(|payload| EventBody { payload, ..body("") }).to_vec()).await;
}

/// 32 attributes of 64 B and 4 KiB, and labels, keys and ids at their limits.
pub(super) async fn the_largest_attributes_come_back(store: SharedStore) {
    let attribute = |n: usize| (ByteString::from(format!("{n:02}{}", "n".repeat(62))), "€".repeat(1365).into());
    let text = |count: usize| ByteString::from("x".repeat(count));
    let largest = EventBody {
        r#type: text(255),
        key: text(1024),
        id: text(128),
        source: text(255),
        content_type: text(255),
        attributes: (0..32).map(attribute).collect(),
        correlation_id: text(128),
        causation_id: text(128),
        ..body("large")
    };
    check(&store, vec![largest.clone(), body("small"), largest]).await;
}

/// A payload of 1 MiB, as text and as data that does not compress.
pub(super) async fn a_megabyte_comes_back(store: SharedStore) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let data: Vec<u8> = (0..1 << 20).map(|_| noise()).collect();
    let text = Payload::Text("é".repeat(1 << 19).into());
    let bodies = [Payload::Data(data.into()), text].map(|payload| EventBody { payload, ..body("") });
    check(&store, bodies.to_vec()).await;
}

/// A full request, in which every event differs from its neighbours.
pub(super) async fn a_thousand_different_events_come_back(store: SharedStore) {
    let different = |n: usize| EventBody {
        r#type: format!("type-{}", n % 7).into(),
        key: format!("key-{}", n % 13).into(),
        producer: format!("producers/{}", n % 5).into(),
        source: format!("/producers/{}", n % 3).into(),
        time: n.is_multiple_of(2).then(|| Timestamp::from_micros(n as i64).unwrap()),
        attributes: (0..n % 4).map(|a| (format!("a{a}").into(), format!("{n}").into())).collect(),
        payload: if n.is_multiple_of(11) { Payload::Data(vec![n as u8; n].into()) } else { Payload::Text(HARD.into()) },
        ..body("")
    };
    check(&store, (0..1000).map(different).collect()).await;
}
