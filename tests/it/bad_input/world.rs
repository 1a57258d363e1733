//! A server to be sent nonsense, and the valid requests that nonsense is made from.

use eventflow::proto::v1;
use tonic::{Code, Status};

use crate::{
    client::{Client, assert_refused, event, violations},
    harness::{
        backend::Backend,
        server::{Server, Start},
    },
};

/// The topic that must not change.
pub const TOPIC: &str = "orders";

/// A server with a topic of one event, a consumer in each mode and a producer.
pub struct World {
    pub server: Server,
    pub admin: Client,
}

impl World {
    pub async fn on(backend: Backend) -> Self {
        Self::start(backend.server().await).await
    }

    pub async fn start(start: Start) -> Self {
        let server = start.start().await;
        let admin = Client::admin(&server).await;
        admin.create_topic(TOPIC).await;
        admin.publish(TOPIC, vec![event("first")]).await.expect("an event can be published");
        admin.register("billing", TOPIC).await;
        let work = v1::Consumer {
            name: "work".into(),
            topic: TOPIC.into(),
            mode: v1::Mode::Queue.into(),
            ..Default::default()
        };
        let register = v1::RegisterConsumerRequest { consumer: Some(work), if_not_exists: false };
        admin.consumers().register_consumer(register).await.expect("a consumer can be registered");
        admin.producer("shop", &[TOPIC]).await;
        Self { server, admin }
    }

    /// The newest offset of the topic.
    pub async fn head(&self) -> i64 {
        let request = v1::GetTopicRequest { name: TOPIC.into() };
        let response = self.admin.topics().get_topic(request).await.expect("the server answers");
        response.into_inner().topic.expect("a topic is set").head_offset
    }

    /// Every name of a topic, consumer and producer.
    pub async fn names(&self) -> Vec<String> {
        let page_size = 1000;
        let topics = v1::ListTopicsRequest { page_size, ..Default::default() };
        let topics = self.admin.topics().list_topics(topics).await.expect("topics are listed").into_inner().topics;
        let consumers = v1::ListConsumersRequest { page_size, ..Default::default() };
        let consumers = self.admin.consumers().list_consumers(consumers).await.expect("consumers are listed");
        let producers = v1::ListProducersRequest { page_size, ..Default::default() };
        let producers = self.admin.producers().list_producers(producers).await.expect("producers are listed");
        let topics = topics.into_iter().map(|topic| format!("topic {}", topic.name));
        let consumers =
            consumers.into_inner().consumers.into_iter().map(|consumer| format!("consumer {}", consumer.name));
        let producers =
            producers.into_inner().producers.into_iter().map(|producer| format!("producer {}", producer.name));
        topics.chain(consumers).chain(producers).collect()
    }

    /// Publishes one event that must be refused for these fields alone, and leave no trace.
    pub async fn refuses_event(&self, new: v1::NewEvent, fields: &[&str]) {
        let before = self.head().await;
        let shown: String = format!("{new:?}").chars().take(300).collect();
        let refusal = self.admin.publish(TOPIC, vec![new]).await.err().unwrap_or_else(|| panic!("taken: {shown}"));
        assert_invalid(&refusal, "EVENT_INVALID", fields);
        assert_eq!(self.head().await, before, "{shown} left a trace");
    }

    /// Panics unless the server has come through without a panic and without a fault of its own.
    pub async fn is_unharmed(&self) {
        self.head().await;
        let log = self.server.log();
        for trace in ["panicked", "\"level\":\"ERROR\"", " ERROR "] {
            assert!(!log.contains(trace), "{trace:?} in the log:\n{log}");
        }
    }
}

/// Asserts that a status is INVALID_ARGUMENT for these fields and no others.
#[track_caller]
pub fn assert_invalid(status: &Status, reason: &str, fields: &[&str]) {
    assert_refused(status, Code::InvalidArgument, reason);
    assert_eq!(violations(status), fields, "{status:?}");
}
