//! U+0000 in every string of every request.

use std::collections::HashMap;

use eventflow::proto::v1;
use prost::Message;
use prost_reflect::{DynamicMessage, Kind, MapKey, ReflectMessage, Value};
use tonic::Code;

use super::{
    valid::{self, Valid},
    world::{World, assert_invalid},
};
use crate::{
    api,
    client::violations,
    harness::backend::{Backend, on_both_stores},
    raw,
};

const ZERO: &str = "a\0b";

/// What only the server sets is ignored, and what is compared with a secret tells nobody what was wrong.
const NOT_CHECKED: [(&str, &str); 5] = [
    ("CreateTopic", "topic.log_id"),
    ("Login", "username"),
    ("Login", "password"),
    ("RefreshToken", "refresh_token"),
    ("ChangePassword", "old_password"),
];

/// Copies of a message that each have U+0000 in one string, with the path of that string.
fn spoilt(message: &DynamicMessage) -> Vec<(String, DynamicMessage)> {
    let mut all = Vec::new();
    for field in message.descriptor().fields() {
        // Setting one member of a oneof would unset the one that is there.
        if field.containing_oneof().is_some_and(|oneof| !oneof.is_synthetic()) && !message.has_field(&field) {
            continue;
        }
        let found = if field.is_map() {
            spoilt_maps(message.get_field(&field).as_map())
        } else if field.is_list() {
            spoilt_lists(message.get_field(&field).as_list(), matches!(field.kind(), Kind::String))
        } else {
            match field.kind() {
                Kind::String => vec![(String::new(), Value::String(ZERO.into()))],
                Kind::Message(_) if message.has_field(&field) => {
                    let inner = message.get_field(&field);
                    let inner = inner.as_message().map(spoilt).unwrap_or_default();
                    inner.into_iter().map(|(path, message)| (format!(".{path}"), Value::Message(message))).collect()
                }
                _ => vec![],
            }
        };
        for (path, value) in found {
            let mut copy = message.clone();
            copy.set_field(&field, value);
            all.push((format!("{}{path}", field.name()), copy));
        }
    }
    all
}

fn spoilt_lists(list: Option<&[Value]>, strings: bool) -> Vec<(String, Value)> {
    let list = list.unwrap_or_default();
    let mut all = Vec::new();
    if strings {
        let longer = [list, &[Value::String(ZERO.into())]].concat();
        all.push((format!("[{}]", list.len()), Value::List(longer)));
    }
    for (index, value) in list.iter().enumerate() {
        for (path, message) in value.as_message().map(spoilt).unwrap_or_default() {
            let mut copy = list.to_vec();
            copy[index] = Value::Message(message);
            all.push((format!("[{index}].{path}"), Value::List(copy)));
        }
    }
    all
}

fn spoilt_maps(map: Option<&HashMap<MapKey, Value>>) -> Vec<(String, Value)> {
    let with = |name: &str, value: &str| {
        let mut copy = map.cloned().unwrap_or_default();
        copy.insert(MapKey::String(name.into()), Value::String(value.into()));
        (format!("[{name:?}]"), Value::Map(copy))
    };
    vec![with(ZERO, "value"), with("name", ZERO)]
}

async fn refuse(world: &World, request: &Valid, checked: &mut Vec<String>) {
    let Valid { path, bytes } = request;
    let method = path.rsplit('/').next().unwrap_or_default();
    let message = DynamicMessage::decode(request.descriptor(), &bytes[..]).expect("a valid request");
    for (field, message) in spoilt(&message) {
        if NOT_CHECKED.contains(&(method, &field)) {
            continue;
        }
        // A request of a stream is refused in the words of Publish.
        let field = field.strip_prefix("publish.").unwrap_or(&field).to_owned();
        let answer = raw::send(&world.admin, path, raw::frame(&message.encode_to_vec()), &[]).await;
        let status = answer.status;
        assert_eq!(status.code(), Code::InvalidArgument, "{method}.{field}: {status:?}");
        assert!(violations(&status).contains(&field), "{method}.{field} is not named: {status:?}");
        checked.push(format!("{method}.{field}"));
    }
}

on_both_stores! {
    async fn no_string_may_hold_u_0000(backend: Backend) {
        let world = World::on(backend).await;
        let before = (world.head().await, world.names().await);
        let mut checked = Vec::new();
        for request in valid::all() {
            refuse(&world, &request, &mut checked).await;
        }
        assert_eq!((world.head().await, world.names().await), before);
        // Every string of an event and of a filter, in both messages that have one, and every name.
        for field in [
            "Publish.events[1].causation_id", "PublishStream.events[1].causation_id", "Subscribe.filter.keys[1]",
            "RegisterConsumer.consumer.topic", "CreateUser.password", "RevokeApiKey.id",
        ] {
            assert!(checked.iter().any(|path| path == field), "{field} was not tried: {checked:?}");
        }
        assert!(checked.len() > 50, "{} strings were tried", checked.len());
    }

    async fn no_inline_json_may_hold_u_0000(backend: Backend) {
        use prost_types::{Struct, Value, value::Kind};

        let world = World::on(backend).await;
        let text = |text: &str| Value { kind: Some(Kind::StringValue(text.into())) };
        let object = |name: &str| Value {
            kind: Some(Kind::StructValue(Struct { fields: [(name.to_owned(), text("x"))].into() })),
        };
        for value in [text(ZERO), object(ZERO)] {
            let payload = Some(v1::new_event::Payload::Json(value));
            world.refuses_event(v1::NewEvent { r#type: "test".into(), payload, ..Default::default() }, &["events[0].json"]).await;
        }
    }

    async fn a_login_with_u_0000_is_like_any_wrong_one(backend: Backend) {
        let world = World::on(backend).await;
        for (username, password) in [("ad\0min", "x"), ("admin", "pass\0word"), ("\0", "\0")] {
            let request = v1::LoginRequest { username: username.into(), password: password.into() };
            let status = world.admin.auth().login(request).await.unwrap_err();
            assert_eq!(api::written(&status), "UNAUTHENTICATED / CREDENTIAL_INVALID");
        }
        let long = v1::LoginRequest { username: "a".repeat(256), password: "x".repeat(513) };
        let status = world.admin.auth().login(long).await.unwrap_err();
        assert_invalid(&status, "REQUEST_INVALID", &["password", "username"]);
    }
}
