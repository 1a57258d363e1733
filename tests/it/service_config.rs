//! The service config for clients: what it names exists, and only what is safe to repeat is repeated.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::api;

const CONFIG: &str = include_str!("../../proto/eventflow/v1/service_config.json");

/// Calls that read, or that change nothing when they come again. Not Publish: after a broken connection a library
/// cannot know whether its events are recorded, and they may have no ids.
const REPEATED: [(&str, &[&str]); 5] = [
    ("EventService", &["GetEvent", "ListEvents"]),
    ("TopicService", &["GetTopic", "ListTopics", "UpdateTopic", "TrimTopic", "VerifyTopic"]),
    (
        "ConsumerService",
        &[
            "GetConsumer",
            "ListConsumers",
            "ListDeadLetters",
            "CommitOffset",
            "Settle",
            "Poll",
            "UpdateConsumer",
            "PauseConsumer",
        ],
    ),
    ("ProducerService", &["GetProducer", "ListProducers", "UpdateProducer"]),
    ("AuthService", &["GetCaller", "GetServerInfo", "ListUsers", "ListApiKeys", "UpdateUser", "RevokeApiKey"]),
];

/// What the config says of each method that it names, each of them once.
fn by_method() -> BTreeMap<String, Value> {
    let config: Value = serde_json::from_str(CONFIG).unwrap();
    let mut found = BTreeMap::new();
    for entry in config["methodConfig"].as_array().unwrap() {
        for name in entry["name"].as_array().unwrap() {
            let path = format!("/{}/{}", name["service"].as_str().unwrap(), name["method"].as_str().unwrap());
            assert!(found.insert(path.clone(), entry.clone()).is_none(), "{path} is named twice");
        }
    }
    found
}

#[test]
fn every_unary_call_has_a_timeout_and_no_stream_has_one() {
    let is_unary =
        |method: &prost_reflect::MethodDescriptor| !method.is_client_streaming() && !method.is_server_streaming();
    let unary: BTreeSet<_> = api::methods().iter().filter(|method| is_unary(method)).map(api::path).collect();
    let named = by_method();
    assert_eq!(named.keys().cloned().collect::<BTreeSet<_>>(), unary);
    for (path, entry) in named {
        assert!(entry["timeout"].as_str().is_some_and(|timeout| timeout.ends_with('s')), "{path}");
    }
}

#[test]
fn only_what_is_safe_to_repeat_is_repeated_and_only_when_the_server_is_away() {
    let wanted = REPEATED.iter().flat_map(|(service, methods)| methods.iter().map(|name| api::path_of(service, name)));
    let named = by_method();
    let repeated: BTreeSet<_> =
        named.iter().filter(|(_, entry)| entry.get("retryPolicy").is_some()).map(|(path, _)| path.clone()).collect();
    assert_eq!(repeated, wanted.collect::<BTreeSet<_>>());
    for path in repeated {
        assert_eq!(named[&path]["retryPolicy"]["retryableStatusCodes"], json!(["UNAVAILABLE"]), "{path}");
    }
}
