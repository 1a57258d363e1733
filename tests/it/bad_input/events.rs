//! Events that no limit on size refuses.

use eventflow::proto::v1::{self, new_event::Payload};
use prost_types::{ListValue, Struct, Value, value::Kind};
use tonic::Code;

use super::world::{TOPIC, World, assert_invalid};
use crate::{
    client::{assert_refused, event, violations},
    harness::backend::{Backend, on_both_stores},
    raw,
};

fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

fn number(number: f64) -> Value {
    value(Kind::NumberValue(number))
}

fn list(values: Vec<Value>) -> Value {
    value(Kind::ListValue(ListValue { values }))
}

fn object(name: &str, field: Value) -> Value {
    value(Kind::StructValue(Struct { fields: [(name.to_owned(), field)].into() }))
}

fn json(value: Value) -> v1::NewEvent {
    v1::NewEvent { payload: Some(Payload::Json(value)), ..event("") }
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(number(1.0), |inner, _| list(vec![inner]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_is_set_and_has_no_star_and_no_control_characters() {
    let world = World::on(Backend::Sqlite).await;
    for bad in ["", "*", "order.*", "a*b", "a\0", "\0", "a\nb", "\t", "a\u{7f}", "a\u{85}b", "a\r"] {
        world.refuses_event(v1::NewEvent { r#type: bad.into(), ..event("") }, &["events[0].type"]).await;
    }
    for good in ["a", "order placed", "Ünïcödé.✓", "a/b?c=d#e", "\u{feff}", "\u{202e}abc"] {
        let new = v1::NewEvent { r#type: good.into(), ..event("") };
        assert!(world.admin.publish(TOPIC, vec![new]).await.is_ok(), "{good:?} was refused");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attribute_names_are_letters_digits_dots_dashes_and_underscores() {
    let world = World::on(Backend::Sqlite).await;
    let with = |name: &str| v1::NewEvent { attributes: [(name.to_owned(), "v".to_owned())].into(), ..event("") };
    for bad in ["", " ", "a b", "a\0", "ä", "a/b", "a:b", "a=b", "a\n", "\"", "\\", "a[0]", "*"] {
        world.refuses_event(with(bad), &[&format!("events[0].attributes[{bad:?}]")]).await;
    }
    for good in ["A", "z", "0", ".", "_", "-", "a.B_c-9"] {
        assert!(world.admin.publish(TOPIC, vec![with(good)]).await.is_ok(), "{good:?} was refused");
    }
}

on_both_stores! {
    async fn times_lie_in_the_years_1_to_9999(backend: Backend) {
        let world = World::on(backend).await;
        const FIRST: i64 = -62_135_596_800;
        const LAST: i64 = 253_402_300_799;
        let at = |seconds, nanos| v1::NewEvent { time: Some(prost_types::Timestamp { seconds, nanos }), ..event("") };
        let bad = [
            (FIRST - 1, 999_999_999), (LAST + 1, 0), (i64::MIN, 0), (i64::MAX, 0), (i64::MAX, 999_999_999),
            (0, -1), (0, 1_000_000_000), (0, i32::MIN), (0, i32::MAX), (i64::MAX / 1_000_000, 999_999_999),
        ];
        for (seconds, nanos) in bad {
            world.refuses_event(at(seconds, nanos), &["events[0].time"]).await;
        }
        let good = [(FIRST, 0), (LAST, 999_999_999), (0, 0), (-1, 999_999_999), (0, 1)];
        for (seconds, nanos) in good {
            let taken = world.admin.publish(TOPIC, vec![at(seconds, nanos)]).await;
            assert!(taken.is_ok(), "{seconds} s {nanos} ns: {taken:?}");
        }
        let head = world.head().await;
        let mut stream = world.admin.subscribe(crate::client::after(TOPIC, head - good.len() as i64)).await.unwrap();
        for (event, (seconds, nanos)) in stream.events(good.len()).await.iter().zip(good) {
            let time = event.time.unwrap();
            assert_eq!((time.seconds, time.nanos), (seconds, nanos / 1000 * 1000), "kept in microseconds");
        }
    }

    async fn json_that_does_not_exist_is_refused_and_odd_json_is_kept(backend: Backend) {
        let world = World::on(backend).await;
        let unset = Value { kind: None };
        let bad = [
            number(f64::NAN), number(f64::INFINITY), number(f64::NEG_INFINITY), unset.clone(),
            list(vec![number(1.0), unset.clone()]), object("a", unset), object("a", list(vec![number(f64::NAN)])),
        ];
        for value in bad {
            world.refuses_event(json(value), &["events[0].json"]).await;
        }
        let good = [
            number(-0.0), number(f64::MAX), number(f64::MIN_POSITIVE), number(5e-324), value(Kind::NullValue(7)),
            value(Kind::StringValue("ab\u{2028}\u{feff}".into())), object("", number(1.0)),
            object("a", number(1.0)), list(vec![]), nested(20),
        ];
        for value in good {
            let taken = world.admin.publish(TOPIC, vec![json(value.clone())]).await;
            assert!(taken.is_ok(), "{value:?}: {taken:?}");
        }
        let mut stream = world.admin.subscribe(crate::client::after(TOPIC, 1)).await.unwrap();
        for event in stream.events(10).await {
            let kept = crate::client::text(&event);
            serde_json::from_str::<serde_json::Value>(kept).unwrap_or_else(|error| panic!("{kept}: {error}"));
            assert!(!kept.contains('\0'), "{kept:?}");
        }
    }

    async fn all_mistakes_of_all_events_are_named_at_once_and_nothing_is_stored(backend: Backend) {
        let world = World::on(backend).await;
        let head = world.head().await;
        let events = vec![
            v1::NewEvent { r#type: String::new(), key: "k".repeat(1025), ..event("") },
            event("this one is good"),
            v1::NewEvent {
                id: "a\0b".into(),
                time: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
                ..event("")
            },
            json(number(f64::NAN)),
        ];
        let expected = [
            "topic", "expected_head_offset", "events[0].type", "events[0].key", "events[2].id", "events[2].time",
            "events[3].json",
        ];
        for validate_only in [false, true] {
            let (topic, events, expected_head_offset) = ("No Name".to_owned(), events.clone(), Some(-1));
            let request = v1::PublishRequest { topic, events, expected_head_offset, validate_only };
            let refusal = world.admin.events().publish(request).await.unwrap_err();
            assert_invalid(&refusal, "NAME_INVALID", &expected);
        }
        assert_eq!(world.head().await, head);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_json_is_refused_and_not_decoded_until_the_stack_ends() {
    let world = World::on(Backend::Sqlite).await;
    let head = world.head().await;
    for depth in [20, 30, 50, 100, 101, 1000, 100_000] {
        let path = crate::api::path_of("EventService", "Publish");
        let answer = raw::send(&world.admin, &path, raw::frame(&request_with_nested_json(depth)), &[]).await;
        match answer.status {
            status if status.code() == Code::Ok => assert!(depth <= 100, "{depth} levels were taken"),
            status if violations(&status).is_empty() => {
                assert_refused(&status, Code::InvalidArgument, "MESSAGE_MALFORMED");
            }
            status => assert_invalid(&status, "EVENT_INVALID", &["events[0].json"]),
        }
    }
    assert!(world.head().await - head <= 4);
    world.is_unharmed().await;
}

/// A publish request whose one event has so many lists in each other, made without recursion.
fn request_with_nested_json(depth: usize) -> Vec<u8> {
    // From the inside out, and so from the last byte to the first.
    let mut backwards = vec![0, 8];
    let wrap = |backwards: &mut Vec<u8>, tag: u8| {
        let mut header = vec![tag];
        prost::encoding::encode_varint(backwards.len() as u64, &mut header);
        backwards.extend(header.iter().rev());
    };
    for _ in 0..depth {
        wrap(&mut backwards, 0x0a); // ListValue.values
        wrap(&mut backwards, 0x32); // Value.list_value
    }
    wrap(&mut backwards, 0x62); // NewEvent.json
    backwards.extend(b"\x0a\x01t".iter().rev()); // NewEvent.type
    wrap(&mut backwards, 0x12); // PublishRequest.events
    backwards.extend([b"\x0a\x06", TOPIC.as_bytes()].concat().iter().rev());
    backwards.reverse();
    backwards
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_of_other_callers_are_refused() {
    let world = World::on(Backend::Sqlite).await;
    let shop = world.admin.producer("market", &[TOPIC]).await;
    let from = |source: &str| v1::NewEvent { source: source.into(), ..event("") };
    for foreign in ["/producers/shop", "/producers/", "/producers/market2", "/users/ada", "/users/admin/x"] {
        let refusal = shop.publish(TOPIC, vec![event("good"), from(foreign)]).await.unwrap_err();
        assert_invalid(&refusal, "EVENT_INVALID", &["events[1].source"]);
    }
    for foreign in ["/producers/market", "/users/ada", "/users/admin2"] {
        world.refuses_event(from(foreign), &["events[0].source"]).await;
    }
    for own in
        ["/producers/market", "/producers/market/till-1", "/shop", "urn:producers", "https://example.com/users/ada"]
    {
        assert!(shop.publish(TOPIC, vec![from(own)]).await.is_ok(), "{own} was refused");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_many_long_mistakes_still_fits_into_its_trailers() {
    let world = World::on(Backend::Sqlite).await;
    let long = |len: usize| -> v1::NewEvent {
        v1::NewEvent { attributes: [("\u{1}".repeat(len), String::new())].into(), ..event("") }
    };
    for events in [vec![long(1 << 20)], vec![long(2000); 1000], vec![v1::NewEvent::default(); 1000]] {
        let refusal = world.admin.publish(TOPIC, events).await.unwrap_err();
        assert_refused(&refusal, Code::InvalidArgument, "EVENT_INVALID");
        assert!(violations(&refusal)[0].starts_with("events[0]."), "{refusal:?}");
        // The details travel in base64.
        let bytes = refusal.details().len() * 4 / 3 + refusal.message().len();
        assert!(bytes < 8 << 10, "{bytes} bytes of details are more than many clients take");
    }
    let producer = v1::Producer { name: "p".into(), topics: vec!["\u{1}".repeat(255); 100], ..Default::default() };
    let request = v1::RegisterProducerRequest { producer: Some(producer), if_not_exists: false };
    let refusal = world.admin.producers().register_producer(request).await.unwrap_err();
    assert_refused(&refusal, Code::InvalidArgument, "NAME_INVALID");
}
