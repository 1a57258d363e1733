//! grpcurl, which knows the server by reflection alone.

use serde_json::{Value, json};
use tokio::process::Command;

use super::{Shop, finished, printed, tools::Tools};
use crate::harness::backend::{Backend, on_both_stores};

/// `grpcurl -plaintext` with options, the server's address, and what comes after it.
async fn grpcurl(shop: &Shop, options: &[&str], rest: &[&str]) -> Command {
    let mut command = Command::new(Tools::shared().await.program("grpcurl"));
    command.args(["-plaintext", "-max-time", "60"]).args(options).arg(shop.server.listen().to_string()).args(rest);
    command
}

/// Calls an RPC as `credential`, and returns its responses.
async fn call(shop: &Shop, credential: &str, request: Value, rpc: &str) -> Vec<Value> {
    let header = format!("authorization: Bearer {credential}");
    let request = request.to_string();
    let mut command = grpcurl(shop, &["-H", &header, "-d", &request], &[rpc]).await;
    let text = printed(finished(&mut command, "").await);
    serde_json::Deserializer::from_str(&text).into_iter().collect::<Result<_, _>>().unwrap()
}

on_both_stores! {
    async fn grpcurl_publishes_inline_json_and_reads_it_up_to_the_head(backend: Backend) {
        let shop = Shop::open(backend).await;
        let event = json!({ "id": "one", "type": "order.placed", "key": "order-1", "json": { "order": 1 } });
        let request = json!({ "topic": "orders", "events": [event] });
        let published = call(&shop, &shop.key, request.clone(), "eventflow.v1.EventService/Publish").await;
        assert_eq!(published[0]["published"][0]["offset"], "1");
        assert_eq!(published[0]["published"][0]["duplicate"], Value::Null);
        let again = call(&shop, &shop.key, request, "eventflow.v1.EventService/Publish").await;
        assert_eq!(again[0]["published"][0]["duplicate"], true);

        let request = json!({ "topic": "orders", "startAt": "START_AT_EARLIEST", "stopAt": "STOP_AT_HEAD" });
        let frames = call(&shop, &shop.token, request, "eventflow.v1.ConsumerService/Subscribe").await;
        assert!(frames[0]["started"].is_object(), "{frames:?}");
        let events: Vec<_> = frames.iter().filter_map(|frame| frame["batch"]["events"].as_array()).flatten().collect();
        assert_eq!(events.len(), 1, "{frames:?}");
        assert_eq!((&events[0]["id"], &events[0]["text"]), (&json!("one"), &json!(r#"{"order":1}"#)));
        assert_eq!(events[0]["producer"], "producers/shop");
    }

    async fn grpcurl_shows_the_reason_and_the_violations_of_a_refusal(backend: Backend) {
        let shop = Shop::open(backend).await;
        let header = format!("authorization: Bearer {}", shop.key);
        let request = json!({ "topic": "orders", "events": [{ "type": "" }] }).to_string();
        let options = ["-format-error", "-H", &header, "-d", &request];
        let output = finished(&mut grpcurl(&shop, &options, &["eventflow.v1.EventService/Publish"]).await, "").await;
        assert!(!output.status.success());
        let error: Value = serde_json::from_slice(&output.stderr).unwrap();
        assert!(error["message"].as_str().unwrap().starts_with("EVENT_INVALID: "), "{error}");
        let details = error["details"].as_array().unwrap();
        let detail = |kind: &str| details.iter().find(|detail| detail["@type"] == format!("type.googleapis.com/google.rpc.{kind}"));
        assert_eq!(detail("ErrorInfo").unwrap()["reason"], "EVENT_INVALID", "{error}");
        assert_eq!(detail("BadRequest").unwrap()["fieldViolations"][0]["field"], "events[0].type", "{error}");
    }

    async fn grpcurl_lists_and_describes_without_the_protos(backend: Backend) {
        let shop = Shop::open(backend).await;
        let services = printed(finished(&mut grpcurl(&shop, &[], &["list"]).await, "").await);
        for service in ["Auth", "Consumer", "Event", "Producer", "Topic"] {
            let name = format!("eventflow.v1.{service}Service");
            assert!(services.lines().any(|line| line == name), "{name} is not listed:\n{services}");
        }
        let rpcs = printed(finished(&mut grpcurl(&shop, &[], &["list", "eventflow.v1.EventService"]).await, "").await);
        assert!(rpcs.lines().any(|line| line == "eventflow.v1.EventService.Publish"), "{rpcs}");
        let mut describe = grpcurl(&shop, &[], &["describe", "eventflow.v1.NewEvent"]).await;
        let described = printed(finished(&mut describe, "").await);
        assert!(described.contains("// What happened, for example \"order.placed\"."), "no comments:\n{described}");
        assert!(described.contains("string correlation_id = 8;"), "{described}");
    }

    async fn grpcurl_asks_for_health_without_a_credential(backend: Backend) {
        let shop = Shop::open(backend).await;
        for service in ["", "eventflow.v1.EventService", "eventflow.store"] {
            let request = json!({ "service": service }).to_string();
            let mut check = grpcurl(&shop, &["-d", &request], &["grpc.health.v1.Health/Check"]).await;
            let answer: Value = serde_json::from_str(&printed(finished(&mut check, "").await)).unwrap();
            assert_eq!(answer, json!({ "status": "SERVING" }), "{service:?}");
        }
    }
}
